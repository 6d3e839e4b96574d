"""What the official annotation files say by themselves: what squares score, and what misread files would.

``python tools/no_model.py FOLDER`` writes it to docs/results/no_model.json, from which it is read where the files are
not at hand. Introduced in notebooks/14_honest_evaluation.ipynb.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from avnb.config import Settings, setting
from avnb.data.store import box_pixels
from avnb.errors import DataError
from avnb.metrics import trivial
from avnb.metrics.localization import TopHalf, any_rule, area_under_curve, success_rate
from avnb.metrics.protocols import FRAME_WISE, MEAN_IOU, SOURCE_WISE, UNION, numbers, ranked
from avnb.paths import project_root, shown
from avnb.prepare.annotation_files import corners, read_json, read_table
from avnb.prepare.datasets import _vggsound as vggsound


@dataclass(frozen=True)
class EvaluationSettings(Settings):
    """The settings of notebooks/14_honest_evaluation.ipynb; ``epochs`` and the like are for methods trained there."""

    METHOD: ClassVar[str] = "honest_evaluation"

    annotations: str = setting("", doc='a folder of official annotation files; "": what was computed from them before')
    methods: str = setting("", doc='that are judged, divided by commas; "": all that have a run')
    train: str = setting("avgn", doc="methods that are trained if they have no run, divided by commas")
    mixtures: int = setting(32, low=0, doc="that are judged of each trial; 0: all")


SAVED = "docs/results/no_model.json"  # in the project
SIDE = 224
COARSE = 28  # cells of a side of the pictures of mean truth
STEPS = torch.arange(21) / 20
RULES = ("top_half", "min_max(0.5)", "truth_area")
SHARES = (0.5, 0.4)  # of a frame, a square's
LISTS = ("vggss_144k.txt", "vggss_heard.txt", "vgginstruments_train.txt", "vggmusic_train.txt")


def official_numbers(folder: Path | str) -> dict[str, Any]:
    """Return all that the official files below ``folder`` allow to be computed, and which files these were.

    Sections whose files are missing are left out. Raises DataError where there is none of the files.
    """
    files = {path.name: path for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    needed = {
        "vggss": (("vggss.json",), vggss), "vggsound_duet": (("vggss.json", "vggsound_duet_test.csv"), vggsound_duet),
        "music_duet": (("music_duet.json",), music_duet),
        "corners": (("music_solo.json", "music_duet.json"), as_corners), "swapped_ap": (("vggss.json",), swapped_ap),
    }  # fmt: skip
    found: dict[str, Any] = {}
    used: set[str] = set()
    for section, (names, compute) in needed.items():
        if all(name in files for name in names):
            found[section] = compute(*(files[name] for name in names))
            used |= set(names)
    if "vggss.json" in files:
        lists = {name: files[name] for name in LISTS if name in files}
        found["leaks"] = leaks(files["vggss.json"], lists)
        used |= lists.keys()
    if not found:
        raise DataError(f"{shown(Path(folder))} holds none of the official files (vggss.json, music_duet.json ...).")
    digests = {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(used)}
    return {"source": "computed from the official annotation files", "sha256": digests} | found


def saved_numbers() -> dict[str, Any]:
    """Return what was computed before, and from which files; raise DataError where avnb stands without its project."""
    for root in (project_root(), Path(__file__).resolve().parents[2]):
        if (root / SAVED).exists():
            return json.loads((root / SAVED).read_text(encoding="utf-8"))
    raise DataError(f"{SAVED} is not here; give official_numbers a folder with the official annotation files.")


def square(share: float) -> slice:
    """Return the rows, and the columns, of a frame that a square in its middle fills."""
    side = round(SIDE * share**0.5)
    return slice((SIDE - side) // 2, (SIDE - side) // 2 + side)


# ----------------------------------------------------------------------------------------------------------- the places


def vggss_places(path: Path) -> tuple[list[str], Bool[np.ndarray, "clips 224 224"]]:
    """Return VGG-SS's clips and their filled boxes; a clip whose boxes are all broken has an empty place."""
    lists = vggsound.Lists()
    vggsound.read_boxes(path, lists)
    places = np.zeros((len(lists.boxes), SIDE, SIDE), bool)
    for place, things in zip(places, lists.boxes.values(), strict=True):
        for thing in things:
            x0, y0, x1, y1 = box_pixels(thing.xyxy, SIDE)
            place[y0:y1, x0:x1] = True
    return list(lists.boxes), places


def music_boxes(path: Path) -> Float[np.ndarray, "frames 2 4"]:
    """Return the two boxes of every frame of AVGN's music_duet.json as they are written: x, y, width, height."""
    return np.array([[frame["bbox_src1"], frame["bbox_src2"]] for frame in read_json(path)])


def filled(boxes: Float[np.ndarray, "boxes 4"]) -> Bool[np.ndarray, "boxes 224 224"]:
    """Return filled boxes given as corners in 0..1; nothing where a corner lies before the other."""
    places = np.zeros((len(boxes), SIDE, SIDE), bool)
    for place, box in zip(places, boxes, strict=True):
        x0, y0, x1, y1 = (int(SIDE * min(max(value, 0), 1)) for value in box)
        place[y0:y1, x0:x1] = True
    return places


def coarse(mean: Float[np.ndarray, "H W"]) -> list[list[float]]:
    """Return a map in cells of SIDE / COARSE pixels, to be kept in a small file."""
    cell = SIDE // COARSE
    height, width = mean.shape[0] // cell, mean.shape[1] // cell
    return mean.reshape(height, cell, width, cell).mean((1, 3)).round(3).tolist()


# --------------------------------------------------------------------------------------------------------- the sections


def vggss(path: Path) -> dict[str, Any]:
    """Return what needs no model on VGG-SS: IoU@0.5, AUC and the success at 21 thresholds, under three rules."""
    _, places = vggss_places(path)
    places = places[places.any((1, 2))]
    rules, maps = [any_rule(rule) for rule in RULES], {"centre": trivial.centre((SIDE, SIDE))[None]}
    maps["whole_image"] = trivial.whole_image((SIDE, SIDE))[None]
    found: dict[str, list[Tensor]] = {name: [] for name in (*maps, "oracle")}
    for part in torch.from_numpy(places).split(256):
        for name, values in found.items():
            shown_map = trivial.oracle(part) if name == "oracle" else maps[name]
            values.append(ranked(shown_map, part, rules)[1])
    rows = []
    for name, parts in found.items():
        values = torch.cat(parts).double()
        for number, rule in enumerate(RULES):
            one = values[:, number]
            success = [round(100 * success_rate(one, float(at)), 2) for at in STEPS]
            about = {"method": name, "threshold_rule": rule, "IoU@0.5": _percent(success_rate(one, 0.5))}
            rows.append(about | {"AUC": _percent(area_under_curve(one)), "success": success})
    return {"clips": len(places), "rows": rows, "mean_truth": coarse(places.mean(0))}


def vggsound_duet(boxes: Path, pairs: Path) -> dict[str, Any]:
    """Return what two squares, one a frame, score on AVGN's pairs under every protocol."""
    names, places = vggss_places(boxes)
    number = {name: place for place, name in enumerate(names)}
    listed = [(cells[0], cells[2]) for cells in read_table(pairs)]
    order = np.array([[number[first], number[second]] for first, second in listed])
    order = order[places.any((1, 2))[order].all(1)]  # both have a box left
    area = places.sum((1, 2))[order].astype(float)
    mean = np.concatenate([places[order[:, side]].mean(0) for side in range(2)], axis=1)
    rows = []
    for share in SHARES:
        middle = square(share)
        size = (middle.stop - middle.start) ** 2
        rows += _of_squares(places[:, middle, middle].sum((1, 2))[order].astype(float), area, size, share)
    same = sum(cells[1] == cells[3] for cells in read_table(pairs))
    return {"pairs": len(order), "of_one_class": same, "rows": rows, "mean_truth": coarse(mean)}


def _of_squares(
    inside: Float[np.ndarray, "pairs 2"], area: Float[np.ndarray, "pairs 2"], size: int, share: float
) -> list[dict[str, Any]]:
    """Return the rows of two squares: one a source, and both for every source; by counting pixels.

    Source-wise they are the frame-wise ones: a square leaves the other frame empty.
    """
    own, both = inside / (area + size - inside), inside / (area + 2 * size - inside)
    joint = inside.sum(1) / (area.sum(1) + 2 * size - inside.sum(1))
    own, both = torch.tensor(own), torch.tensor(both)
    told = f"two squares, one a frame, {share:.0%} of it"
    overlap = {FRAME_WISE: own, SOURCE_WISE: own, UNION: torch.tensor(joint)}
    rows = [_row(told, protocol, values) for protocol, values in overlap.items()]
    rows.append({"method": told, "protocol": MEAN_IOU, "mean IoU": _percent(float(own.nanmean()))})
    return [*rows, _row(f"both squares for each source, {share:.0%}", FRAME_WISE, both)]


def music_duet(path: Path) -> dict[str, Any]:
    """Return what a square, and two boxes left and right, score on AVGN's frames of duets; and where the truth lies."""
    boxes = music_boxes(path)
    whole = np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)
    places = np.stack([filled(whole[:, source]) for source in range(2)], axis=1)
    truth = torch.from_numpy(places)
    centre, middle = torch.zeros(SIDE, SIDE, dtype=torch.bool), square(SHARES[0])
    centre[middle, middle] = True
    typical = np.median(whole, axis=0)  # one box left, one right
    guess = torch.from_numpy(filled(typical))
    rows = [
        _row("a centre square, half of the frame", UNION, _joint(centre[None], truth)),
        _row("two boxes, the medians of the set's", FRAME_WISE, _each(guess, truth)),
        _row("two boxes, the medians of the set's", UNION, _joint(guess.any(0)[None], truth)),
    ]
    wrong = torch.from_numpy(np.stack([filled(boxes[:, source]) for source in range(2)], axis=1))
    rows.append(_row("the same boxes, the truth misread as corners", FRAME_WISE, _each(guess, wrong)))
    videos = [frame["file"][:11] for frame in read_json(path)]
    commonest = max(map(videos.count, set(videos)))
    means = {"as written": coarse(places.any(1).mean(0)), "as corners": coarse(wrong.numpy().any(1).mean(0))}
    return {
        "frames": len(boxes), "videos": len(set(videos)), "of_one_video": commonest, "rows": rows, "mean_truth": means,
    }  # fmt: skip


def _each(guess: Bool[Tensor, "2 H W"], truth: Bool[Tensor, "frames 2 H W"]) -> Float[Tensor, "frames 2"]:
    """Return the IoU of each box with its own source; a truth that is empty is never found (the misread files')."""
    shared, either = (guess & truth).sum((2, 3)), (guess | truth).sum((2, 3))
    return shared.double() / either


def _joint(guess: Bool[Tensor, "1 H W"], truth: Bool[Tensor, "frames 2 H W"]) -> Float[Tensor, " frames"]:
    joint = truth.any(1)
    return (guess & joint).sum((1, 2)).double() / (guess | joint).sum((1, 2))


def as_corners(solo: Path, duet: Path) -> dict[str, Any]:
    """Return how many boxes have no pixel if their width and height are read as a second corner (AVGN's loader)."""
    singles, both = np.array([frame["bbox"] for frame in read_json(solo)]), music_boxes(duet)
    named = {"MUSIC-Solo": singles, "MUSIC-Duet, first": both[:, 0], "MUSIC-Duet, second": both[:, 1]}
    rows = []
    for name, boxes in named.items():
        read = [corners(box.tolist())[0] is None for box in boxes]
        inside = (boxes[:, :2] + boxes[:, 2:] <= 1.01).all(1).mean()
        about = {"boxes": name, "count": len(boxes), "fit as x, y, width, height": _percent(inside)}
        rows.append(about | {"empty as corners": _percent(np.mean(read))})
    return {"rows": rows}


def swapped_ap(path: Path) -> dict[str, Any]:
    """Return what an average precision says on VGG-SS if region and truth change places (AVGN's validation).

    The truth is the score and the region what is to be found. With a share r_p of the region in the truth and r_g of
    the truth in the region it is r_p r_g + (1 - r_p) times the region's share of the picture.
    """
    _, places = vggss_places(path)
    truth = torch.from_numpy(places[places.any((1, 2))])
    area, centre = truth.sum((1, 2)).double(), trivial.centre((SIDE, SIDE))
    generator = torch.Generator().manual_seed(0)
    named = {
        "whole image": torch.ones(SIDE, SIDE, dtype=torch.bool), "centre square": TopHalf()(centre),
        "all but the centre": ~TopHalf()(centre),
        "random": TopHalf()(torch.rand(SIDE, SIDE, generator=generator)),
    }  # fmt: skip
    rows = []
    for name, region in named.items():
        shared, size = (region & truth).sum((1, 2)).double(), region.sum().double()
        of_truth, of_region = shared / area, shared / size
        swapped = of_region * of_truth + (1 - of_region) * size / SIDE**2
        right = of_region * of_truth + (1 - of_truth) * area / SIDE**2
        rows.append({"region": name, "arguments swapped": _percent(swapped.mean()), "right": _percent(right.mean())})
    return {"clips": len(truth), "rows": rows}


def leaks(boxes: Path, lists: Mapping[str, Path]) -> dict[str, Any]:
    """Return how many of VGG-SS's test clips each training list holds."""
    tested = {str(record["file"]) for record in read_json(boxes)}
    rows = []
    for name, path in lists.items():
        trained = {cells[0] for cells in read_table(path)}
        rows.append({"list": name, "clips": len(trained), "test clips in it": len(trained & tested)})
    return {"test clips": len(tested), "rows": rows}


def _row(method: str, protocol: str, overlap: Tensor) -> dict[str, Any]:
    said = numbers(protocol, overlap)
    return {"method": method, "protocol": protocol} | {name: _percent(value) for name, value in said.items()}


def _percent(value: float | Tensor) -> float:
    return round(100 * float(value), 2)
