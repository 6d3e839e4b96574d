"""Where clips come from travels with them: what is composed of a stand-in, or merged with one, is no real data set."""

import json
import shutil
from pathlib import Path

import pytest

from avnb.data.folder import read_info
from avnb.datasets import locate
from avnb.errors import DataError
from avnb.prepare.command import main


def solos(tiny_folder: Path, folder: Path, origin: str) -> Path:
    """A copy of the tiny benchmark whose clips are of this origin."""
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns(".*"))
    info = json.loads((folder / "dataset.json").read_text()) | {"origin": origin}
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def composed(videos: Path, out: Path, *more: str) -> Path:
    words = ["music-synthetic", "--videos", videos, "--out", out, "--seconds", 0.5, "--rate", 8000, "--limit", 2, *more]
    assert main([str(word) for word in words]) == 0
    return out


@pytest.mark.parametrize("origin", ["real", "stand-in"])
def test_a_composed_set_is_of_the_origin_of_its_solos(tiny_folder, tmp_path, workspace, origin):
    composed(solos(tiny_folder, tmp_path / "solos", origin), workspace / "data/music-synthetic")
    assert locate("music-synthetic").origin == origin
    if origin == "stand-in":
        with pytest.raises(DataError, match=r"data/music-synthetic is a stand-in .*, and origin = .real. was asked"):
            locate("music-synthetic", origin="real")


def test_parts_of_both_origins_merge_to_a_stand_in_that_says_how_much_of_it(tiny_folder, tmp_path, workspace):
    parts = [
        composed(solos(tiny_folder, tmp_path / origin, origin), tmp_path / f"part-{origin}", "--shard", f"{number}/2")
        for number, origin in ((1, "real"), (2, "stand-in"))
    ]
    counts = [len((part / "metadata.jsonl").read_text().splitlines()) for part in parts]
    assert main(["merge", *map(str, parts), "--out", str(workspace / "data/both")]) == 0
    info = read_info(workspace / "data/both")
    assert (info.origin, info.origins) == ("stand-in", {"real": counts[0], "stand-in": counts[1]})
    with pytest.raises(DataError, match=f"holds {counts[1]} of {sum(counts)} clips of a stand-in"):
        locate("both", origin="real")
