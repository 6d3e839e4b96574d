"""The on-disk format: what is written is read, and what is broken is named by file and line, with the mend."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avnb.data.clips import SceneObject
from avnb.data.folder import read_info, read_rows, write_dataset
from avnb.errors import DataError

CLASSES = ("bell", "drum", "horn", "whistle")
GOOD = {
    "id": "a", "split": "train", "subset": "solo", "file_name": "frames/a.jpg", "audio": "audio/a.ogg", "start": 0.5,
    "mask": "masks/a.png", "objects": [{"label": "drum", "xyxy": [0.1, 0.2, 0.5, 0.6], "sounding": True}],
}  # fmt: skip


def with_object(**changed) -> dict:
    return {"objects": [GOOD["objects"][0] | changed]}


def refusal(folder) -> str:
    with pytest.raises(DataError) as caught:
        list(read_rows(folder, CLASSES))
    return str(caught.value)


def test_what_is_written_is_read(new_folder):
    silent = {"label": "horn", "xyxy": [0, 0, 1, 1], "sounding": False}
    folder = new_folder([GOOD, GOOD | {"id": "b", "objects": [*GOOD["objects"], silent], "mask": None, "video": "v"}])
    info, (a, b) = read_info(folder), list(read_rows(folder, CLASSES))
    assert (info.name, info.classes, info.origin, info.note) == ("own", CLASSES, "real", "made by a test")
    assert a.objects == (SceneObject("drum", (0.1, 0.2, 0.5, 0.6), True),)
    assert (a.line, a.frame, a.audio, a.start, a.mask, a.labels, a.video) == (
        1, "frames/a.jpg", "audio/a.ogg", 0.5, "masks/a.png", ("drum",), "a",
    )  # fmt: skip
    assert (b.line, b.mask, b.labels, b.video) == (2, None, ("drum",), "v")
    assert b.objects[1] == SceneObject("horn", (0.0, 0.0, 1.0, 1.0), False)


def test_a_set_of_both_kinds_is_a_stand_in_and_says_how_much_of_it(new_folder):
    folder = new_folder([GOOD])
    write_dataset(folder, "own", CLASSES, "stand-in", "", [GOOD], {"real": 3, "stand-in": 1})
    assert read_info(folder).stand_in_share == "1 of 4 clips"
    write_dataset(folder, "own", CLASSES, "stand-in", "", [GOOD])
    assert read_info(folder).stand_in_share == "all clips"
    assert read_info(new_folder([GOOD], "real")).stand_in_share == ""


def test_labels_stand_in_for_boxes_and_repeat_nothing(new_folder):
    folder = new_folder([GOOD | {"labels": ["horn", "drum", "horn"]}, GOOD | {"id": "b", "objects": [], "labels": []}])
    assert [row.labels for row in read_rows(folder, CLASSES)] == [("drum", "horn"), ()]


def test_what_may_be_left_out_has_a_default(new_folder):
    bare = {key: GOOD[key] for key in ("id", "split", "subset", "file_name", "audio")}
    (row,) = read_rows(new_folder([bare]), CLASSES)
    assert (row.start, row.mask, row.objects, row.labels, row.video) == (0.0, None, (), (), "a")


BROKEN_ROWS = {
    "x2 before x1": (with_object(xyxy=[0.8, 0.2, 0.3, 0.6]), 'box of "drum" has x1 < x0 (0.3 < 0.8); boxes are x0, y0'),
    "y2 before y1": (with_object(xyxy=[0.1, 0.7, 0.3, 0.6]), 'box of "drum" has y1 < y0 (0.6 < 0.7)'),
    "a box with NaN": (with_object(xyxy=[0.1, float("nan"), 0.3, 0.6]), 'box of "drum" is not four finite numbers'),
    "an endless box": (with_object(xyxy=[0.1, 0.2, float("inf"), 0.6]), "is not four finite numbers"),
    "a number of 400 digits": (with_object(xyxy=[0.1, 0.2, 10**400, 0.6]), "is not four finite numbers"),
    "a box of true": (with_object(xyxy=[0, 0, True, 1]), "is not four finite numbers"),
    "a box of three": (with_object(xyxy=[0, 0, 1]), "is not four finite numbers"),
    "no box": (with_object(xyxy=None), "is not four finite numbers"),
    "a box in pixels": (with_object(xyxy=[10, 20, 50, 60]), "leaves the frame (x from 10 to 50); boxes are fractions"),
    "a box above the frame": (with_object(xyxy=[0.1, -0.2, 0.5, 0.6]), "leaves the frame (y from -0.2 to 0.6)"),
    "an unknown class": (with_object(label="cello"), 'class "cello" is not among the 4 classes of dataset.json'),
    "a class that is a number": (with_object(label=3), "an object is {"),
    "an object that is text": ({"objects": ["drum"]}, "an object is {"),
    "objects that are none": ({"objects": None}, '"objects" is a list'),
    "sounding that is text": (with_object(sounding="yes"), '"sounding" of "drum" is true or false'),
    "an unknown label": ({"labels": ["cello"]}, 'class "cello" is not among'),
    "labels that are text": ({"labels": "drum"}, '"labels" is a list of class names'),
    "a path upwards": ({"file_name": "../secret.jpg"}, '"file_name" leaves the folder (../secret.jpg)'),
    "a path up in the middle": ({"audio": "audio/../../x.ogg"}, '"audio" leaves the folder'),
    "a path from the root": ({"mask": "/etc/passwd"}, '"mask" leaves the folder (/etc/passwd)'),
    "a path of Windows": ({"audio": "C:\\x.ogg"}, '"audio" leaves the folder'),
    "a path up in Windows' way": ({"audio": "audio\\..\\..\\x.ogg"}, '"audio" leaves the folder'),
    "a path that is empty": ({"mask": ""}, '"mask" is a path inside the folder'),
    "a path that is a dot": ({"file_name": "."}, '"file_name" is a path inside the folder'),
    "a path that is a number": ({"mask": 3}, '"mask" is a path inside the folder'),
    "a path with a NUL": ({"mask": "masks/\0.png"}, '"mask" is a path inside the folder'),
    "no sound": ({"audio": None}, '"audio" is missing or not text; needed are id, split'),
    "an empty id": ({"id": ""}, '"id" is missing or not text'),
    "half a character": ({"id": "\ud800"}, '"id" is missing or not text'),
    "an unknown key": ({"labls": []}, 'unknown key "labls"; known are audio'),
    "an unknown split": ({"split": "validation"}, 'split "validation" is none of train, val, test'),
    "a start before the beginning": ({"start": -1}, '"start" is a time in seconds, from 0 to 10,000,000, not -1'),
    "a start that is NaN": ({"start": float("nan")}, '"start" is a time in seconds'),
    "a start beyond all sounds": ({"start": 1e308}, '"start" is a time in seconds, from 0 to 10,000,000, not 1e+308'),
    "an id of two megabytes": ({"id": "x" * 2_000_000}, '"id" is longer than 1000 bytes, which no name is'),
    "a subset of two megabytes": ({"subset": "x" * 2_000_000}, '"subset" is longer than 1000 bytes'),
    "a start that is text": ({"start": "1"}, '"start" is a time in seconds'),
    "a video that is a number": ({"video": 0}, '"video" is the name of a recording, not 0'),
    "an id twice": ({"id": "a"}, 'id "a" is already that of line 1'),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "said"), BROKEN_ROWS.values(), ids=BROKEN_ROWS)
def test_a_broken_row_is_named_by_file_and_line(new_folder, changed, said):
    message = refusal(new_folder([GOOD, GOOD | {"id": "b"} | changed]))
    assert message.startswith("data/own/metadata.jsonl, line 2: ")
    assert said in message


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: not JSON"),
        ("[1, 2]", "line 1: a clip is a JSON object, this is a list"),
        ("[" * 100_000, "line 1: not JSON"),
        ("9" * 5000, "line 1: not JSON"),
        ("\ufeff", "is empty; a benchmark needs at least one clip"),
        ("\n\n", "is empty"),
        ("", "is empty"),
    ],
    ids=["half", "list", "deep", "long number", "mark", "blank lines", "nothing"],
)
def test_a_line_that_is_no_clip_is_refused(new_folder, line, said):
    folder = new_folder([])
    (folder / "metadata.jsonl").write_text(line, encoding="utf-8")
    assert said in refusal(folder)


def test_lines_are_counted_as_an_editor_counts_them(new_folder):
    folder = new_folder([])
    rows = [json.dumps(GOOD | {"id": name, "note\u2028": 1} if name == "c" else GOOD | {"id": name}) for name in "abc"]
    (folder / "metadata.jsonl").write_text("\r\n\r\n".join(rows), encoding="utf-8", newline="")
    assert "line 5: unknown key" in refusal(folder)


def test_what_windows_editors_add_is_no_obstacle(new_folder):
    folder = new_folder([GOOD])
    for name in ("metadata.jsonl", "dataset.json"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert len(list(read_rows(folder, read_info(folder).classes))) == 1


def test_metadata_that_is_no_text_is_refused(new_folder):
    folder = new_folder([])
    (folder / "metadata.jsonl").write_bytes(b"\xff\xfe\x00")
    assert "data/own/metadata.jsonl is not UTF-8 text" in refusal(folder)
    (folder / "metadata.jsonl").unlink()
    assert "data/own has no metadata.jsonl; data/README.md shows the format" in refusal(folder)
    (folder / "metadata.jsonl").mkdir()
    assert "data/own/metadata.jsonl cannot be read: Is a directory" in refusal(folder)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("{", "is not JSON"),
        ("[]", 'must be an object with "name", "classes", "origin" and "note"'),
        ({"name": 3}, "must be an object with"),
        ({"name": "../music"}, '"name" must do as the name of a folder'),
        ({"classes": []}, '"classes" must be a list of names, at least one'),
        ({"classes": ["a", 3]}, '"classes" must be a list of names'),
        ({"classes": ["a", "b", "a"]}, 'class "a" is listed twice'),
        ({"classes": [str(number) for number in range(65_536)]}, '"classes" are at most 65,535 names'),
        ({"classes": ["x" * 1001]}, '"classes" are at most 65,535 names of at most 1000 bytes'),
        ({"origins": {"real": 3, "stand-in": 1}}, '"origins" counts the clips of a set that holds both'),
        ({"origin": "stand-in", "origins": {"real": 3}}, 'whose "origin" is "stand-in"; it is {\'real\': 3}'),
        ({"origin": "synthetic"}, '"origin" must be "real" or "stand-in", not \'synthetic\''),
    ],
)
def test_a_dataset_json_that_is_not_of_the_format_is_refused(new_folder, said, why):
    folder = new_folder([GOOD])
    path = folder / "dataset.json"
    path.write_text(said if isinstance(said, str) else json.dumps(json.loads(path.read_text()) | said))
    with pytest.raises(DataError) as caught:
        read_info(folder)
    assert "data/own/dataset.json" in str(caught.value)
    assert why in str(caught.value)


def test_a_folder_without_dataset_json_is_no_benchmark_yet(new_folder):
    folder = new_folder([GOOD])
    (folder / "dataset.json").unlink()
    with pytest.raises(DataError, match=r"data/own has no dataset.json, so it is not a prepared benchmark"):
        read_info(folder)


def test_a_row_that_cannot_be_written_leaves_the_folder_as_it_was(new_folder):
    folder = new_folder([GOOD])
    before = {path.name: path.read_bytes() for path in folder.glob("*.json*")}
    with pytest.raises(TypeError):
        write_dataset(folder, "own", CLASSES, "real", "", [GOOD, {"id": {1, 2}}])
    assert {path.name: path.read_bytes() for path in folder.glob("*.json*")} == before
    assert {path.name for path in folder.iterdir()} == {*before, "frames", "audio", "masks"}


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(CLASSES),
    lambda value: st.lists(value, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, *GOOD["objects"][0]]), value),
    max_leaves=8,
)


@given(key=st.sampled_from([*GOOD, "labels", "video"]), value=json_value)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
def test_whatever_a_row_holds_it_is_read_or_refused_in_a_sentence(new_folder, key, value):
    folder = new_folder([GOOD | {key: value}])
    try:
        list(read_rows(folder, CLASSES))
    except DataError as error:
        refused = str(error)
    else:
        refused = "data/own/metadata.jsonl, line 1: nothing"
    assert refused.startswith("data/own/metadata.jsonl, line 1: ")
