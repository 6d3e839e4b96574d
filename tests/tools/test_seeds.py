"""What every method reaches with several seeds, written by one command and read by the notebooks."""

import json
import sys
from pathlib import Path

import pytest

from avnb.config import Settings
from avnb.viewing.results import seeds_table, spreads_table

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import seeds  # noqa: E402


def test_each_seed_is_trained_and_judged_once_and_its_numbers_are_the_runs(workspace, tiny_store):
    settings = Settings(dataset="tiny", epochs=1, batch_size=8, preset="quick", device="cpu")
    found = seeds.collect(tiny_store, settings, ["ez_vsl"], 2, progress=False)
    runs = sorted((workspace / "outputs" / "ez_vsl").glob("*/*/metrics.json"))
    said = [json.loads(path.read_text())["rows"] for path in runs]
    [line] = [line for line in found["ez_vsl"] if (line["subset"], line["metric"]) == ("solo", "AP")]
    assert len(runs) == 2
    solo = [next(row["AP"] for row in rows if row["method"] == "ez_vsl" and row["subset"] == "solo") for rows in said]
    assert sorted(line["seeds"]) == sorted(round(value, 1) for value in solo)
    before = [path.stat().st_mtime_ns for path in runs]
    assert seeds.collect(tiny_store, settings, ["ez_vsl"], 2, progress=False) == found
    assert before == [path.stat().st_mtime_ns for path in runs]


def test_readmes_table_has_the_mean_the_lowest_and_the_highest():
    line = {"subset": "solo", "geometry": "single", "classes": "oracle", "metric": "AP", "seeds": [60.0, 62.0, 67.0]}
    table = seeds.readme_table({"avgn": [line]})
    assert table.splitlines()[-1] == "| AVGN | 63.0 (60.0-67.0) |  |  |  | true classes given |"


def test_another_call_keeps_the_methods_of_the_one_before_unless_the_data_are_others(tmp_path):
    about, path = {"dataset": "music", "processor": "one"}, tmp_path / "seeds.json"
    assert seeds.earlier(path, about) == {}
    path.write_text(json.dumps(about | {"methods": {"lvs": [{"seeds": [1.0]}]}}))
    assert seeds.earlier(path, about) == {"lvs": [{"seeds": [1.0]}]}
    assert seeds.earlier(path, about | {"processor": "another"}) == {}


def test_the_table_of_a_notebook_is_what_the_file_says_and_its_absence_is_told(workspace, monkeypatch, capsys):
    monkeypatch.setenv("AVNB_ROOT", str(workspace))
    assert seeds_table("avgn") is None
    assert "make seeds" in capsys.readouterr().out
    line = {"subset": "solo", "geometry": "single", "classes": "oracle", "metric": "AP", "seeds": [60.0, 62.5]}
    said = {
        "dataset": "music",
        "origin": "stand-in",
        "preset": "quick",
        "processor": "one",
        "methods": {"avgn": [line]},
    }
    (workspace / "docs" / "results").mkdir(parents=True)
    (workspace / "docs" / "results" / "seeds.json").write_text(json.dumps(said))
    shown = seeds_table("avgn").data
    assert shown.columns.tolist() == ["seed 0", "seed 1"]
    assert shown.iloc[0].tolist() == ["60.0", "62.5"]


def test_methods_stand_side_by_side_and_what_one_lacks_is_a_dash(workspace, monkeypatch, capsys):
    monkeypatch.setenv("AVNB_ROOT", str(workspace))
    solo = {"subset": "solo", "geometry": "single", "classes": "none", "metric": "AP", "seeds": [60.0, 62.0, 67.0]}
    duet = {"subset": "duet", "geometry": "one_frame", "classes": "none", "metric": "PIAP", "seeds": [50.0]}
    named = [{**solo, "classes": way, "seeds": [70.0, 72.0]} for way in ("oracle", "predicted")]
    said = {"dataset": "music", "origin": "stand-in", "preset": "quick", "processor": "one"}
    said["methods"] = {"lvs": [duet, solo, {**solo, "metric": "PIAP"}], "coarse_to_fine": named}
    (workspace / "docs" / "results").mkdir(parents=True)
    (workspace / "docs" / "results" / "seeds.json").write_text(json.dumps(said))
    shown = spreads_table("lvs", "coarse_to_fine", "dmc").data
    assert "no seeds of dmc" in capsys.readouterr().out
    assert list(shown) == ["duet, one frame: PIAP", "solo, single: AP"]
    assert shown.index.tolist() == [
        ("lvs", ""), ("coarse to fine", "true classes given"), ("coarse to fine", "its own classes"),
    ]  # fmt: skip
    assert shown.to_numpy().tolist() == [
        ["50.0", "63.0 (60.0-67.0)"], ["–", "71.0 (70.0-72.0)"], ["–", "71.0 (70.0-72.0)"],
    ]  # fmt: skip
    assert spreads_table("dmc") is None
    assert seeds_table("lvs").data.iloc[0].tolist() == ["50.0", "–", "–"]


@pytest.mark.skipif(not (ROOT / "docs/results/seeds.json").exists(), reason="make seeds has not been run")
def test_readmes_table_is_the_file_s():
    said = json.loads((ROOT / "docs/results/seeds.json").read_text())
    readme = (ROOT / "README.md").read_text()
    assert readme.partition(seeds.BEGIN)[2].partition(seeds.END)[0] == seeds.readme_table(said["methods"])
