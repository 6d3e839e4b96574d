"""Methods that are trained or loaded in one line, from a notebook or from Python."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision

import avnb
from avnb.data.store import Store
from avnb.errors import RunError, SettingsError
from avnb.evaluation import judge, trials_of
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.models.ez_vsl import EZVSL, EZVSLSettings
from avnb.models.one_avm import OneAVMSettings
from avnb.networks import encoders
from avnb.training.runs import Run, saved_state
from avnb.training.trained import load_method, train

ROOT = Path(__file__).parents[2]
SETTINGS = AVGNSettings(dataset="tiny", preset="quick", dim=16, epochs=2, batch_size=8, device="cpu").resolve("cpu")


@pytest.fixture
def tiny(tiny_folder: Path, workspace: Path) -> Path:
    """The tiny benchmark as data/tiny of a workspace."""
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    return workspace


def test_train_leaves_a_run_and_loads_it_the_next_time(tiny: Path, tiny_store: Store, monkeypatch):
    method, run = train(SETTINGS, tiny_store, progress=False)
    assert not method.training
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert run.folder == Run.of(SETTINGS, "tiny", tiny_store.digest).folder
    monkeypatch.setattr(AVGN, "loss", lambda *_: pytest.fail("it was trained again"))
    again, _ = train(replace(SETTINGS, ablation=True), tiny_store, progress=False)
    for name, value in saved_state(method).items():
        assert torch.equal(value, saved_state(again)[name]), name


def test_train_starts_from_another_run_where_the_settings_say_so(tiny: Path, tiny_store: Store):
    with pytest.raises(RunError, match=r'init_from = "nowhere" is no run of one_avm.*There are: none yet'):
        train(OneAVMSettings(dataset="tiny", init_from="nowhere").resolve("cpu"), tiny_store, progress=False)


def test_trained_method_is_loaded_by_its_name_and_by_its_folder(tiny: Path, tiny_store: Store):
    with pytest.raises(RunError, match="No run of avgn on tiny is finished"):
        avnb.load("avgn", dataset="tiny")
    method, run = train(SETTINGS, tiny_store, progress=False)
    judge(method, tiny_store, run, trials_of(tiny_store)[:1], progress=False)
    assert torch.equal(load_method(run, 4).tokens, method.tokens)
    for name in ("avgn", str(run.folder)):
        loaded = avnb.load(name, dataset="tiny")
        assert torch.equal(loaded.tokens, method.tokens), name
        assert not loaded.training


def test_a_run_of_the_paper_preset_keeps_its_object_prior_and_fetches_nothing_else(
    tiny: Path, tiny_store: Store, monkeypatch
):
    """The prior is frozen, so no run keeps it; the trunk is the run's, and fetching it would be for nothing."""
    weights, fetched = imagenet_like(), []
    monkeypatch.setattr(encoders, "_imagenet_resnet18", lambda: fetched.append(1) or weights)
    settings = EZVSLSettings(dataset="tiny", preset="paper", dim=8, device="cpu").resolve("cpu")
    method = EZVSL(settings, 4).eval()
    run = Run.of(settings, "tiny", tiny_store.digest)
    run.save_epoch(method, torch.optim.AdamW(method.parameters()), {"val_loss": 0.0}, better=True)
    fetched.clear()
    loaded = load_method(Run(run.folder), 4, "cpu")
    assert len(fetched) == 1, "once, for the prior"
    frames = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    for prior, seen in method.object_maps(frames, None, (2, 2)).items():
        torch.testing.assert_close(loaded.object_maps(frames, None, (2, 2))[prior], seen)


def imagenet_like() -> dict[str, torch.Tensor]:
    """A whole ResNet-18's weights, drawn."""
    torch.manual_seed(5)
    return torchvision.models.resnet18().state_dict()


def test_name_that_is_no_method_is_a_sentence(workspace: Path):
    with pytest.raises(SettingsError, match=r'There is no method "avng"\. Did you mean "avgn"\? There are: avgn, '):
        avnb.load("avng")


def test_avnb_offers_its_names_when_they_are_asked_for():
    assert avnb.METHODS["avgn"] is AVGN
    assert re.fullmatch(r"\d+\.\d+\.\d+", avnb.__version__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        avnb.nothing  # noqa: B018


def test_readme_s_from_python_runs_as_it_stands_there(tiny_folder: Path, workspace: Path, monkeypatch, capsys):
    """On the tiny benchmark, and for one epoch: the presets are cut, not the text."""
    (workspace / "data" / "music").symlink_to(tiny_folder)
    presets = AVGNSettings.PRESETS
    short = {**presets["quick"], "epochs": 1, "batch_size": 8, "dim": 16}
    monkeypatch.setattr(AVGNSettings, "PRESETS", presets | {"quick": short})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (text,) = re.findall(r"From Python.*?```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    exec(compile(text, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.search(r"^solo +avgn +\d+\.\d", printed, flags=re.MULTILINE)
    assert re.search(r"^duet +centre +\d+\.\d", printed, flags=re.MULTILINE)
