"""The shared objectives against loops over plain numbers, in float64: to 1e-9, which is rounding and nothing else."""

import math

import pytest
import torch
from torch import Tensor

from avnb.models import mix_and_localize
from avnb.models.ez_vsl import matching_scores
from avnb.networks.losses import (
    FLOOR,
    all_cosines,
    cosine_maps,
    multiple_instance_contrastive,
    own_cosines,
    pair_contrast,
    pair_cosines,
    tri_map_scores,
)

TOLERANCE = 1e-9


def random_pair(batch: int, sources: int, dim: int = 6, height: int = 3, width: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch * 10 + sources)
    audio = torch.randn(batch, sources, dim, generator=generator, dtype=torch.float64)
    return audio, torch.randn(batch, sources, dim, height, width, generator=generator, dtype=torch.float64)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


def similarity(audio: Tensor, visual: Tensor) -> float:
    """sim(F^a, F^v): the largest cosine of the sound with any position."""
    height, width = visual.shape[1:]
    return max(cosine(audio.tolist(), visual[:, y, x].tolist()) for y in range(height) for x in range(width))


def plain_contrastive(audio: Tensor, visual: Tensor, temperature: float, both_directions: bool = False) -> float:
    """AVGN's eq. 10 (eq. 1 with one source), and EZ-VSL's other direction, term by term."""
    batch, sources = audio.shape[:2]
    total = 0.0
    for n in range(sources):
        for b in range(batch):
            own = math.exp(similarity(audio[b, n], visual[b, n]) / temperature)
            images = [math.exp(similarity(audio[b, n], visual[m, n]) / temperature) for m in range(batch)]
            total -= math.log(own / sum(images))
            if both_directions:
                sounds = [math.exp(similarity(audio[m, n], visual[b, n]) / temperature) for m in range(batch)]
                total -= math.log(own / sum(sounds))
    return total / (batch * sources)


@pytest.mark.parametrize("both_directions", [False, True])
@pytest.mark.parametrize(("batch", "sources"), [(5, 1), (4, 2), (3, 3), (1, 2)])
def test_contrastive_loss_is_what_its_equation_says(batch, sources, both_directions):
    audio, visual = random_pair(batch, sources)
    loss = multiple_instance_contrastive(audio, visual, 0.07, both_directions)
    assert loss.item() == pytest.approx(plain_contrastive(audio, visual, 0.07, both_directions), abs=TOLERANCE)


def test_temperature_of_the_papers_is_the_default():
    audio, visual = random_pair(4, 1)
    assert multiple_instance_contrastive(audio, visual) == multiple_instance_contrastive(audio, visual, 0.03)


def test_contrastive_loss_does_not_see_how_long_vectors_are():
    audio, visual = random_pair(4, 2)
    loss = multiple_instance_contrastive(audio, visual)
    assert multiple_instance_contrastive(7 * audio, visual / 5) == pytest.approx(loss.item(), abs=TOLERANCE)


def test_sounds_that_fit_only_their_own_image_cost_nothing():
    audio = torch.eye(4, dtype=torch.float64)[:, None]
    visual = audio[..., None, None].expand(-1, -1, -1, 2, 2)
    assert multiple_instance_contrastive(audio, visual) == pytest.approx(0, abs=TOLERANCE)


def test_images_that_are_all_alike_cost_the_logarithm_of_the_batch():
    audio, visual = random_pair(5, 1)
    alike = visual[:1].expand_as(visual)
    assert multiple_instance_contrastive(audio, alike) == pytest.approx(math.log(5), abs=TOLERANCE)


def test_gradient_reaches_only_the_best_position_of_each_pair():
    audio, visual = random_pair(1, 1)
    visual = visual.requires_grad_()
    other = torch.randn(1, 1, 6, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    multiple_instance_contrastive(audio.expand(2, -1, -1), torch.cat([visual, other])).backward()
    touched = (visual.grad != 0).any(dim=2)
    assert touched.sum() == 1


def test_cosine_maps_are_the_cosine_at_every_position():
    audio, visual = random_pair(3, 2)
    maps = cosine_maps(audio, visual)
    for b in range(3):
        for n in range(2):
            for y in range(3):
                for x in range(4):
                    expected = cosine(audio[b, n].tolist(), visual[b, n, :, y, x].tolist())
                    assert maps[b, n, y, x].item() == pytest.approx(expected, abs=TOLERANCE)


def test_cosine_maps_stay_within_one_and_are_zero_for_an_empty_vector():
    audio, visual = random_pair(3, 2)
    visual[0, 0, :, 0, 0] = 0
    maps = cosine_maps(audio, visual)
    assert maps[0, 0, 0, 0] == 0
    assert maps.abs().max() <= 1


SCORES = {
    "own": own_cosines,
    "all": all_cosines,
    "pair": lambda audio, visual: pair_cosines(audio, visual[..., 0, 0]),
    "matching": matching_scores,
    "contrast": lambda audio, visual: multiple_instance_contrastive(audio[:, None], visual[:, None], 0.03, True),
    "walk": lambda audio, visual: mix_and_localize.similarity(visual[None], audio[None]),
    "correspondence": lambda audio, visual: mix_and_localize.mixed_correspondence_loss(
        visual.unflatten(0, (2, 2)), audio.unflatten(0, (2, 2)), 0.07
    ),
}


@pytest.mark.parametrize("scores", SCORES.values(), ids=SCORES)
def test_scores_are_counted_in_full_precision_under_autocast(scores):
    """Divided by a temperature of 0.03, what bfloat16 rounds off a cosine is a tenth in a logit."""
    generator = torch.Generator().manual_seed(0)
    audio, visual = (torch.randn(4, 32, *rest, generator=generator).bfloat16() for rest in ((), (3, 5)))
    whole = scores(audio.float(), visual.float())
    with torch.autocast("cpu", torch.bfloat16):
        cast = scores(audio, visual)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, whole)


# --------------------------------------------------------------------------------- matches and mismatches, in distances


def test_contrast_of_pairs_is_the_mean_of_half_a_square_over_matches_and_mismatches():
    generator = torch.Generator().manual_seed(0)
    matched, mismatched = (4 * torch.rand(5, generator=generator, dtype=torch.float64) for _ in range(2))
    terms = [0.5 * squared for squared in matched.tolist()]
    terms += [0.5 * max(0.0, 1.5 - math.sqrt(squared + FLOOR)) ** 2 for squared in mismatched.tolist()]
    assert pair_contrast(matched, mismatched, 1.5).item() == pytest.approx(sum(terms) / len(terms), abs=TOLERANCE)


@pytest.mark.parametrize(("margin", "plateau"), [(5.0, 3.125), (10.0, 12.5)])
def test_pairs_that_say_nothing_of_each_other_are_best_half_a_margin_apart(margin, plateau):
    distance = torch.linspace(0.01, 2 * margin, 1000, dtype=torch.float64)
    losses = torch.stack([pair_contrast(d[None] ** 2, d[None] ** 2, margin) for d in distance])
    assert distance[losses.argmin()].item() == pytest.approx(margin / 2, abs=margin / 400)
    middle = torch.tensor([margin**2 / 4], dtype=torch.float64)
    assert pair_contrast(middle, middle, margin).item() == pytest.approx(plateau, abs=1e-6)  # but for the floor


def test_contrast_of_pairs_that_coincide_has_finite_gradients():
    mismatched = torch.zeros(3, requires_grad=True)
    pair_contrast(torch.zeros(3), mismatched, 10.0).backward()
    assert torch.isfinite(mismatched.grad).all()


# ---------------------------------------------------------------------------------------------------------- the tri-map


def weighted(values: list[float], weights: list[float]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_tri_map_is_two_weighted_means():
    similarity = torch.rand(3, 2, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sounding, silent = tri_map_scores(similarity)
    for i in range(3):
        for j in range(2):
            values = similarity[i, j].tolist()
            above = weighted(values, [sigmoid((value - 0.65) / 0.03) for value in values])
            below = weighted(values, [1 - sigmoid((value - 0.4) / 0.03) for value in values])
            assert sounding[i, j].item() == pytest.approx(above, abs=TOLERANCE)
            assert silent[i, j].item() == pytest.approx(below, abs=TOLERANCE)


def test_a_picture_with_no_sounding_part_is_its_softly_best_position_and_one_that_all_sounds_is_its_mean():
    low = 0.1 * torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    best = (low / 0.03).softmax(dim=0)  # the foot of a sigmoid is an exponential
    assert tri_map_scores(low)[0].item() == pytest.approx((best * low).sum().item(), abs=1e-7)
    assert tri_map_scores(low - 1)[0].item() == pytest.approx((best * low).sum().item() - 1, abs=1e-10)
    assert tri_map_scores(low + 2)[0].item() == pytest.approx(low.mean().item() + 2, abs=1e-10)
    assert tri_map_scores(low - 1)[1].item() == pytest.approx(low.mean().item() - 1, abs=1e-10)


def test_hard_borders_take_the_mean_of_what_lies_beyond():
    values = torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9], dtype=torch.float64)
    sounding, silent = tri_map_scores(values, softness=1e-4)
    assert (sounding.item(), silent.item()) == (pytest.approx(0.8), pytest.approx(0.2))
    assert tri_map_scores(values[:3], softness=1e-4)[0].item() == pytest.approx(0.5)  # none is above: the best


def test_positions_between_the_borders_hardly_count():
    values = torch.tensor([0.2, 0.52, 0.9], dtype=torch.float64, requires_grad=True)
    sounding, silent = tri_map_scores(values)
    (sounding - silent).backward()
    ignored, counted = values.grad[1].abs().item(), values.grad[2].abs().item()
    assert ignored < 0.3 * counted


def test_tri_map_of_any_cosines_is_finite_in_single_precision():
    for value in (-1.0, 0.0, 1.0):
        similarity = torch.full((2, 2, 9), value, requires_grad=True)
        total = sum(score.sum() for score in tri_map_scores(similarity))
        total.backward()
        assert total.item() == pytest.approx(8 * value, abs=1e-5)
        assert torch.isfinite(similarity.grad).all()
