"""Maps of other code: found by name in any form, judged as a plain loop judges them, and nothing lost on the way."""

import csv
import json
import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file

from avnb.errors import DataError, SettingsError
from avnb.evaluation import row_files
from avnb.evaluation.command import main
from avnb.evaluation.given_maps import judge_maps, resized
from avnb.evaluation.trials import Trial
from avnb.evaluation.truths import truth_in_annotations, truth_in_store
from avnb.metrics.localization import TopHalf, average_precision, iou
from avnb.metrics.protocols import FRAME_WISE, SOURCE_WISE, UNION

CLIPS = {"aaaaaaaaaaa_000001": [[0.1, 0.1, 0.5, 0.6]], "bbbbbbbbbbb_000002": [[0.5, 0.2, 0.9, 0.9]],
         "ccccccccccc_000003": [[0.0, 0.0, 1.0, 0.3], [0.2, 0.2, 0.6, 0.8]]}  # fmt: skip
LABELS = dict(zip(CLIPS, ("playing cello", "dog barking", "female speech, woman"), strict=True))


@pytest.fixture
def vggss(tmp_path):
    """An annotation file as VGG-SS has it, of three clips and one whose box is broken."""
    items = [{"file": clip, "class": LABELS[clip], "bbox": boxes} for clip, boxes in CLIPS.items()]
    items.append({"file": "ddddddddddd_000004", "class": "dog barking", "bbox": [[0.5, 0.5, 0.5, 0.9]]})
    path = tmp_path / "vggss.json"
    path.write_text(json.dumps(items))
    return path


@pytest.fixture
def duets(vggss, tmp_path):
    """The pairs of two of the clips, side by side, as AVGN lists them."""
    a, b, c = CLIPS
    path = tmp_path / "vggsound_duet_test.csv"
    path.write_text(f"{a},x,{b},y\n{b},y,{c},z\n{a},x,ddddddddddd_000004,y\n")
    return truth_in_annotations("vggsound-duet", [vggss, path])


@pytest.fixture
def truth(vggss):
    return truth_in_annotations("vggsound-single", [vggss])


def drawn(seed=0, size=(14, 14), names=tuple(CLIPS)):
    rng = np.random.default_rng(seed)
    return {name: rng.random(size, dtype=np.float32) for name in names}


def rows_of(verdict, **wanted):
    return [row for row in verdict.rows if all(row[key] == value for key, value in wanted.items())]


def quiet(*arguments, **options):
    return judge_maps(*arguments, progress=False, **options)


# what is judged


def test_maps_score_what_a_plain_loop_scores(truth):
    maps = drawn()
    (row,) = rows_of(quiet(maps, truth), method="maps", protocol=FRAME_WISE, threshold_rule="top_half")
    places = truth.places(slice(0, 3))[:, 0]
    large = torch.stack([resized(torch.from_numpy(maps[name]), (224, 224)) for name in truth.names])
    overlaps = iou(TopHalf()(large), places)
    assert row["AP"] == pytest.approx(100 * average_precision(large, places).mean().item(), abs=0.01)
    assert row["IoU@0.3"] == pytest.approx(100 * (overlaps >= 0.3).double().mean().item(), abs=0.01)
    assert row["classes"] == "none"
    assert row["clips"] == 3


def test_boxes_fill_the_pixels_that_they_fill_in_a_store(truth):
    place = truth.places(slice(0, 1))[0, 0]
    assert place[22:134, 22:112].all()  # 0.1 * 224 = 22.4, 0.6 * 224 = 134.4, 0.5 * 224 = 112
    assert place.sum() == 112 * 90
    assert "1 annotations were left out" not in truth.remarks
    assert truth.remarks[0].startswith("2 annotations were left out, such as ddddddddddd_000004")


def test_every_form_of_the_same_maps_gives_the_same_rows(truth, tmp_path):
    maps = {name: np.round(value * 255).astype(np.uint8) for name, value in drawn().items()}
    wanted = quiet(maps, truth, name="one").rows
    for kind in ("npy", "png", "deep"):
        folder = tmp_path / kind / ("test/x" if kind == "deep" else "")
        folder.mkdir(parents=True)
        for name, value in maps.items():
            if kind == "png":
                Image.fromarray(value).save(folder / f"{name}.png")
            else:
                np.save(folder / (f"{name}.mp4.npy" if kind == "deep" else f"{name}.npy"), value[None])
        assert quiet(tmp_path / kind, truth, name="one").rows == wanted
    np.savez(tmp_path / "all.npz", **maps)
    save_file(maps, tmp_path / "all.safetensors")
    for file in ("all.npz", "all.safetensors"):
        assert quiet(tmp_path / file, truth, name="one").rows == wanted


def test_order_and_scale_of_the_maps_do_not_matter(truth):
    maps = drawn()
    wanted = quiet(maps, truth).rows
    assert quiet(dict(reversed(maps.items())), truth).rows == wanted
    assert quiet({name: 4 * value - 1 for name, value in maps.items()}, truth).rows == wanted  # no rule of raw scores


def test_a_map_may_be_larger_than_the_truth(truth):
    small = drawn(size=(7, 7))
    large = {name: np.kron(value, np.ones((96, 96), np.float32)) for name, value in small.items()}
    (row,) = rows_of(quiet(large, truth), method="maps", protocol=FRAME_WISE, threshold_rule="top_half")
    assert row["AP"] > 0
    assert resized(torch.ones(500, 300), (224, 224)).sum() == pytest.approx(224 * 224)


def test_maps_with_classes_are_found_by_class_and_nameless_ones_paired(duets):
    """Each source's map is its truth: named or in any order it scores 100, swapped names score nothing."""
    places = duets.places(slice(0, 2))
    by_class = {
        name: {label: place.numpy() for label, place in zip(duets.classes[k], places[k], strict=True)}
        for k, name in enumerate(duets.names)
    }
    by_class[duets.names[0]]["accordion"] = np.ones((3, 3))
    verdict = quiet(by_class, duets, rules=["min_max(0.5)"])
    for protocol in (FRAME_WISE, SOURCE_WISE, UNION):
        (row,) = rows_of(verdict, method="maps", protocol=protocol)
        assert (row["CIoU@0.5"], row["classes"]) == (100, "oracle")
    assert verdict.counts.beside == 1
    backwards = {name: places[k].flip(0).numpy() for k, name in enumerate(duets.names)}
    (row,) = rows_of(quiet(backwards, duets, rules=["min_max(0.5)"]), method="maps", protocol=FRAME_WISE)
    assert (row["CAP"], row["CIoU@0.5"], row["classes"]) == (100, 100, "best_pairing")
    swapped = {
        name: {label: places[k, 1 - n].numpy() for n, label in enumerate(duets.classes[k])}
        for k, name in enumerate(duets.names)
    }
    (row,) = rows_of(quiet(swapped, duets, rules=["min_max(0.5)"]), method="maps", protocol=FRAME_WISE)
    assert row["CIoU@0.1"] == 0


def test_one_map_of_a_duet_is_both_sources(duets):
    places = duets.places(slice(0, 2))
    verdict = quiet({name: places[k].amax(0).numpy() for k, name in enumerate(duets.names)}, duets, rules=["top_half"])
    (row,) = rows_of(verdict, method="maps", protocol=FRAME_WISE)
    assert (row["classes"], row["PIAP"]) == ("none", 100)
    assert row["CAP"] < 100


def test_floors_of_tiles_stand_beside_duets_and_not_beside_single_frames(truth, duets):
    methods = {row["method"] for row in quiet(drawn(), truth).rows}
    assert methods == {"maps", "centre", "whole_image", "oracle"}
    maps = drawn(names=duets.names, size=(2, 14, 28))
    verdict = quiet(maps, duets)
    assert {row["method"] for row in verdict.rows} - methods == {"tile_centre", "tile_each"}
    assert {row["protocol"] for row in verdict.rows} == {"frame-wise", "source-wise", "mean IoU", "union"}
    centre, each = (rows_of(verdict, method=name, protocol=FRAME_WISE, threshold_rule="min_max(0.5)")[0]
                    for name in ("centre", "tile_each"))  # fmt: skip
    assert each["CAP"] > centre["CAP"]
    assert each["classes"] == "best_pairing"


def test_a_store_is_judged_as_annotations_are(tiny_store):
    trial = Trial("duet", 2, "side_by_side")
    truth = truth_in_store(tiny_store, trial)
    places = truth.places(slice(0, len(truth)))
    maps = {name: {label: place.numpy() for label, place in zip(truth.classes[k], places[k], strict=True)}
            for k, name in enumerate(truth.names)}  # fmt: skip
    verdict = quiet(maps, tiny_store, trial=trial, rules=["fraction_of_max(0.5)"])
    assert rows_of(verdict, method="maps", protocol=FRAME_WISE)[0]["CIoU@0.5"] == 100
    with pytest.raises(SettingsError, match="many trials"):
        quiet(maps, tiny_store)


def test_is3_is_judged_by_its_own_file_and_names(tmp_path):
    boxes = {
        "cat_bus_12_cat": [0, 0, 112, 112],
        "cat_bus_12_bus": [112.0, 112.0, 224.0, 224.0],
        "ape_3_ape": [1, 1, 1, 5],
    }
    records = [{"image": f"/x/{name}.jpg", "audio": "y", "gt_box": box} for name, box in boxes.items()]
    (tmp_path / "synthetic3240_bbox.json").write_text(json.dumps(records))
    truth = truth_in_annotations("is3", [tmp_path / "synthetic3240_bbox.json"])
    assert (truth.names, truth.classes, truth.trial.geometry) == (("cat_bus_12",), (("cat", "bus"),), "one_frame")
    places = truth.places(slice(0, 1))[0]
    assert (places[0, :112, :112].all(), places.sum()) == (True, 2 * 112 * 112)
    for k, label in enumerate(("cat", "bus")):
        np.save(tmp_path / f"cat_bus_12_{label}.npy", places[k].numpy())
    verdict = quiet(tmp_path, truth, rules=["truth_area"])
    (row,) = rows_of(verdict, method=tmp_path.name, protocol=FRAME_WISE)
    assert (row["classes"], row["IIoU"], row["CIoU@0.5"]) == ("oracle", 100, 100)
    assert rows_of(verdict, method="centre", protocol=FRAME_WISE)[0]["IIoU"] == 0


# what is wrong with maps


def test_missing_and_broken_maps_are_failures_and_counted(truth):
    maps = drawn()
    first, second, third = CLIPS
    whole = {name: truth.places(slice(k, k + 1))[0, 0].numpy() for k, name in enumerate(truth.names)}
    maps = {first: whole[first], second: np.full((4, 4), np.nan), "stranger": np.ones((3, 3))}
    verdict = quiet(maps, truth, rules=["min_max(0.5)"])
    assert verdict.counts.as_dict() == {"missing": 1, "broken": 1, "incomplete": 0, "unknown": 1, "beside": 0}
    report = "\n".join(verdict.report)
    assert f"1 pictures have no map and count as failures: {third}" in report
    assert f"{second} (16 values that are no numbers (NaN or infinite))" in report
    assert "1 maps are called as no picture of the benchmark and are not judged: stranger" in report
    (row,) = rows_of(verdict, method="maps", protocol=FRAME_WISE)
    assert row["IoU@0.5"] == row["AP"] == pytest.approx(33.33, abs=0.01)


def test_a_class_without_a_map_is_a_failure(duets):
    places = duets.places(slice(0, 2))
    maps = {name: {duets.classes[k][0]: places[k, 0].numpy()} for k, name in enumerate(duets.names)}
    verdict = quiet(maps, duets, rules=["min_max(0.5)"])
    assert len(verdict.counts.incomplete) == 2
    (row,) = rows_of(verdict, method="maps", protocol=SOURCE_WISE)
    assert row["CIoU@0.5"] == 50


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.ones((2, 3, 4, 5)), r"shape \(2, 3, 4, 5\)"),
        (np.ones((0, 4)), r"shape \(0, 4\)"),
        (np.ones((9, 4, 4)), "9 maps, more than 8"),
        (np.array([["a"]]), "not of numbers"),
        (np.full((3, 3), np.inf), "9 values that are no numbers"),
    ],
)
def test_what_is_no_map_is_said(truth, value, said):
    with pytest.raises(DataError, match=said):
        quiet({next(iter(CLIPS)): value}, truth)


def test_files_are_read_without_running_anything_in_them(truth, tmp_path):
    first, second, third = CLIPS
    np.save(tmp_path / f"{first}.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / f"{second}.npy").write_bytes(pickle.dumps([1]))
    Image.new("RGB", (4, 4)).save(tmp_path / f"{third}.png")
    with pytest.raises(DataError, match="Not one map"):
        quiet(tmp_path, truth)
    np.save(tmp_path / f"{first}.npy", np.ones((4, 4)))
    broken = quiet(tmp_path, truth).counts.broken
    assert len(broken) == 2
    assert "cannot be read (ValueError" in broken[0]
    assert "a picture in mode RGB" in broken[1]


def test_two_maps_of_one_name_are_refused(truth, tmp_path):
    name = next(iter(CLIPS))
    np.save(tmp_path / f"{name}.npy", np.ones((4, 4)))
    Image.new("L", (4, 4)).save(tmp_path / f"{name}.png")
    with pytest.raises(DataError, match=rf"two maps called {name}: {name}.npy and {name}.png \(1 such pairs\)"):
        quiet(tmp_path, truth)


def test_names_that_are_no_clips_are_answered_with_a_clip(truth, tmp_path):
    with pytest.raises(DataError, match=f"1 maps, such as x, and clips called {truth.names[0]}"):
        quiet({"x": np.ones((3, 3))}, truth)
    with pytest.raises(DataError, match="does not exist"):
        quiet(tmp_path / "nowhere", truth)
    (tmp_path / "maps.npz").write_bytes(b"PK no zip")
    with pytest.raises(DataError, match="cannot be read"):
        quiet(tmp_path / "maps.npz", truth)


def test_some_maps_with_classes_and_some_without_are_refused(duets):
    first, second = duets.names
    maps = {first: {duets.classes[0][0]: np.ones((3, 3))}, second: np.ones((2, 3, 3))}
    with pytest.raises(DataError, match="name all of them, or none"):
        quiet(maps, duets)


# the command


def test_the_command_writes_the_table_in_three_forms(vggss, tmp_path, capsys):
    np.savez(tmp_path / "my_method.npz", **drawn())
    out = [tmp_path / f"results.{suffix}" for suffix in ("json", "csv", "tex")]
    arguments = [tmp_path / "my_method.npz", "--benchmark", "vggsound-single", "--annotations", vggss, "--out", *out]
    assert main([str(one) for one in arguments]) == 0
    printed = capsys.readouterr().out
    assert "vggsound-single, test: 3 pictures of 1 source" in printed
    assert "my_method" in printed
    said = json.loads(out[0].read_text())
    assert said["counts"]["missing"] == 0
    assert {row["protocol"] for row in said["rows"]} == {"frame-wise", "mean IoU"}
    sheet = list(csv.DictReader(out[1].read_text().splitlines()))
    assert len(sheet) == len(said["rows"])
    assert sheet[0]["threshold_rule"] == "top_half"
    latex = out[2].read_text()
    assert r"my\_method & none & frame-wise & top\_half" in latex
    assert latex.count(r" \\") == len(said["rows"]) + 1


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--benchmark", "vggsound-singel"], 'Did you mean "vggsound-single"'),
        (["--benchmark", "vggsound-single", "--trial", "quartet"], 'no subset "quartet"'),
        (["--benchmark", "vggsound-single", "--rules", "half"], 'no threshold rule "half"'),
        (["--benchmark", "vggsound-single", "--out", "x.xlsx"], "written as .json, .csv or .tex"),
        (["--benchmark", "kinetics400"], "cannot be judged from annotation files alone"),
    ],
)
def test_what_is_asked_wrongly_is_a_sentence(vggss, tmp_path, capsys, extra, said):
    np.savez(tmp_path / "maps.npz", **drawn())
    assert main([str(tmp_path / "maps.npz"), *extra, "--annotations", str(vggss)]) == 1
    assert said in capsys.readouterr().err


def test_numbers_that_a_row_lacks_are_empty_cells():
    about = {"classes": "none", "protocol": "union", "clips": 2}
    rows = [{"method": "a_b", "threshold_rule": "x", "AUC": 1.25, **about},
            {"method": "c", "threshold_rule": "y", "mean IoU": 3.0, **about}]  # fmt: skip
    lines = row_files.as_text(rows).splitlines()
    assert lines[0].split() == ["method", "classes", "protocol", "threshold", "rule", "AUC", "mean", "IoU"]
    assert [line.split()[-1] for line in (lines[2], lines[4])] == ["1.2", "3.0"]


def test_what_could_not_be_counted_is_null_in_json_and_empty_elsewhere(tmp_path):
    rows = [{"method": "m", "classes": "none", "protocol": "union", "threshold_rule": "x", "AUC": math.nan, "AP": 1.0}]
    row_files.write_rows(tmp_path / "rows.json", rows, {})
    said = json.loads((tmp_path / "rows.json").read_text(), parse_constant=pytest.fail)
    assert (said["rows"][0]["AUC"], said["rows"][0]["AP"]) == (None, 1.0)
    row_files.write_rows(tmp_path / "rows.csv", rows, {})
    assert (tmp_path / "rows.csv").read_text().splitlines()[1].split(",")[-2:] == ["", "1.0"]
    assert "nan" not in row_files.as_text(rows)
