"""Runs that are given away: the same maps elsewhere, and a sentence for what was altered on the way."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import avnb
from avnb.data.store import Store
from avnb.errors import RunError
from avnb.evaluation import judge, trials_of
from avnb.models.avgn import AVGNSettings
from avnb.models.base import Method, Query
from avnb.training import published
from avnb.training.runs import Run
from avnb.training.trained import train

SETTINGS = AVGNSettings(dataset="tiny", preset="quick", dim=16, epochs=1, batch_size=8, device="cpu").resolve("cpu")
QUERY = Query(
    torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), torch.rand(2, 66_150) - 0.5, torch.tensor([[0], [1]])
)


@pytest.fixture
def judged(tiny_folder: Path, tiny_store: Store, workspace: Path) -> tuple[Method, Run]:
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    method, run = train(SETTINGS, tiny_store, progress=False)
    judge(method, tiny_store, run, trials_of(tiny_store)[:1], progress=False)
    return method, run


def maps_of(method: Method) -> torch.Tensor:
    with torch.no_grad():
        return method.localize(QUERY)


def test_a_published_run_gives_the_same_maps_wherever_it_lies(judged, tmp_path, monkeypatch):
    method, run = judged
    elsewhere = shutil.copytree(run.publish(tmp_path / "given"), tmp_path / "another machine" / "AVGN, mine")
    monkeypatch.setenv("AVNB_DATA", str(tmp_path / "no data here"))
    loaded = avnb.load(str(elsewhere))
    assert loaded.class_names == method.class_names
    torch.testing.assert_close(maps_of(loaded), maps_of(method), rtol=0, atol=1e-5)
    card = (elsewhere / "README.md").read_text()
    assert "bell, drum, horn, whistle" in card
    assert "\ncentre | " in card


def test_half_precision_halves_the_file_and_moves_the_maps_a_little(judged, tmp_path):
    method, run = judged
    whole, half = (Path(run.publish(tmp_path / name, half=name == "half")) for name in ("whole", "half"))
    sizes = [next(folder.glob("weights-*.safetensors")).stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.55 * sizes[0]
    torch.testing.assert_close(maps_of(avnb.load(str(half))), maps_of(method), rtol=0, atol=0.02)


def test_what_was_altered_on_the_way_is_refused(judged, tmp_path):
    _, run = judged
    folder = Path(run.publish(tmp_path / "given"))
    weights = next(folder.glob("weights-*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(
        RunError, match=r'"weights-0000.safetensors" is not what was published \(its checksum differs\)'
    ):
        avnb.load(str(folder))
    run.publish(folder)  # again, over the old one
    avnb.load(str(folder))
    (folder / "weights-0001.safetensors").write_bytes(content)
    with pytest.raises(RunError, match=r'holds "weights-0001\.safetensors", which was not published with it'):
        avnb.load(str(folder))
    (folder / "weights-0001.safetensors").unlink()
    (folder / "data.json").unlink()
    with pytest.raises(RunError, match=r'lacks "data\.json"'):
        avnb.load(str(folder))
    (folder / published.SEAL).write_text("[]")
    with pytest.raises(RunError, match="cannot be read"):
        avnb.load(str(folder))


def test_nothing_of_the_user_s_is_overwritten(judged, tmp_path):
    _, run = judged
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my notes")
    with pytest.raises(RunError, match="holds something else; name a folder that is new or empty"):
        run.publish(tmp_path / "mine")
    assert (tmp_path / "mine" / "README.md").read_text() == "my notes"
    (run.folder / "metrics.json").unlink()
    with pytest.raises(RunError, match="was not trained and judged to its end"):
        run.publish(tmp_path / "new")


def test_the_hub_is_a_folder_that_others_can_fetch(judged, tmp_path, monkeypatch):
    method, run = judged
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(RunError, match="need the Hub's client: pip install huggingface_hub"):
        run.publish("hf://someone/avgn")
    hub = SimpleNamespace(
        create_repo=lambda name, exist_ok: (tmp_path / name).mkdir(parents=True),
        upload_folder=lambda repo_id, folder_path, allow_patterns: shutil.copytree(
            folder_path, tmp_path / repo_id, dirs_exist_ok=True
        ),
        snapshot_download=lambda name, allow_patterns: str((tmp_path / name).resolve(strict=True)),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert run.publish("hf://someone/avgn") == "hf://someone/avgn"
    assert torch.equal(maps_of(avnb.load("hf://someone/avgn")), maps_of(method))
    with pytest.raises(RunError, match="hf://nobody/avgn cannot be fetched: FileNotFoundError"):
        avnb.load("hf://nobody/avgn")


def test_weights_that_do_not_come_with_avnb_are_said_to_be_trained_first(workspace, monkeypatch, tmp_path):
    monkeypatch.setattr("avnb.training.trained.SHIPPED", tmp_path)
    with pytest.raises(RunError, match=r'No weights of dsol come with avnb .*avnb\.load\("dsol", "music"\)'):
        avnb.load("dsol")


@pytest.mark.parametrize("folder", sorted(published.SHIPPED.glob("*/")), ids=lambda folder: folder.name)
def test_weights_that_come_with_avnb_answer_at_once(folder: Path, workspace: Path):
    method = avnb.load(folder.name)
    assert folder.name == method.settings.METHOD
    assert len(method.class_names) == 11
    assert maps_of(method).isfinite().all()
    rows = json.loads((folder / "metrics.json").read_text())["rows"]
    assert {"centre", folder.name} <= {row["method"] for row in rows}, "its results stand beside the centre's"
