"""Methods that are trained or loaded in one line, from a notebook or from Python."""

import copy
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

import avnb
from avnb.data.store import Store
from avnb.datasets import open_data
from avnb.errors import DataError, RunError, SettingsError
from avnb.evaluation import judge, trials_of
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.models.ez_vsl import EZVSL, EZVSLSettings
from avnb.models.one_avm import OneAVMSettings
from avnb.networks import encoders
from avnb.training.published import SHIPPED
from avnb.training.runs import Run, saved_state
from avnb.training.trained import at_hand, load_method, train, trained_methods, usual_run

ROOT = Path(__file__).parents[2]
SETTINGS = AVGNSettings(dataset="tiny", preset="quick", dim=16, epochs=2, batch_size=8, device="cpu").resolve("cpu")


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


@pytest.fixture
def pairs(tiny: Path, tiny_folder: Path) -> Path:
    """The tiny duets as data/vggsound-duet, their classes the other way round; "tiny" is data/vggsound-single too."""
    folder = tiny / "data" / "vggsound-duet"
    shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns(".*"))
    rows = [line for line in (folder / "metadata.jsonl").read_text().splitlines() if '"duet"' in line]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    info = json.loads((folder / "dataset.json").read_text())
    info |= {"name": "vggsound-duet", "classes": info["classes"][::-1]}
    (folder / "dataset.json").write_text(json.dumps(info))
    (tiny / "data" / "vggsound-single").symlink_to(tiny_folder)
    return tiny


@pytest.mark.parametrize("told", ["", "tiny"])
def test_pairs_without_training_clips_are_judged_by_what_another_data_set_teaches(pairs: Path, told: str):
    settings = replace(SETTINGS, dataset="vggsound-duet", train_dataset=told, epochs=1)
    settings, store = open_data(settings, progress=False)
    assert store.classes == ("bell", "drum", "horn", "whistle")  # as the training set counts them
    method, run = train(settings, store, progress=False)
    rows = judge(method, store, run, trials_of(store), progress=False)
    assert {(row["benchmark"], row["subset"], row["sources"]) for row in rows} == {("vggsound-duet", "duet", 2)}
    assert [path.parts[-3] for path in (pairs / "outputs/avgn").glob("*/*/weights-*")] == ["tiny"]
    assert (len(run.history), run.best) == (1, 0)
    again = Run(run.folder)
    assert torch.equal(load_method(again, store.classes).tokens, method.tokens)
    assert usual_run("avgn", store).folder == run.folder


def test_what_is_to_be_trained_on_and_is_missing_is_named(pairs: Path):
    (pairs / "data" / "vggsound-single").unlink()
    with pytest.raises(DataError, match='"vggsound-duet" is judged with what "vggsound-single" teaches'):
        open_data(replace(SETTINGS, dataset="vggsound-duet"), progress=False)


def test_clips_of_classes_that_were_never_taught_are_not_asked_about(tiny_store: Store):
    other = tiny_store.in_classes(("drum", "violin", "bell"))
    assert other.classes == ("drum", "violin", "bell")
    for index in np.concatenate([other.select(split) for split in ("train", "test")]):
        assert other.clip(index).labels == tuple(sorted(tiny_store.clip(index).labels, key=other.classes.index))
    every = np.concatenate([tiny_store.select(split) for split in ("train", "val", "test")])
    known = [i for i in every if set(tiny_store.clip(i).labels) <= {"drum", "bell"}]  # solos, and the duets of both
    assert sum(other.count().values()) == len(known) > 20
    with pytest.raises(DataError, match='Not one clip of "tiny" is of the classes that are trained on'):
        tiny_store.in_classes(("cello",))


def test_trained_method_is_loaded_by_its_name_and_by_its_folder(tiny: Path, tiny_store: Store):
    with pytest.raises(RunError, match="No run of avgn on tiny is finished"):
        avnb.load("avgn", dataset="tiny")
    method, run = train(SETTINGS, tiny_store, progress=False)
    judge(method, tiny_store, run, trials_of(tiny_store)[:1], progress=False)
    assert torch.equal(load_method(run, tiny_store.classes).tokens, method.tokens)
    for name in ("avgn", str(run.folder)):
        loaded = avnb.load(name, dataset="tiny")
        assert torch.equal(loaded.tokens, method.tokens), name
        assert not loaded.training


def test_a_run_is_not_asked_about_classes_in_another_order(tiny: Path, tiny_store: Store, capsys):
    """Else every label of notebooks 09 to 13 and of a film would be another's."""
    method, run = train(SETTINGS, tiny_store, progress=False)
    judge(method, tiny_store, run, trials_of(tiny_store)[:1], progress=False)
    assert method.class_names == avnb.load("avgn", dataset="tiny").class_names == tiny_store.classes
    turned = replace(tiny_store.info, classes=tiny_store.classes[::-1])
    with pytest.raises(RunError, match=r"was trained on other classes than the data has now, or in another order: "):
        load_method(run, turned.classes)
    assert usual_run("avgn", tiny_store.info) is not None
    assert usual_run("avgn", turned) is None
    moved = Store(turned, tiny_store.folder, tiny_store.shape)
    assert trained_methods(["avgn"], moved, SETTINGS) == {}
    assert "knows other classes, or in another order" in capsys.readouterr().out
    run.write_json("data.json", {**run.data, "digest": "of other clips"})
    assert list(trained_methods(["avgn"], tiny_store, SETTINGS)) == ["avgn"]
    assert "trained before the clips were changed" in capsys.readouterr().out


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
    loaded = load_method(Run(run.folder), tiny_store.classes, "cpu")
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


def test_what_needs_no_training_is_ones_own_run_else_what_comes_with_avnb(tiny_store, workspace, capsys):
    assert at_hand("avgn", tiny_store) is None  # no run, and the weights that come with avnb know other classes
    said = Run(SHIPPED / "ez_vsl").data
    stand_in = copy.copy(tiny_store)
    stand_in.name, stand_in.origin, stand_in.classes = "music", said["origin"], said["classes"]
    method = at_hand("ez_vsl", stand_in, "cpu")
    assert method.class_names == said["classes"]
    assert capsys.readouterr().out == "ez_vsl: the weights that come with avnb, trained on the stand-in (seed 0)\n"
    stand_in.origin = "real"
    assert at_hand("ez_vsl", stand_in, "cpu") is None
