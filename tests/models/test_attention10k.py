"""Attention10k's two objectives against loops in float64, and what its attention cannot do.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 100.
"""

import math

import pytest
import torch
from tiny_methods import CLASSES, TinySound, TinyTrunk, cosine, in_doubles, random_mixtures, sigmoid, softmax
from torch import Tensor

from avnb.data.clips import Batch
from avnb.errors import SettingsError
from avnb.models.base import Query
from avnb.models.baselines.attention10k import Attention10k, Attention10kSettings, ranking
from avnb.networks import presets
from avnb.networks.losses import FLOOR
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9
MARGIN = 10.0


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small Attention10k with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(**options) -> Attention10k:
        torch.manual_seed(3)
        defaults = {"preset": "quick", "device": "cpu", "margin": MARGIN}
        return Attention10k(Attention10kSettings(**(defaults | options)).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 4, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


def plain_attention(method: Attention10k, heard: Tensor, seen: Tensor) -> list[float]:
    """One sound's attention on one picture, position by position."""
    query = method.query(heard[None])[0].tolist()
    cells = seen.flatten(1).T.tolist()
    return softmax([cosine(query, cell) / method.settings.temperature for cell in cells])


def plain_distance(method: Attention10k, heard: Tensor, seen: Tensor) -> float:
    """The squared distance of what one sound attends to in one picture to the sound."""
    cells = seen.flatten(1).T.tolist()
    if method.settings.objective == "contrastive":
        cells = [[x / math.sqrt(sum(y * y for y in cell)) for x in cell] for cell in cells]
    shares = plain_attention(method, heard, seen)
    attended = [sum(p * cell[d] for p, cell in zip(shares, cells, strict=True)) for d in range(len(cells[0]))]
    answer = method.answer(torch.tensor([attended], dtype=torch.float64))[0].tolist()
    return sum((x - y) ** 2 for x, y in zip(answer, heard.tolist(), strict=True))


@pytest.mark.parametrize("objective", ["contrastive", "ranked"])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_loss_is_its_equation_written_as_loops(build, objective, temperature):
    method, batch = in_doubles(build(objective=objective, temperature=temperature), random_batch())
    heard, seen = method.hear(batch.mixture), method.see(batch.frames, batch.features)
    size, total = len(batch), 0.0
    for i in range(size):
        near, far = (plain_distance(method, heard[i], seen[j]) for j in (i, (i + 1) % size))
        if objective == "ranked":
            total += sigmoid(math.sqrt(near + FLOOR) - math.sqrt(far + FLOOR)) ** 2 / size
        else:
            total += (near / 2 + max(0.0, MARGIN - math.sqrt(far + FLOOR)) ** 2 / 2) / (2 * size)
    terms = method.loss(batch)
    assert terms["total"].item() == terms[objective].item() == pytest.approx(total, abs=TOLERANCE)


def test_distances_that_are_equal_are_ranked_a_quarter_and_a_shift_of_both_says_nothing():
    near, far = torch.tensor([4.0, 1.0]).double(), torch.tensor([9.0, 0.25]).double()
    assert ranking(near, near).item() == pytest.approx(0.25, abs=1e-12)
    shifted = ((near.sqrt() + 3) ** 2, (far.sqrt() + 3) ** 2)
    assert ranking(*shifted).item() == pytest.approx(ranking(near, far).item(), abs=1e-8)  # but for the floor


def test_ranked_is_the_mean_squared_error_of_a_softmax_over_both_distances():
    near, far = (9 * torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    shares = torch.stack([(near + FLOOR).sqrt(), (far + FLOOR).sqrt()], dim=1).softmax(dim=1)
    target = torch.tensor([0.0, 1.0], dtype=torch.float64)
    expected = (shares - target).square().mean(dim=1).mean().item()
    assert ranking(near, far).item() == pytest.approx(expected, abs=TOLERANCE)


def test_a_target_that_is_ranked_is_not_trained(build):
    method, batch = build(objective="ranked").train(), random_batch()
    method.attend = lambda heard, seen: torch.full((4, 2, 3), 1 / 6)  # the other way from the sound to the distance
    heard = method.hear(batch.mixture).detach().requires_grad_()
    method.distance(heard, method.see(batch.frames)).sum().backward()
    assert heard.grad is None


@pytest.mark.parametrize(("positions", "bound"), [(196, 0.013748), (400, 0.006767)])
def test_attention_sums_to_one_and_can_prefer_no_position_to_more_than_e_times_another(build, positions, bound):
    method = build().double()
    heard = torch.rand(1, 256, dtype=torch.float64)
    query = method.query(heard)[0]
    seen = torch.zeros(1, 256, 1, positions, dtype=torch.float64)
    seen[0, query.argmin(), 0] = 1.0  # all positions but the first are as far from the sound as can be
    seen[0, :, 0, 0] = query
    attention = method.attend(heard, seen)
    assert attention.sum().item() == pytest.approx(1.0, abs=1e-12)
    assert attention.max().item() <= bound + 1e-6
    assert math.e / (math.e + positions - 1) == pytest.approx(bound, abs=1e-6)


def test_a_picture_that_is_everywhere_the_same_gets_an_even_attention_and_a_map_of_zeros(build):
    method, batch = build().eval(), random_batch()
    flat = torch.ones(4, 3, 2, 3)
    method.last_stage = torch.nn.Conv2d(3, 256, 1)
    attention = method.attend(method.hear(batch.mixture), method.see(batch.frames, flat))
    torch.testing.assert_close(attention, torch.full_like(attention, 1 / 6))
    maps = method.localize(Query(batch.frames, batch.mixture, None, flat))
    assert torch.isfinite(maps).all()
    assert maps.max() < 1 or (maps == 0).all()


def test_moving_the_positions_moves_the_map_and_not_the_loss(build):
    method, batch = in_doubles(build(), random_batch())
    method.last_stage = torch.nn.Conv2d(3, 256, 1).double()
    order = torch.tensor([4, 0, 2, 5, 1, 3])
    heard, seen = method.hear(batch.mixture), method.see(batch.frames, batch.features)
    moved = seen.flatten(2)[:, :, order].unflatten(2, (2, 3))
    torch.testing.assert_close(method.attend(heard, moved).flatten(1), method.attend(heard, seen).flatten(1)[:, order])
    torch.testing.assert_close(method.distance(heard, moved), method.distance(heard, seen))


def test_the_map_is_the_attention_from_0_to_1_and_the_same_for_every_source(build):
    method, batch = in_doubles(build(), random_batch(3, 2))
    heard, seen = method.hear(batch.mixture), method.see(batch.frames, batch.features)
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes, batch.features))
    assert (maps[:, 0] == maps[:, 1]).all()
    for clip in range(3):
        shares = plain_attention(method, heard[clip], seen[clip])
        expected = [(p - min(shares)) / (max(shares) - min(shares)) for p in shares]
        torch.testing.assert_close(maps[clip, 0].flatten().tolist(), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("objective", ["contrastive", "ranked"])
def test_gradients_reach_every_trained_parameter(build, objective):
    method = build(objective=objective).train()
    method.loss(random_batch(6))["total"].backward()
    weights = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.any()] == []


def test_a_batch_of_one_clip_has_no_mismatch_and_ends_in_a_sentence(build):
    with pytest.raises(SettingsError, match="batch_size must be at least 2"):
        build().loss(random_batch(1))


def test_training_on_the_tiny_benchmark_brings_the_loss_down(build, tiny_store, tmp_path):
    method = build(epochs=6, batch_size=8, seed=1)
    history = fit(method, tiny_store, Run(tmp_path / "attention10k" / "tiny" / "run"), progress=False)
    assert history[-1]["contrastive"] < history[0]["contrastive"]


@pytest.mark.parametrize("objective", ["contrastive", "ranked"])
def test_the_paper_preset_has_dsols_networks(objective):
    settings = Attention10kSettings(preset="paper", pretrained=False, objective=objective).resolve("cpu")
    method = Attention10k(settings, CLASSES).eval()
    assert sum(weight.numel() for weight in method.parameters()) == 23_397_376
    with torch.no_grad():
        batch = random_batch(1, 1, 224, 224)
        assert method.localize(Query(batch.frames, batch.mixture)).shape == (1, 1, 14, 14)
