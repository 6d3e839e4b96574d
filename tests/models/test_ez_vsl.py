"""EZ-VSL's equations against loops in float64, its maps, its settings and its open-set training.

The networks that look, listen and know objects are replaced by tiny ones: the method is what lies behind them. 1e-9 is
rounding: some hundred float64 operations on numbers of size 1 to 100.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_methods import TinyObjects, TinySound, TinyTrunk, cosine, dot, in_doubles, random_mixtures
from torch import Tensor, nn

import avnb.models.ez_vsl as ez_vsl
from avnb.config import read_parameters
from avnb.data.clips import Batch
from avnb.data.folder import SPLITS
from avnb.errors import SettingsError
from avnb.evaluation.localization import evaluate
from avnb.evaluation.trials import Trial
from avnb.models.base import Query
from avnb.models.ez_vsl import EZVSL, EZVSLSettings, draw_heard, fuse, matching_scores
from avnb.networks import presets
from avnb.networks.losses import multiple_instance_contrastive
from avnb.training.fit import fit
from avnb.training.runs import Run
from avnb.training.trained import train

TOLERANCE = 1e-9
DIM = 8
MATCHINGS = ("max", "mean", "max_pooled")
PRIORS = ("activation", "class_posterior")


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small EZ-VSL with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)
    monkeypatch.setattr(ez_vsl, "LiteObjects", TinyObjects)

    def make(**options) -> EZVSL:
        torch.manual_seed(3)
        defaults = {"preset": "quick", "dim": DIM, "temperature": 0.3}
        return EZVSL(EZVSLSettings(**(defaults | options)).resolve("cpu"), 5)

    return make


def random_batch(batch: int = 3, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


# ------------------------------------------------------------------------------------- the equations, written as loops


def positions(picture: Tensor) -> list[list[float]]:
    """Eq. 2: the bag V of a picture's positions, row after row, from [dim, rows, columns]."""
    return picture.flatten(1).T.tolist()


def plain_score(a: list[float], bag: list[list[float]], matching: str) -> float:
    """How a sound matches a bag: the numerators' and denominators' sim of eqs. 3-4, and Table 6's other two."""
    if matching == "max":
        return max(cosine(a, v) for v in bag)
    if matching == "mean":
        return sum(cosine(a, v) for v in bag) / len(bag)
    return cosine(a, [max(v[d] for v in bag) for d in range(len(a))])


def plain_loss(audio: Tensor, visual: Tensor, tau: float, matching: str) -> tuple[float, float]:
    """Eqs. 3 and 4, each averaged over the batch."""
    sounds, bags = audio.tolist(), [positions(picture) for picture in visual]
    to_visual, to_audio = [], []
    for i in range(len(sounds)):
        own = math.exp(plain_score(sounds[i], bags[i], matching) / tau)
        pictures = sum(math.exp(plain_score(sounds[i], bag, matching) / tau) for bag in bags)
        others = sum(math.exp(plain_score(sound, bags[i], matching) / tau) for sound in sounds)
        to_visual.append(-math.log(own / pictures))
        to_audio.append(-math.log(own / others))
    return sum(to_visual) / len(sounds), sum(to_audio) / len(sounds)


def plain_unit_range(values: list[float]) -> list[float]:
    return [(value - min(values)) / (max(values) - min(values)) for value in values]


@pytest.mark.parametrize("matching", MATCHINGS)
@pytest.mark.parametrize("batch", [1, 4])
def test_loss_is_equations_3_to_5(build, matching, batch):
    method, clips = in_doubles(build(matching=matching), random_batch(batch))
    audio, visual = method(clips.frames, clips.mixture, clips.features)
    to_visual, to_audio = plain_loss(audio.detach(), visual.detach(), 0.3, matching)
    terms = method.loss(clips)
    assert terms["audio_to_visual"].item() == pytest.approx(to_visual, abs=TOLERANCE)
    assert terms["visual_to_audio"].item() == pytest.approx(to_audio, abs=TOLERANCE)
    assert terms["total"].item() == pytest.approx(to_visual + to_audio, abs=TOLERANCE)


def test_projections_are_equation_1_in_the_paper_preset():
    """U_v v + b_v at every position, U_a a + b_a: written out for one picture and its sound."""
    method = EZVSL(EZVSLSettings(preset="paper", dim=4, pretrained=False).resolve("cpu"), 5).double().eval()
    batch = random_batch(1, 1, 64, 96)
    audio, visual = method(batch.frames, batch.mixture.double())
    maps, heard = method.trunk(batch.frames), method.listen(method.spectrogram(batch.mixture.double()))
    for d in range(4):
        u, b = method.project_audio.weight[d].tolist(), method.project_audio.bias[d].item()
        assert audio[0, d].item() == pytest.approx(dot(u, heard[0].tolist()) + b, abs=TOLERANCE)
        u, b = method.project_visual.weight[d].flatten().tolist(), method.project_visual.bias[d].item()
        expected = [dot(u, v) + b for v in positions(maps[0].detach())]
        torch.testing.assert_close(visual[0, d].flatten().tolist(), expected, rtol=0, atol=TOLERANCE)


def test_matching_by_the_maximum_is_the_objective_that_other_methods_share(build):
    method, batch = in_doubles(build(), random_batch(5))
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    shared = multiple_instance_contrastive(audio[:, None], visual[:, None], 0.3, both_directions=True)
    assert method.loss(batch)["total"].item() == pytest.approx(shared.item(), abs=TOLERANCE)


@pytest.mark.parametrize("object_prior", PRIORS)
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_map_is_equations_6_to_9(build, alpha, object_prior):
    method, batch = in_doubles(build(alpha=alpha, object_prior=object_prior), random_batch())
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    maps = method.localize(Query.of(batch))
    v, logits = method.objects(batch.features)
    for i in range(len(batch)):
        heard = [cosine(audio[i].tolist(), position) for position in positions(visual[i])]  # eq. 6
        seen = [sum(abs(x) for x in position) for position in positions(v[i])]  # eq. 8
        if object_prior == "class_posterior":  # eq. 7
            powers = [[math.exp(x) for x in position] for position in positions(logits[i])]
            seen = [max(position) / sum(position) for position in powers]
        both = zip(plain_unit_range(heard), plain_unit_range(seen), strict=True)
        expected = [alpha * h + (1 - alpha) * s for h, s in both]  # eq. 9
        torch.testing.assert_close(maps[i, 0].flatten().tolist(), expected, rtol=0, atol=TOLERANCE)


def test_coarser_prior_is_enlarged_to_the_grid_of_the_audio_visual_map(build):
    method, batch = build(), random_batch(2, 1, 64, 96)
    method.objects = nn.Sequential(nn.AvgPool2d(2), method.objects)
    priors = method.object_maps(batch.frames, None, (4, 6))
    assert {name: tuple(prior.shape) for name, prior in priors.items()} == dict.fromkeys(PRIORS, (2, 4, 6))


def test_constant_map_adds_nothing():
    heard = torch.tensor([[0.0, 1.0, 3.0]])
    torch.testing.assert_close(fuse(heard, torch.full((1, 3), 7.0), 0.4), 0.4 * heard / 3)


def test_paper_preset_hears_11025_hertz_whatever_the_precision():
    """A tone of 1 kHz lies in bin 1000 / 11025 * 512 = 46; autocast changes no bin of what the network is shown."""
    method = EZVSL(EZVSLSettings(preset="paper", dim=4, pretrained=False).resolve("cpu"), 5)
    tone = torch.sin(2 * math.pi * 1000 * torch.arange(3 * 22_050) / 22_050)[None]
    image = method.spectrogram(tone)
    assert image.shape == (1, 1, 257, 137)
    assert image.mean(dim=3).argmax() == 46
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(method.spectrogram(tone), image)


# ----------------------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(224, 448), (64, 64), (97, 203)])
def test_there_is_the_same_map_for_each_asked_source(build, height, width, sources):
    batch = random_batch(2, sources, height, width)
    maps = build().eval().localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert maps.shape == (2, sources, math.ceil(height / 16), math.ceil(width / 16))
    assert (maps == maps[:, :1]).all()
    assert 0 <= maps.min() <= maps.max() <= 1


@pytest.mark.parametrize(("height", "width"), [(224, 448), (64, 64), (97, 203)])
@pytest.mark.parametrize("object_prior", PRIORS)
@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_real_networks_give_maps_of_any_frame(preset, object_prior, height, width):
    settings = EZVSLSettings(preset=preset, object_prior=object_prior, dim=16, pretrained=False).resolve("cpu")
    batch = random_batch(1, 2, height, width)
    maps = EZVSL(settings, 5).eval().localize(Query(batch.frames, batch.mixture, batch.source_classes))
    grid = (height // 16, width // 16) if preset == "quick" else (math.ceil(height / 32), math.ceil(width / 32))
    assert maps.shape == (1, 2, *grid)
    assert torch.isfinite(maps).all()


def test_object_prior_alone_hears_nothing(build):
    method, batch = build(alpha=0.0).eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture))
    assert torch.equal(maps, method.localize(Query(batch.frames, batch.mixture.flip(0))))


def test_audio_visual_map_alone_never_runs_the_object_network(build):
    method, batch = build(alpha=1.0).eval(), random_batch()
    method.objects = None
    assert torch.isfinite(method.localize(Query(batch.frames, batch.mixture))).all()


def test_known_features_give_the_maps_of_their_frames(build):
    method, batch = build().eval(), random_batch()
    maps = method.localize(Query(batch.frames, batch.mixture))
    black = torch.zeros_like(batch.frames)
    torch.testing.assert_close(method.localize(Query(black, batch.mixture, None, method.trunk(batch.frames))), maps)


def test_another_fusion_of_the_same_network_shares_its_weights(build):
    method, batch = build(alpha=0.4).eval(), random_batch()
    shown = method.showing(1.0, "class_posterior")
    assert (shown.settings.alpha, shown.settings.object_prior) == (1.0, "class_posterior")
    assert method.settings.alpha == 0.4
    assert all(a is b for a, b in zip(method.parameters(), shown.parameters(), strict=True))
    query = Query(batch.frames, batch.mixture)
    assert not torch.equal(method.localize(query), shown.localize(query))


def test_embedding_has_one_vector_of_each_kind(build):
    vectors = build().eval().embed(random_batch(3, 2))
    assert {name: tuple(value.shape) for name, value in vectors.items()} == {
        "audio": (3, 1, DIM), "visual": (3, 1, DIM),
    }  # fmt: skip


@pytest.mark.parametrize("matching", MATCHINGS)
def test_scores_are_cosines(matching):
    generator = torch.Generator().manual_seed(1)
    audio, visual = torch.randn(3, 6, generator=generator), torch.randn(4, 6, 2, 5, generator=generator)
    score = matching_scores(audio, visual, matching)
    assert score.shape == (3, 4)
    assert score.abs().max() <= 1 + 1e-6


# ------------------------------------------------------------------------------------------------------------- training


def dead_weights(method: EZVSL, batch: Batch) -> list[str]:
    """Take a step and return the names of the trainable parameters that no gradient reached."""
    weights = {name: value for name, value in method.named_parameters() if value.requires_grad}
    method.train().loss(batch)["total"].backward()
    dead = [name for name, value in weights.items() if value.grad is None or not value.grad.any()]
    torch.optim.AdamW(weights.values(), lr=1e-3).step()
    assert math.isfinite(method.loss(batch)["total"].item())
    return dead


@pytest.mark.parametrize("matching", MATCHINGS)
def test_gradients_reach_every_trained_weight(build, matching):
    assert dead_weights(build(matching=matching), random_batch(6)) == []


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_gradients_reach_every_weight_of_the_real_networks_but_the_frozen(preset):
    method = EZVSL(EZVSLSettings(preset=preset, dim=16, pretrained=False).resolve("cpu"), 5)
    frozen = [method.objects] + ([method.trunk] if preset == "quick" else [])
    before = [{name: value.clone() for name, value in part.state_dict().items()} for part in frozen]
    assert dead_weights(method, random_batch(4, 1, 64, 64)) == []
    for part, kept in zip(frozen, before, strict=True):
        assert all(torch.equal(value, kept[name]) for name, value in part.state_dict().items())


def test_one_stage_of_single_clips(build):
    (stage,) = build(epochs=7).stages()
    assert (stage.epochs, [(recipe.sources, recipe.geometry) for recipe in stage.recipes]) == (7, [(1, "single")])


def test_trained_run_is_judged_without_naming_classes(build, tiny_store, workspace):
    method = build(epochs=1, batch_size=8)
    history = fit(method, tiny_store, Run.of(method.settings, "tiny"), progress=False)
    assert {"total", "audio_to_visual", "visual_to_audio", "val_ap"} <= set(history[0])
    rows, _ = evaluate(method, tiny_store, Trial("duet", 2, "one_frame"), progress=False)
    assert {row["classes"] for row in rows} == {"none"}
    assert rows[0]["method"] == "ez_vsl"


# -------------------------------------------------------------------------------- open set, other data sets and sweeps


@pytest.mark.parametrize("heard", [1, 4, 10])
def test_as_many_classes_are_heard_as_were_asked_for(heard):
    assert draw_heard(11, heard, seed=0).sum() == heard


def test_seed_draws_the_heard_classes():
    draws = [draw_heard(11, 6, seed).tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_all_classes_are_heard_by_default():
    assert draw_heard(11, 0, seed=0).all()


def test_open_set_needs_a_class_that_is_not_heard():
    with pytest.raises(SettingsError, match="leaves none of the 11 classes unheard"):
        draw_heard(11, 11, seed=0)


def test_open_set_trains_on_no_clip_of_an_unheard_class(build, tiny_store, workspace, monkeypatch):
    heard = draw_heard(len(tiny_store.classes), 2, seed=0)
    seen = []
    original = EZVSL.loss
    monkeypatch.setattr(EZVSL, "loss", lambda self, batch: seen.append(batch.labels) or original(self, batch))
    method, _ = train(replace(build(epochs=1, batch_size=4).settings, heard=2), tiny_store, progress=False)
    labels = torch.cat(seen).bool().any(dim=0).numpy()
    assert (labels == heard).all()
    unheard = tiny_store.part(tiny_store.labels[:, ~heard].any(axis=1))
    rows, shown = evaluate(method, unheard, Trial("solo"), progress=False)
    assert rows[0]["clips"] == len(shown["classes"]) > 0
    assert not heard[shown["classes"].numpy()].any()


def test_part_of_a_store_offers_only_its_clips(tiny_store):
    keep = np.zeros(len(tiny_store), bool)
    keep[::3] = True
    part = tiny_store.part(keep)
    splits = {split for split, _ in part.count()}
    offered = np.concatenate([part.select(split) for split in SPLITS if split in splits])
    assert sorted(offered) == np.flatnonzero(keep).tolist()
    assert sum(part.count().values()) == keep.sum()
    assert f"{keep.sum()} clips" in part.report
    assert sum(tiny_store.count().values()) == len(tiny_store)


def test_run_on_another_data_set_is_trained_by_the_run_of_that_data_set():
    cross = EZVSLSettings(dataset="flickr", train_dataset="music", epochs=3)
    assert cross.of_training() == EZVSLSettings(dataset="music", epochs=3)
    assert EZVSLSettings(dataset="music").of_training() == EZVSLSettings(dataset="music")


def test_sweep_does_not_make_another_run(workspace):
    folders = {Run.of(EZVSLSettings(preset="quick", sweep=sweep), "tiny").folder for sweep in ("none", "all")}
    assert len(folders) == 1


def test_misspelt_prior_is_a_sentence():
    with pytest.raises(SettingsError, match='Did you mean "activation"'):
        read_parameters(EZVSLSettings, {"object_prior": "activations"})
