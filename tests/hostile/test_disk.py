"""What is kept on the disk and damaged there, or was another's: built anew, or refused in a sentence; never trusted."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from avnb.data.arrays import cached_array
from avnb.data.build import open_store
from avnb.data.locks import locked, remove_abandoned, temporary_folder
from avnb.data.store import ClipShape
from avnb.errors import DataError, RunError, printable
from avnb.paths import inside
from avnb.training.runs import Run, find_runs, load_weights

SMALL = ClipShape(size=16, rate=8000, seconds=0.1)


@pytest.fixture
def own(workspace, tiny_folder):
    """A copy of the tiny benchmark."""
    return Path(shutil.copytree(tiny_folder, workspace / "data" / "own", ignore=shutil.ignore_patterns(".*")))


def content(store) -> list[np.ndarray]:
    return [np.array(store.frames), np.array(store.waveforms), np.array(store.masks), np.array(store.labels)]


def same(a, b) -> bool:
    return all((one == other).all() for one, other in zip(content(a), content(b), strict=True))


def test_a_damaged_store_is_built_anew_and_says_so(own):
    store = open_store(own, SMALL, progress=False)
    expected, names = content(store), sorted(path.name for path in store.folder.iterdir())
    for name in names:
        for damage in ("cut", "changed", "emptied", "removed") if name in ("store.json", "ids.npy") else ("changed",):
            path = store.folder / name
            data = bytearray(path.read_bytes())
            if damage == "cut":
                path.write_bytes(data[: len(data) // 2])
            elif damage == "changed":
                data[len(data) // 2] ^= 0x10
                path.write_bytes(data)
            elif damage == "emptied":
                path.write_bytes(b"")
            else:
                path.unlink()
            again = open_store(own, SMALL, progress=False)
            assert all((a == b).all() for a, b in zip(content(again), expected, strict=True)), (name, damage)
            if name != "store.json" or damage != "removed":
                assert "built anew" in again.report, (name, damage)


def test_a_store_that_was_copied_is_known_by_its_content(own, monkeypatch):
    store = open_store(own, SMALL, progress=False)
    for path in store.folder.iterdir():
        os.utime(path, (0, 0))
    monkeypatch.setattr("avnb.data.build._build", lambda *_: pytest.fail("built anew"))
    assert same(open_store(own, SMALL, progress=False), store)


def test_another_sets_damaged_index_is_no_obstacle(own):
    folder = open_store(own, SMALL, progress=False).folder
    other = folder.parent / "other-123"
    other.mkdir()
    for text in ("[]", "{", '{"source": 3}', ""):
        (other / "store.json").write_text(text)
        (folder / "store.json").unlink(missing_ok=True)
        open_store(own, SMALL, progress=False)


def test_a_picture_that_was_replaced_is_noticed(own):
    store = open_store(own, SMALL, progress=False)
    row = json.loads((own / "metadata.jsonl").read_text().splitlines()[0])
    Image.new("RGB", (96, 80), (255, 0, 255)).save(own / row["file_name"])
    again = open_store(own, SMALL, progress=False)
    assert not (again.frames[0] == store.frames[0]).all()
    assert again.frames[0].transpose(1, 2, 0)[8, 8].tolist() == pytest.approx([255, 0, 255], abs=3)  # a JPEG


def test_a_cache_that_is_damaged_or_of_another_shape_is_filled_anew(tmp_path):
    def fill(array):
        array[:] = 3

    path = tmp_path / "x~cache.npy"
    for damage in (None, lambda data: data[:-9], lambda data: data[:-1] + b"\1", lambda data: b""):
        if damage:
            path.write_bytes(damage(path.read_bytes()))
        assert (cached_array(path, (4, 5), fill) == 3).all()
    assert cached_array(path, (2, 5), fill).shape == (2, 5)


def test_what_a_killed_process_left_is_removed_at_once_and_what_is_in_use_is_not(tmp_path):
    with temporary_folder(tmp_path, "mine") as mine:
        left = tmp_path / "left.1-2.tmp"
        left.mkdir()
        (left / "lock").touch()
        (tmp_path / ".x.json.999999999.tmp").touch()
        (tmp_path / f".y.json.{os.getpid()}.tmp").touch()
        remove_abandoned(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f".y.json.{os.getpid()}.tmp", mine.name])
    assert not mine.exists()


def test_a_lock_is_held_once_and_is_no_link(tmp_path):
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert (first, second) == (True, False)
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    with pytest.raises(DataError, match="is a link"), locked(tmp_path / "link"):
        pass
    assert (tmp_path / "victim").read_text() == "mine"


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "link/x", "", "a\\..\\x", "a\0b"])
def test_no_name_leads_out_of_a_folder(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path)
    with pytest.raises(DataError, match="leads out of"):
        inside(tmp_path / "in", name)


def test_a_name_cannot_speak_to_a_terminal():
    assert printable("a\x1b[2J\x9b31m\u202eb\ud800") == "a\\x1b[2J\\x9b31m\\u202eb\\ud800"
    assert "\x1b" not in str(DataError("no \x1b]0;title\x07 here"))


# ------------------------------------------------------------------------------------------------------------ the runs


@pytest.fixture
def run(workspace):
    run = Run(workspace / "outputs" / "avgn" / "music [2]" / "quick-seed0-x")
    model = nn.Linear(3, 2)
    run.save_epoch(model, torch.optim.AdamW(model.parameters()), {"epoch": 1}, better=True)
    run.write_json("metrics.json", {"origin": "real", "rows": []})
    return run


def test_weights_that_are_not_what_was_written_are_refused(run):
    [path] = run.folder.glob("weights-*.safetensors")
    Run(run.folder).load_best(nn.Linear(3, 2))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(RunError, match="it is not what was written"):
        Run(run.folder).load_best(nn.Linear(3, 2))


def test_weights_of_nan_are_refused(run):
    [path] = run.folder.glob("weights-*.safetensors")
    tensors = load_file(path)
    tensors["bias"][0] = torch.nan
    save_file(tensors, path, {"method": "avgn"})
    with pytest.raises(RunError, match="no numbers"):
        load_weights(nn.Linear(3, 2), path, "avgn")


def test_others_may_read_what_is_written(run):
    usual = run.folder / "usual"
    usual.touch()
    assert {path.stat().st_mode for path in run.folder.iterdir() if path.is_file() and path.name != "lock"} == {
        usual.stat().st_mode
    }


def test_a_data_sets_name_is_no_pattern(run, workspace):
    for benchmark in ("music 2", "music", "m"):
        shutil.copytree(run.folder, workspace / "outputs" / "avgn" / benchmark / "quick-seed0-x")
    assert [found.folder.parent.name for found in find_runs("avgn", "music [2]")] == ["music [2]"]
    assert find_runs("avgn", "m*") == []
    assert len(find_runs("avgn")) == 4


def test_one_damaged_run_is_named_and_the_others_found(run, workspace):
    other = workspace / "outputs" / "avgn" / "music [2]" / "other"
    shutil.copytree(run.folder, other)
    (other / "history.json").write_text("{")
    with pytest.warns(UserWarning, match=r"other is passed over: .*history.json is damaged"):
        assert [found.folder for found in find_runs("avgn", "music [2]")] == [run.folder]


def test_a_finished_run_is_found_on_a_disk_that_is_read_only(run, monkeypatch):
    from avnb.models.avgn import AVGNSettings

    settings = AVGNSettings(dataset="tiny").resolve("cpu")
    made = Run.of(settings, "tiny", "x")
    monkeypatch.setattr("avnb.training.runs._save_json", lambda *_: pytest.fail("written"))
    assert Run.of(settings, "tiny", "x").folder == made.folder


def test_a_run_whose_results_are_damaged_is_passed_over_by_name(workspace, tiny_store, run):
    from avnb.training.trained import usual_run

    folder = workspace / "outputs" / "avgn" / "tiny" / "x"
    shutil.copytree(run.folder, folder)
    for text in ("{", "[]", "{}", ""):
        (folder / "metrics.json").write_text(text)
        with pytest.warns(UserWarning, match=r"avgn/tiny/x is passed over: its metrics.json is damaged"):
            assert usual_run("avgn", tiny_store) is None


RENDER = """
import sys
from pathlib import Path
from avnb.standin.build import render
if __name__ == "__main__":
    render(Path(sys.argv[1]), counts={("train", "solo"): 400}, workers=2, progress=False)
"""


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found in /proc")
def test_of_a_killed_renderer_neither_a_process_nor_a_folder_is_left(tmp_path):
    (tmp_path / "render.py").write_text(RENDER)
    folder = tmp_path / "data" / "drawn"
    command = [sys.executable, str(tmp_path / "render.py"), str(folder)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    wait_for(lambda: list(folder.parent.glob(".drawn.*.tmp/frames/*")))
    children = children_of(process.pid)
    assert len(children) >= 2
    process.kill()
    process.wait()
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    remove_abandoned(folder.parent)
    assert list(folder.parent.iterdir()) == []


def children_of(process: int) -> list[int]:
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(place.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(place.parent.name))
    return found


def wait_for(what, seconds: float = 60.0) -> None:
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds
        time.sleep(0.1)
