"""MP-Net's rounds and losses against loops in float64, Plus that starts as Minus, and the size of the paper's networks.

1e-9 is rounding: some thousand float64 operations on numbers of size 1 to 100.
"""

import math

import pytest
import torch
from mix_and_separate import CLASSES, TinyUNet, in_doubles, loudness, make_tiny, random_rooms
from tiny_methods import sigmoid

from avnb.models.base import Query, Separates
from avnb.models.baselines import mp_net
from avnb.models.baselines.mp_net import JOINT, MINUS, PLUS, MPNet, MPNetSettings, rest_loss, sources_loss, without
from avnb.models.baselines.sound_of_pixels import SoundOfPixels, SoundOfPixelsSettings
from avnb.networks.spectrograms import stft

TOLERANCE = 1e-9


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small MP-Net with the given settings."""
    make_tiny(monkeypatch)
    monkeypatch.setattr(mp_net, "SlimUNet", TinyUNet)

    def make(**options) -> MPNet:
        torch.manual_seed(3)
        method = MPNet(MPNetSettings(**({"preset": "quick", "channels": 3} | options)).resolve("cpu"), CLASSES)
        weight = method.unet.layer.weight.data
        weight -= weight.mean(dim=(1, 2, 3), keepdim=True)  # edges: masks on both sides of one half, no two as loud
        return method

    return make


def random_masks(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


@pytest.mark.parametrize("loss_weights", ["equal", "index"])
def test_the_loss_of_the_sources_is_its_equation_written_as_loops(loss_weights):
    logits = random_masks(2, 3, 4, 5)
    targets = (random_masks(2, 3, 4, 5, 1)[..., 0] > 0).double()
    weights = torch.rand(2, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for n in range(3):
        mean = 0.0
        for b, f, t in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
            p = sigmoid(float(logits[b, n, f, t]))
            target = float(targets[b, n, f, t])
            entropy = -(target * math.log(p) + (1 - target) * math.log(1 - p))
            mean += float(weights[b, 0, f, t]) * entropy / 40
        total += mean * (1 if loss_weights == "equal" else 2 ** (n - 1)) / 3
    assert sources_loss(logits, targets, weights, loss_weights).item() == pytest.approx(total, abs=TOLERANCE)


def test_two_sources_weigh_a_quarter_and_a_half_by_their_place_in_the_list():
    logits, ones = torch.zeros(1, 2, 1, 1), torch.ones(1, 1, 1, 1)
    for first, expected in ((1.0, 0.25), (0.0, 0.5)):
        targets = torch.tensor([first, 1 - first]).view(1, 2, 1, 1)
        certain = torch.where(targets > 0, logits, -100.0)  # only the source whose target is 1 errs
        loss = sources_loss(certain, targets, ones, "index").item()
        assert loss == pytest.approx(expected * math.log(2), abs=1e-6)


def test_the_loss_of_the_rest_is_its_equation_written_as_loops():
    masks = random_masks(2, 3, 4, 5).sigmoid()
    mixture = random_masks(2, 4, 5).abs()
    total = 0.0
    for b, f, t in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
        x = float(mixture[b, f, t])
        left = x
        for n in range(3):
            left *= 1 - float(masks[b, n, f, t])
        total += loudness(x) * max(0.0, left - 0.01) / 40
    assert rest_loss(masks, mixture).item() == pytest.approx(total, abs=TOLERANCE)


@pytest.mark.parametrize("order", ["energy", "given"])
def test_the_rounds_are_their_equations_written_as_a_loop_over_mixtures(build, order):
    method, batch = in_doubles(build(order=order), random_rooms(3, 3))
    with torch.no_grad():
        waveform = method.resampled(batch.mixture[::3])
        wanted = method.wanted_by(batch)
        logits, before = method.minus(wanted, waveform)
        _, mixture = method.bands(waveform[:, None])
        orders = []
        for b in range(3):
            loud = stft(waveform[b], *method.stft_window).abs()
            left, unused, used = mixture[b], [0, 1, 2], []
            for _ in range(3):
                image = method.spectrogram.compress(left.square()[None])
                maps = method.maps_of(image[None])[0]
                found = {n: sum(maps[k] * torch.sigmoid(wanted[b, n, k]) for k in range(3)) for n in unused}
                claimed = {n: float((((method.spread @ z.sigmoid()) > 0.5) * loud).mean()) for n, z in found.items()}
                best = unused[0] if order == "given" else max(unused, key=claimed.get)
                torch.testing.assert_close(logits[b, best], found[best], atol=TOLERANCE, rtol=0)
                torch.testing.assert_close(before[b, best], left, atol=TOLERANCE, rtol=0)
                left = left * (1 - found[best].sigmoid()) + 1e-10
                unused.remove(best)
                used.append(best)
            orders.append(used)
    assert all(sorted(used) == [0, 1, 2] for used in orders)  # every picture once


def test_the_loss_of_the_method_is_that_of_the_masks_of_its_rounds(build):
    method, batch = in_doubles(build(rest=2.0), random_rooms())
    waveforms = method.resampled(batch.source_waveforms)
    with torch.no_grad():
        logits, _ = method.minus(method.wanted_by(batch), waveforms.sum(dim=1))
        terms = method.loss(batch)
    magnitudes, mixture = method.bands(waveforms)
    targets = (magnitudes > mixture[:, None] / 2).double()
    weights = mixture.log1p().clamp(1e-3, 10)
    torch.testing.assert_close(terms["minus"], sources_loss(logits, targets, weights[:, None]))
    torch.testing.assert_close(terms["rest"], 2 * rest_loss(logits.sigmoid(), mixture))
    torch.testing.assert_close(terms["total"], terms["minus"] + terms["rest"])


def test_one_picture_is_sound_of_pixels_without_gains_and_offset(build):
    method, batch = in_doubles(build(), random_rooms(3, 1))
    plain = SoundOfPixels(SoundOfPixelsSettings(preset="quick", channels=3).resolve("cpu"), CLASSES).double().eval()
    plain.load_state_dict(method.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(
            method.masks(method.wanted_by(batch), method.resampled(batch.mixture)),
            plain.masks(plain.wanted_by(batch), plain.resampled(batch.mixture)),
        )
        query = Query.of(batch)
        torch.testing.assert_close(method.localize(query), plain.localize(query))


def test_permuting_the_pictures_permutes_the_sounds(build):
    method, batch = build().eval(), random_rooms(2, 3)
    frames, mixture = batch.frames.unflatten(0, (2, 3)), batch.mixture[::3]
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        found, permuted = method.separate(frames, mixture), method.separate(frames[:, order], mixture)
    torch.testing.assert_close(found[:, order], permuted)


def test_what_was_taken_and_what_is_left_add_up_to_the_mixture(monkeypatch):
    monkeypatch.setattr(mp_net, "NOTHING", 0.0)
    mixture, masks = random_masks(2, 4, 5).abs(), random_masks(2, 3, 4, 5).sigmoid()
    left, taken = mixture, torch.zeros_like(mixture)
    for n in range(3):
        taken, left = taken + left * masks[:, n], without(left, masks[:, n])
    torch.testing.assert_close(taken + left, mixture)


def test_a_mask_of_ones_is_taken_first_and_leaves_nothing(build):
    method, batch = in_doubles(build(), random_rooms(2, 3))
    with torch.no_grad():
        for weight in method.unet.parameters():
            weight.zero_()
        method.unet.layer.bias.copy_(torch.tensor([100.0, -100.0, 0.0]))
        wanted = torch.full((2, 3, 3), -100.0, dtype=torch.float64)
        wanted[:, 1, 0] = 100.0  # the second picture takes everything
        wanted[:, [0, 2], 1] = 100.0  # the others nothing
        _, before = method.minus(wanted, method.resampled(batch.mixture[::3]))
        _, mixture = method.bands(method.resampled(batch.mixture[::3])[:, None])
    torch.testing.assert_close(before[:, 1], mixture)
    assert (before[:, [0, 2]] < 1e-9).all()


def test_plus_starts_as_minus_and_its_masks_stay_masks(build):
    method, batch = build().eval(), random_rooms(2, 3)
    frames, mixture = batch.frames.unflatten(0, (2, 3)), batch.mixture[::3]
    with torch.no_grad():
        minus = method.separate(frames, mixture)
        method.begin_plus(list)
        torch.testing.assert_close(method.separate(frames, mixture), minus, atol=1e-4, rtol=0)
        torch.nn.init.normal_(method.plus.layer.weight, std=3.0)
        masks = method.masks(method.wanted(frames), method.resampled(mixture))
    assert 0 <= masks.min() <= masks.max() <= 1
    assert not torch.equal(method.separate(frames, mixture), minus)


@pytest.mark.parametrize(("phase", "terms", "trained"), [
    (MINUS, {"minus"}, {"unet", "look"}),
    (PLUS, {"plus"}, {"plus"}),
    (JOINT, {"minus", "plus"}, {"unet", "look", "plus"}),
])  # fmt: skip
def test_each_phase_trains_its_own_networks(build, phase, terms, trained):
    method = build()
    method.enter(phase)
    method.train()
    found = method.loss(random_rooms())
    assert set(found) - {"total"} == terms
    found["total"].backward()
    assert {name.split(".")[0] for name, weight in method.named_parameters() if weight.grad is not None} == trained
    assert method.unet.training == (phase != PLUS)


def test_no_gradient_flows_from_a_round_to_the_one_before(build):
    method, batch = in_doubles(build(order="given"), random_rooms())
    wanted = method.wanted_by(batch).detach().requires_grad_()
    logits, _ = method.minus(wanted, method.resampled(batch.mixture[::2]))
    logits[:, 1].sum().backward()
    assert wanted.grad[:, 0].abs().sum() == 0
    assert wanted.grad[:, 1].abs().sum() > 0


def test_the_papers_networks_have_the_released_codes_numbers_of_parameters():
    method = MPNet(MPNetSettings(preset="paper", pretrained=False).resolve("cpu"), CLASSES)
    assert sum(weight.numel() for weight in method.unet.parameters()) == 30_255_762
    assert sum(weight.numel() for weight in method.plus.parameters()) == 30_239_493
    assert sum(weight.numel() for weight in method.parameters()) == 71_745_511


def test_the_quick_preset_trains_in_every_phase_and_separates_more_sources_than_it_was_trained_with():
    method = MPNet(MPNetSettings(preset="quick").resolve("cpu"), CLASSES)
    batch = random_rooms(2, time=4_000, size=64)
    method.enter(JOINT)
    method.loss(batch)["total"].backward()
    unused = [name for name, weight in method.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not unused
    method.eval()
    assert isinstance(method, Separates)
    with torch.no_grad():
        assert method.separate(batch.frames[:3][None], batch.mixture[:1]).shape == (1, 3, 2_000)
    assert [stage.name for stage in method.stages()] == ["minus", "plus", "joint"]
