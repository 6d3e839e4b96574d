"""The shared objectives against loops over plain numbers, in float64: to 1e-9, which is rounding and nothing else."""

import math

import pytest
import torch
from torch import Tensor

from avnb.models import mix_and_localize
from avnb.models.ez_vsl import matching_scores
from avnb.networks.losses import all_cosines, cosine_maps, multiple_instance_contrastive, own_cosines, pair_cosines

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
