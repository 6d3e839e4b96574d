"""CCoL's losses against loops in float64, what trains what in which phase, and the size of the paper's networks.

1e-9 is rounding: some thousand float64 operations on numbers of size 1 to 100.
"""

import math
from dataclasses import replace

import pytest
import torch
from mix_and_separate import CLASSES, in_doubles, make_tiny, random_rooms
from tiny_methods import sigmoid
from torch import Tensor

from avnb.data.clips import Batch
from avnb.models.base import Query, Separates
from avnb.models.baselines import ccol
from avnb.models.baselines.ccol import (
    CO_LEARNING,
    CYCLIC,
    GROUNDING,
    CCoL,
    CCoLSettings,
    co_learning_loss,
    cyclic_loss,
    distances,
    grounding_loss,
    masks_of,
    separation_loss,
)
from avnb.models.baselines.sound_of_pixels import mask_loss

TOLERANCE = 1e-9
PHASES = (GROUNDING, CO_LEARNING, CYCLIC)


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small CCoL in a phase, with the given settings."""
    make_tiny(monkeypatch)

    def make(phase: int = CYCLIC, **options) -> CCoL:
        torch.manual_seed(3)
        method = CCoL(CCoLSettings(**({"preset": "quick", "channels": 3} | options)).resolve("cpu"), CLASSES)
        method.enter(phase)
        return method

    return make


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def p(logit: Tensor) -> float:
    return -math.log(sigmoid(float(logit)))


def q(logit: Tensor) -> float:
    return -math.log(sigmoid(-float(logit)))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


ALONE, OTHER, MIXED = random_logits(5, 2, 2), random_logits(5, 2, seed=1), random_logits(5, 2, 2, seed=2)
APART = random_logits(5, 2, 2, seed=3).abs() / 5  # on both sides of 0.1


def plain_grounding() -> float:
    """Of each of the two rooms in turn."""
    rooms = [mean([min(p(a), p(b)) for a, b in ALONE[:, r]]) + mean([q(c) for c in OTHER[:, r]]) for r in range(2)]
    return mean(rooms)


def test_the_grounding_loss_is_its_equation_written_as_loops():
    assert grounding_loss(ALONE, OTHER).item() == pytest.approx(plain_grounding(), abs=TOLERANCE)


@pytest.mark.parametrize("released", [False, True])
def test_the_co_learning_loss_is_its_equation_written_as_loops(released):
    total = plain_grounding()
    for room in range(2):
        first, second = ([p(mixture[room, c]) for mixture in MIXED] for c in range(2))
        if released:
            total += min(mean(first), mean(second))
        else:
            total += mean([min(pair) for pair in zip(first, second, strict=True)])
    assert co_learning_loss(ALONE, OTHER, MIXED, released).item() == pytest.approx(total, abs=TOLERANCE)


@pytest.mark.parametrize("released", [False, True])
def test_the_cyclic_loss_is_its_equation_written_as_loops(released):
    positive, negative, own, choices = [], [], [[], []], [[], []]
    for b in range(5):
        c1, c2 = (float(APART[b, room, 0] < APART[b, room, 1]) for room in range(2))
        (p0, p1), (p2, p3) = ([p(MIXED[b, room, c]) for c in range(2)] for room in range(2))
        (q0, q1), (q2, q3) = ([q(MIXED[b, room, c]) for c in range(2)] for room in range(2))
        (d0, d1), (d2, d3) = APART[b].tolist()
        positive.append(c1 * p0 + (1 - c1) * p1 + c2 * p2 + (1 - c2) * p3)
        negative.append(
            (1 - c1) * (d0 > 0.1) * q0 + c1 * (d1 > 0.1) * q1 + (1 - c2) * (d2 > 0.1) * q2 + c2 * (d3 > 0.1) * q3
        )
        for room, choice in enumerate((c1, c2)):
            own[room].append(choice * p(ALONE[b, room, 0]) + (1 - choice) * p(ALONE[b, room, 1]))
            choices[room].append(choice)
    if released:  # a column of choices times a row of clips
        own = [[c * p(a) + (1 - c) * p(b) for c in choices[room] for a, b in ALONE[:, room]] for room in range(2)]
    rooms = [mean(own[room]) + mean([q(c) for c in OTHER[:, room]]) for room in range(2)]
    total = (mean(positive) + mean(negative)) / 4 + mean(rooms) / 2
    assert cyclic_loss(ALONE, OTHER, MIXED, APART, released).item() == pytest.approx(total, abs=TOLERANCE)
    assert all(0 < sum(chosen) < 5 for chosen in choices)


def test_the_separation_loss_and_the_distances_are_their_equations_written_as_loops():
    masks, targets = random_logits(2, 2, 2, 3, 4).sigmoid(), random_logits(2, 2, 3, 4, seed=1).abs()
    weights, gates = random_logits(2, 3, 4, seed=2).abs(), (random_logits(2, 2, 2, seed=3) > 0).double()
    apart, total = distances(masks, targets, weights), 0.0
    for b, room in torch.cartesian_prod(torch.arange(2), torch.arange(2)).tolist():
        plain = [0.0, 0.0]
        for f, t in torch.cartesian_prod(torch.arange(3), torch.arange(4)).tolist():
            w, m = float(weights[b, f, t]), float(targets[b, room, f, t])
            both = [float(masks[b, room, c, f, t]) for c in range(2)]
            for c in range(2):
                plain[c] += w * abs(both[c] - m) / 12
            total += w * abs(sum(float(gates[b, room, c]) * both[c] for c in range(2)) - m) / 12 / 4
        assert apart[b, room].tolist() == pytest.approx(plain, abs=TOLERANCE)
    found = separation_loss(masks_of(masks.logit(), gates), targets, weights).item()
    assert found == pytest.approx(total, abs=TOLERANCE)


def test_shared_the_masks_that_are_switched_on_add_up_to_one_by_their_odds():
    logits, gates = random_logits(4, 2, 2, 3, 5), (random_logits(4, 2, 2, seed=3) > 0).double()
    gates[0], gates[1] = 0, torch.tensor([[0, 0], [1, 0]])
    masks = masks_of(logits, gates, shared=True)
    for b, f, t in torch.cartesian_prod(torch.arange(4), torch.arange(3), torch.arange(5)).tolist():
        odds = [
            math.exp(z) * on
            for z, on in zip(logits[b, ..., f, t].flatten().tolist(), gates[b].flatten().tolist(), strict=True)
        ]
        expected = [odd / sum(odds) if sum(odds) else 0.0 for odd in odds]
        assert masks[b, ..., f, t].flatten().tolist() == pytest.approx(expected, abs=TOLERANCE)
    assert masks[0].eq(0).all()
    assert masks[1, 1, 0].eq(1).all()


def test_where_nothing_is_switched_on_nothing_is_learnt_and_nothing_is_not_a_number():
    logits = random_logits(1, 2, 2, 3, 5).requires_grad_()
    masks_of(logits, torch.zeros(1, 2, 2, dtype=torch.float64), shared=True).sum().backward()
    assert logits.grad.eq(0).all()


@pytest.mark.parametrize("sharing", ["none", "softmax"])
def test_the_losses_of_the_method_are_made_of_its_judgements_of_the_right_sounds_and_pictures(build, sharing):
    method, batch = in_doubles(build(sharing=sharing), random_rooms(3, 4))
    clips = method.resampled(batch.source_waveforms)
    first, second = clips[:, 0], clips[:, 2]
    with torch.no_grad():
        seen = batch.features.mean(dim=(2, 3)).unflatten(0, (3, 4))

        def judge(sound: Tensor, clip: int) -> Tensor:
            two = 2 * method.ground(torch.cat([seen[:, clip], method.heard(sound)], dim=1))
            return two[:, 0] - two[:, 1]

        rooms = [[judge(first, 0), judge(first, 1)], [judge(second, 2), judge(second, 3)]]
        alone = torch.stack([torch.stack(room, dim=1) for room in rooms], dim=1)
        other = torch.stack([judge(second, 0), judge(first, 2)], dim=1)
        mixed = torch.stack([judge(first + second, clip) for clip in range(4)], dim=1).unflatten(1, (2, 2))
        sources = torch.stack([first, second], dim=1)
        magnitudes, mixture = method.bands(sources)
        targets, weights = (magnitudes / mixture[:, None]).clamp(max=5), mixture.log1p().clamp(1e-3, 10)
        shared = sharing == "softmax"
        masks = method.masks(method.wanted_by(batch), first + second, shared).unflatten(1, (2, 2))
        gates = (mixed > 0).double()
        separating = masks * gates[..., None, None]
        if shared:
            total = separating.sum(dim=(1, 2), keepdim=True)
            separating = separating / torch.where(total > 0, total, 1)
        separation = separation_loss(separating, targets, weights)
        apart = distances(masks, targets, weights)
        expected = {
            GROUNDING: grounding_loss(alone, other),
            CO_LEARNING: separation + co_learning_loss(alone, other, mixed) / 4,
            CYCLIC: separation + cyclic_loss(alone, other, mixed, apart),
        }
        for phase in PHASES:
            method.enter(phase)
            torch.testing.assert_close(method.loss(batch)["total"], expected[phase])


def test_where_the_first_companions_are_right_and_near_the_cyclic_loss_is_supervised():
    apart = torch.tensor([[[0.01, 0.05], [0.02, 0.09]]], dtype=torch.float64).expand(5, -1, -1)
    positive = mean([p(one[0, 0]) + p(one[1, 0]) for one in MIXED])
    supervised = mean([p(a) for a in ALONE[:, :, 0].flatten()]) + mean([q(c) for c in OTHER.flatten()])
    found = cyclic_loss(ALONE, OTHER, MIXED, apart).item()
    assert found == pytest.approx(positive / 4 + supervised / 2, abs=TOLERANCE)


def test_the_least_entropy_is_at_most_either_and_that_of_equal_companions_is_their_own():
    one_way = grounding_loss(ALONE[..., :1], OTHER), grounding_loss(ALONE[..., 1:], OTHER)
    assert grounding_loss(ALONE, OTHER) <= min(one_way)
    torch.testing.assert_close(grounding_loss(ALONE[..., :1].expand(-1, -1, 2), OTHER), one_way[0])


def test_equal_companions_have_equal_masks_and_distances(build):
    method, batch = in_doubles(build(), random_rooms(2, 4))
    features = batch.features.unflatten(0, (2, 2, 2))[:, :, :1].expand(-1, -1, 2, -1, -1, -1).flatten(0, 2)
    clips = method.resampled(batch.source_waveforms)
    with torch.no_grad():
        masks = method.masks(method.wanted_by(replace(batch, features=features)), clips.sum(dim=1))
    # To the rounding of float64: some processors' kernels add up the rows of a batch in different orders.
    torch.testing.assert_close(masks[:, 0], masks[:, 1], rtol=0, atol=1e-12)
    torch.testing.assert_close(masks[:, 2], masks[:, 3], rtol=0, atol=1e-12)


def test_no_gradient_reaches_grounding_through_the_masks(build):
    method, batch = in_doubles(build(CO_LEARNING), random_rooms(2, 4))
    method.loss(batch)["separation"].backward()
    assert all(weight.grad is None for name, weight in method.named_parameters() if name.startswith("ground"))
    assert method.unet.layer.weight.grad.abs().sum() > 0


def test_separation_is_not_trained_by_the_choices_of_the_cyclic_phase(build):
    method, batch = in_doubles(build(CYCLIC), random_rooms(2, 4))
    method.loss(batch)["cyclic"].backward()
    assert method.unet.layer.weight.grad is None
    assert method.ground[0].weight.grad.abs().sum() > 0


def test_with_the_right_gates_the_separation_loss_is_sound_of_pixels_with_ratio_masks():
    logits, magnitudes = random_logits(2, 4, 3, 5), random_logits(2, 2, 3, 5, seed=1).abs()
    mixture = magnitudes.sum(dim=1)
    gates = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64).expand(2, -1, -1)
    masks = masks_of(logits.unflatten(1, (2, 2)), gates)
    found = separation_loss(masks, magnitudes / mixture[:, None], mixture.log1p().clamp(1e-3, 10))
    torch.testing.assert_close(found, mask_loss(logits[:, [0, 2]], magnitudes, mixture, "ratio"))


def test_of_one_mixture_the_released_choice_is_the_same():
    parts = ALONE[:1], OTHER[:1], MIXED[:1]
    torch.testing.assert_close(co_learning_loss(*parts), co_learning_loss(*parts, released=True))
    torch.testing.assert_close(cyclic_loss(*parts, APART[:1]), cyclic_loss(*parts, APART[:1], released=True))


@pytest.mark.parametrize("phase", PHASES)
def test_two_clips_are_two_rooms_without_silent_companions(build, phase):
    method, batch = in_doubles(build(phase), random_rooms(3, 2))
    assert math.isfinite(method.loss(batch)["total"].item())


@pytest.mark.parametrize(("phase", "trained"), [
    (GROUNDING, {"ground", "ground_sound"}),
    (CO_LEARNING, {"ground", "ground_sound", "unet", "look", "scale", "bias"}),
    (CYCLIC, {"ground", "ground_sound", "unet", "look", "scale", "bias"}),
])  # fmt: skip
def test_each_phase_trains_its_own_networks(build, phase, trained):
    method = build(phase).train()
    method.loss(random_rooms(2, 4))["total"].backward()
    assert {name.split(".")[0] for name, weight in method.named_parameters() if weight.grad is not None} == trained


def test_the_map_is_groundings_judgement_of_every_position(build):
    method, batch = in_doubles(build(), random_rooms())
    with torch.no_grad():
        maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes.expand(-1, 2), batch.features))
        heard = method.heard(method.resampled(batch.mixture))
    assert maps.shape == (6, 2, 3, 3)
    for b, y, x in torch.cartesian_prod(torch.arange(6), torch.arange(3), torch.arange(3)).tolist():
        first, second = method.ground(torch.cat([batch.features[b, :, y, x], heard[b]])).tolist()
        assert float(maps[b, 0, y, x]) == pytest.approx(sigmoid(2 * (first - second)), abs=TOLERANCE)


def test_gated_a_silent_picture_returns_silence_and_a_sounding_one_what_it_did(build):
    method, batch = build(sharing="none").eval(), random_rooms(2, 4)
    frames, mixture = batch.frames.unflatten(0, (2, 4)), batch.mixture[::4]
    with torch.no_grad():
        plain = method.separate(frames, mixture)
        gates = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
        method.settings = replace(method.settings, gated=True)
        method.gates = lambda *_: gates
        assert torch.equal(method.separate(frames, mixture), plain * gates[..., None])


def test_gated_the_pictures_that_sound_share_the_whole_mixture(build):
    method, batch = build(sharing="softmax").eval(), random_rooms(2, 4)
    frames, mixture = batch.frames.unflatten(0, (2, 4)), batch.mixture[::4]
    gates = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    with torch.no_grad():
        method.settings = replace(method.settings, gated=True)
        method.gates = lambda *_: gates
        found = method.separate(frames, mixture)
        only = method.separate_by(method.wanted(frames[:1, [0, 2]]), mixture[:1], shared=True)
    torch.testing.assert_close(found[0, [0, 2]], only[0])
    torch.testing.assert_close(found[0].sum(dim=0), method.resampled(mixture)[0], rtol=0, atol=1e-5)
    assert found[0, [1, 3]].eq(0).all()
    assert found[1].eq(0).all()


def test_the_papers_networks_have_the_released_codes_numbers_of_parameters():
    method = CCoL(CCoLSettings(preset="paper", pretrained=False).resolve("cpu"), CLASSES)
    assert sum(weight.numel() for weight in method.ground_sound.parameters()) == 4_499_712
    assert sum(weight.numel() for weight in method.ground.parameters()) == 590_722
    assert sum(weight.numel() for weight in method.parameters()) == 41_598_243 + 4_499_712 + 590_722


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_both_presets_train_and_separate(preset):
    method = CCoL(CCoLSettings(preset=preset, pretrained=False).resolve("cpu"), CLASSES)
    method.enter(CYCLIC)
    batch: Batch = random_rooms(2, 4, time=4_000, size=64)
    method.loss(batch)["total"].backward()
    unused = [name for name, weight in method.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not unused
    method.eval()
    assert isinstance(method, Separates)
    with torch.no_grad():
        assert method.separate(batch.frames[:3][None], batch.mixture[:1]).shape == (1, 3, 2_000)
    assert [stage.name for stage in method.stages()] == ["grounding", "co-learning", "cyclic"]
    assert ccol.ROOMS == 2
