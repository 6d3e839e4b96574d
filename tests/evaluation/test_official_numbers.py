"""The saved numbers of the official files are those that were measured, and each way of counting is right."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from avnb.errors import DataError
from avnb.evaluation import official
from avnb.evaluation.official import official_numbers, saved_numbers
from avnb.metrics.localization import TopHalf
from avnb.metrics.protocols import FRAME_WISE, PROTOCOLS, SOURCE_WISE, UNION
from avnb.metrics.trivial import centre
from avnb.papers.leaderboard import LEADERBOARD

OFFICIAL = Path(__file__).parents[3] / "shared" / "annotations"
BOXES = {"aaaaaaaaaaa_000001": [[0.1, 0.1, 0.6, 0.7]], "bbbbbbbbbbb_000002": [[0.3, 0.2, 0.9, 0.9]]}


@pytest.fixture
def folder(tmp_path):
    """Official files in small, in folders of their own."""
    (tmp_path / "lvs").mkdir()
    records = [{"file": clip, "class": clip[:3], "bbox": boxes} for clip, boxes in BOXES.items()]
    (tmp_path / "lvs" / "vggss.json").write_text(json.dumps(records))
    first, second = BOXES
    (tmp_path / "vggsound_duet_test.csv").write_text(f"{first},a,{second},b\n{second},b,{first},a\n")
    (tmp_path / "vggss_144k.txt").write_text(f"{first}\nccccccccccc_000003\n")
    solo = [{"file": "x", "class": "cello", "bbox": [0.1, 0.1, 0.3, 0.4]}, {"file": "y", "bbox": [0.5, 0.6, 0.2, 0.3]}]
    duet = [{"file": "HnUOaSfTA6c_000_00000", "bbox_src1": [0.1, 0.1, 0.3, 0.4], "bbox_src2": [0.6, 0.5, 0.3, 0.4]}]
    (tmp_path / "music_solo.json").write_text(json.dumps(solo))
    (tmp_path / "music_duet.json").write_text(json.dumps(duet))
    return tmp_path


def rows(found, section, **wanted):
    return [row for row in found[section]["rows"] if all(row[key] == value for key, value in wanted.items())]


def test_saved_numbers_are_those_that_were_measured():
    """To 0.1, on 5,155 pairs and 5,156 clips: two squares, the centre and its adaptive variant, the ceiling."""
    saved = saved_numbers()
    assert saved["vggsound_duet"]["of_one_class"] == 22
    half, less = "two squares, one a frame, 50% of it", "two squares, one a frame, 40% of it"
    for method, protocol, wanted in (
        (half, SOURCE_WISE, (59.4, 37.0)), (less, SOURCE_WISE, (61.4, 36.2)), (half, FRAME_WISE, (67.8, 37.0)),
        (less, UNION, (71.4, 37.1)), ("both squares for each source, 50%", FRAME_WISE, (14.1, 20.3)),
    ):  # fmt: skip
        (row,) = rows(saved, "vggsound_duet", method=method, protocol=protocol)
        assert (row["CIoU@0.3"], row["AUC"]) == pytest.approx(wanted, abs=0.12), (method, protocol)
    for rule, wanted in (("top_half", (31.9, 36.9)), ("truth_area", (41.3, 42.7))):
        (row,) = rows(saved, "vggss", method="centre", threshold_rule=rule)
        assert (row["IoU@0.5"], row["AUC"]) == pytest.approx(wanted, abs=0.15)
    (ceiling,) = rows(saved, "vggss", method="oracle", threshold_rule="top_half")
    assert ceiling["IoU@0.5"] == pytest.approx(50.6, abs=0.1)
    (square,) = rows(saved, "music_duet", method="a centre square, half of the frame")
    assert (square["CIoU@0.3"], square["AUC"]) == pytest.approx((78.8, 35.7), abs=0.15)
    shares = [row["empty as corners"] for row in saved["corners"]["rows"]]
    assert shares == pytest.approx([77.6, 1.1, 99.6], abs=0.1)
    swapped = {row["region"]: row["arguments swapped"] for row in saved["swapped_ap"]["rows"]}
    assert (swapped["whole image"], swapped["centre square"]) == pytest.approx((100, 62.4), abs=0.15)


def test_saved_numbers_are_of_the_official_files():
    saved, compared = saved_numbers(), 0
    for path in sorted(OFFICIAL.rglob("*")) if OFFICIAL.exists() else ():
        if path.name in saved["sha256"]:
            compared += hashlib.sha256(path.read_bytes()).hexdigest() == saved["sha256"][path.name]
    if not compared:
        pytest.skip("shared/annotations is not here")
    assert compared == len(saved["sha256"])


def test_every_section_is_counted_from_small_files(folder):
    found = official_numbers(folder)
    assert set(found) == {"source", "sha256", "vggss", "vggsound_duet", "music_duet", "corners", "swapped_ap", "leaks"}
    assert found["leaks"]["rows"] == [{"list": "vggss_144k.txt", "clips": 2, "test clips in it": 1}]
    assert [row["empty as corners"] for row in found["corners"]["rows"]] == [50, 0, 100]
    assert (found["music_duet"]["frames"], found["music_duet"]["of_one_video"]) == (1, 1)
    misread = rows(found, "music_duet", method="the same boxes, the truth misread as corners")[0]
    assert misread["CIoU@0.3"] < rows(found, "music_duet", protocol=FRAME_WISE)[0]["CIoU@0.3"] == 100
    with pytest.raises(DataError, match="holds none of the official files"):
        official_numbers(folder / "lvs" / "nothing")


def test_two_squares_by_counting_are_two_squares_by_their_masks(folder):
    _, places = official.vggss_places(folder / "lvs" / "vggss.json")
    middle = official.square(0.5)
    region = np.zeros((224, 224), bool)
    region[middle, middle] = True
    overlap = [(region & place).sum() / (region | place).sum() for place in places]
    (row,) = rows(official_numbers(folder), "vggsound_duet", method="two squares, one a frame, 50% of it",
                  protocol=FRAME_WISE)  # fmt: skip
    assert row["CIoU@0.3"] == 100 * (np.mean(overlap) >= 0.3)
    (mean,) = rows(official_numbers(folder), "vggsound_duet", protocol="mean IoU",
                   method="two squares, one a frame, 50% of it")  # fmt: skip
    assert mean["mean IoU"] == pytest.approx(100 * np.mean(overlap), abs=0.01)


def test_the_swapped_precision_is_scikit_learns_with_its_arguments_swapped(folder):
    _, places = official.vggss_places(folder / "lvs" / "vggss.json")
    region = TopHalf()(centre((224, 224))).numpy().ravel()
    truths = [place.ravel() for place in places]
    wanted = [
        np.mean([average_precision_score(*pair) for pair in pairs])
        for pairs in ([(region, truth) for truth in truths], [(truth, region) for truth in truths])
    ]
    (row,) = rows(official_numbers(folder), "swapped_ap", region="centre square")
    assert (row["arguments swapped"], row["right"]) == pytest.approx([100 * value for value in wanted], abs=0.01)


def test_every_printed_number_names_a_protocol_that_there_is():
    assert {one.protocol for one in LEADERBOARD} <= set(PROTOCOLS)
    assert all(0 < one.ciou < 100 and torch.isfinite(torch.tensor(one.auc)) for one in LEADERBOARD)
