"""What every method keeps of the contract in models/base.py, in both presets, on frames that are not square.

Nothing here names a method or counts them: one that is added to METHODS is held to the same.
"""

from dataclasses import fields, replace

import pytest
import torch
from contract_batches import BATCH, CLASSES, HEIGHT, PRESETS, SAMPLES, WIDTH, batch_for, build, built, through_stages
from safetensors.torch import load_file
from torch import Tensor

from avnb.data.clips import Batch, Recipe
from avnb.data.store import ClipShape
from avnb.models import METHODS, Method, Query, Separates
from avnb.models.base import is_accuracy
from avnb.networks import presets
from avnb.networks.spectrograms import FrontEnd
from avnb.training.fit import fit
from avnb.training.runs import Run

STEPS = 5  # with which a run is stopped: in its second epoch, which has three as the first

every_method = pytest.mark.parametrize("name", METHODS)
every_preset = pytest.mark.parametrize("preset", PRESETS)


def shape_of_maps(method, frames: Tensor) -> tuple[int, int]:
    return tuple(-(-side // method.trunk.stride) for side in frames.shape[-2:])


@every_preset
@every_method
def test_a_preset_builds_without_a_download(name, preset, monkeypatch):
    monkeypatch.setattr("avnb.networks.encoders._imagenet_resnet18", lambda: pytest.fail("weights were asked for"))
    method = build(name, preset)
    assert name == method.settings.METHOD
    assert method.settings.preset == preset


@every_preset
@every_method
def test_the_trunk_keeps_its_word(name, preset):
    trunk = built(name, preset).eval().trunk
    frames = batch_for(Recipe()).frames
    with torch.no_grad():
        assert trunk(frames).shape == (BATCH, trunk.channels, HEIGHT // trunk.stride, WIDTH // trunk.stride)
    trained = [weight for weight in trunk.parameters() if weight.requires_grad]
    assert trunk.frozen == (not trained)


@every_preset
@every_method
def test_there_is_a_map_for_each_source_that_is_asked_for_in_every_stage(name, preset):
    method = built(name, preset)
    last = method.stages()[-1].name
    for stage in through_stages(method):
        if preset == "paper" and stage.name != last:
            continue  # what a phase changes is the same in both presets
        method.eval()
        for sources in (1, 2, 3) if preset == "quick" else (2,):
            batch = batch_for(Recipe(sources, "side_by_side"))
            with torch.no_grad():
                maps, features = method.localize(Query.of(batch)), method.trunk(batch.frames)
                cached = method.localize(replace(Query.of(batch), features=features))
                free = method.localize(Query(batch.frames, batch.mixture, features=features))
            assert maps.shape == (BATCH, sources, *shape_of_maps(method, batch.frames)), stage.name
            assert maps.isfinite().all(), stage.name
            torch.testing.assert_close(cached, maps)
            assert free.shape[1] >= 1, stage.name


@every_preset
@every_method
def test_the_loss_is_finite_in_every_stage_and_reaches_every_trained_weight(name, preset):
    for size in (BATCH, 2 * BATCH):  # where a method makes pairs of a batch, it takes two pairs
        method = built(name, preset)
        for stage in through_stages(method):
            for recipe in stage.recipes:
                terms = method.train().loss(batch_for(recipe, batch=size))
                assert all(value.shape == () and value.isfinite() for value in terms.values()), stage.name
                assert all(0 <= value <= 1 for term, value in terms.items() if is_accuracy(term)), stage.name
                terms["total"].backward()
        weights = {weight: value for weight, value in method.named_parameters() if value.requires_grad}
        missed = [weight for weight, value in weights.items() if value.grad is None or not value.grad.any()]
        if not missed:
            break
    assert missed == []


@every_method
def test_neither_truth_nor_single_frames_are_read_in_training(name):
    method = built(name, "quick")
    for stage in through_stages(method):
        for recipe in stage.recipes:
            batch = batch_for(recipe)
            truth = torch.full((len(batch), batch.source_classes.shape[1], *batch.frames.shape[-2:]), torch.nan)
            losses = []
            for seen in (batch, replace(batch, truth=truth, source_frames=None)):
                torch.manual_seed(0)
                losses.append(method.train().loss(seen)["total"])
            assert torch.equal(*losses), stage.name


@every_method
def test_cached_features_stand_for_the_frames_in_training(name):
    """A frozen trunk's maps are all that the loss sees of a picture; what is trained is never cached."""
    method = built(name, "quick").eval()
    assert method.trunk.frozen
    for stage in through_stages(method):
        for recipe in stage.recipes:
            batch = batch_for(recipe)
            known = replace(batch, features=method.trunk(batch.frames), frames=torch.zeros_like(batch.frames))
            losses = []
            for seen in (batch, known):
                torch.manual_seed(0)
                losses.append(method.train().loss(seen)["total"])
            torch.testing.assert_close(*losses)


@every_preset
@every_method
def test_what_is_recognized_is_a_probability_of_every_class(name, preset):
    method = built(name, preset)
    for _ in through_stages(method):
        pass
    with torch.no_grad():
        heard = method.eval().recognize(batch_for(Recipe()).mixture)
    assert (heard is not None) == ("predicted" in method.CLASSES)
    if heard is not None:
        assert heard.shape == (BATCH, CLASSES)
        assert ((heard >= 0) & (heard <= 1)).all()


@every_preset
@every_method
def test_sound_and_picture_have_vectors_of_one_width(name, preset):
    with torch.no_grad():
        vectors = built(name, preset).eval().embed(batch_for(Recipe()))
    assert {"audio", "visual"} <= vectors.keys()
    assert all(value.ndim == 3 and len(value) == BATCH and value.isfinite().all() for value in vectors.values())


@every_preset
@every_method
def test_a_method_that_separates_returns_a_sound_for_each_frame(name, preset):
    method = built(name, preset).eval()
    assert isinstance(method, Separates) == hasattr(method, "separate")
    if not isinstance(method, Separates):
        pytest.skip("it separates nothing")
    for sources in (1, 2, 3) if preset == "quick" else (2,):
        batch = batch_for(Recipe(sources, "separate"))
        mixture = batch.source_waveforms.sum(dim=1)
        with torch.no_grad():
            sounds = method.separate(batch.source_frames, mixture)
        assert sounds.shape == (BATCH, sources, method.resampled(mixture).shape[1])
        assert abs(sounds.shape[2] / method.rate - SAMPLES / presets.RATE) < 0.001  # s
        assert sounds.isfinite().all()


@every_preset
@every_method
def test_what_is_saved_is_loaded(name, preset, tmp_path):
    method = built(name, preset)
    for _ in through_stages(method):
        pass
    run = Run(tmp_path / name / "nothing" / "run")
    run.folder.mkdir(parents=True)
    run.save_epoch(method, torch.optim.AdamW(method.parameters()), {"val_loss": 0.0}, better=True)
    other = build(name, preset, seed=1)
    Run(run.folder).load_best(other)
    query = Query.of(batch_for(Recipe(2, "side_by_side")))
    with torch.no_grad():
        assert torch.equal(method.eval().localize(query), other.eval().localize(query))


@every_method
def test_a_run_that_was_stopped_ends_as_one_that_was_not(name, tiny_store, tmp_path, monkeypatch):
    known = [entry.name for entry in fields(METHODS[name].SETTINGS)]
    lengths = {setting: 1 for setting in known if setting.endswith("_epochs")}
    changes = {"epochs": 2, "batch_size": 8, **({"dim": 16} if "dim" in known else {}), **lengths}

    def train(folder: str) -> Run:
        method, run = build(name, "quick", **changes), Run(tmp_path / name / "tiny" / folder)
        run.folder.mkdir(parents=True, exist_ok=True)
        fit(method, tiny_store, run, progress=False)
        return run

    whole, loss, steps = train("whole"), METHODS[name].loss, []

    def stopped(self: Method, batch: Batch) -> dict[str, Tensor]:
        steps.append(self.training)
        if self.training and sum(steps) == STEPS:
            raise KeyboardInterrupt
        return loss(self, batch)

    monkeypatch.setattr(METHODS[name], "loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        train("stopped")
    again = train("stopped")
    files = [sorted(run.folder.glob("*.safetensors")) for run in (whole, again)]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    for one, other in zip(*files, strict=True):
        one, other = load_file(one), load_file(other)
        assert [part for part in one if not torch.equal(one[part], other[part])] == []


@every_preset
@every_method
def test_half_precision_changes_nothing_that_a_method_hears(name, preset):
    """What the networks are shown of a sound is the same to a thousandth of its range; they need not look at it."""
    method, seen = built(name, preset).eval(), []

    def stop(_: FrontEnd, __: tuple[Tensor, ...], image: Tensor) -> None:
        seen.append(image)
        raise InterruptedError

    for front in [module for module in method.modules() if isinstance(module, FrontEnd)]:
        front.register_forward_hook(stop)
    batch = batch_for(Recipe())
    with torch.no_grad():
        batch = replace(batch, features=method.trunk(batch.frames))
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half), pytest.raises(InterruptedError):
            method.embed(batch)
    whole, cast = seen
    assert cast.dtype == torch.float32
    assert (cast - whole).abs().max() <= 1e-3 * (whole.max() - whole.min())


def test_the_store_s_rate_is_what_methods_expect():
    assert ClipShape().rate == presets.RATE
