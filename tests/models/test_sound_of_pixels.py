"""Sound of Pixels' equations against loops in float64, its masks and maps, and the size of the paper's networks.

1e-9 is rounding: some thousand float64 operations on numbers of size 1 to 100.
"""

import math
from dataclasses import replace

import pytest
import torch
from mix_and_separate import CLASSES, in_doubles, loudness, make_tiny, random_rooms
from tiny_methods import dot, sigmoid

from avnb.data.clips import Recipe
from avnb.models.base import Query, Separates
from avnb.models.baselines.sound_of_pixels import (
    PEAK,
    SoundOfPixels,
    SoundOfPixelsSettings,
    mask_loss,
    pixel_energy,
)
from avnb.networks.separation_masks import HIGHEST_RATIO, apply_masks
from avnb.networks.spectrograms import stft

TOLERANCE = 1e-9


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small Sound of Pixels with the given settings."""
    make_tiny(monkeypatch)

    def make(**options) -> SoundOfPixels:
        torch.manual_seed(3)
        method = SoundOfPixels(
            SoundOfPixelsSettings(**({"preset": "quick", "channels": 3} | options)).resolve("cpu"), CLASSES
        )
        torch.nn.init.uniform_(method.scale, 0.5, 2.0)
        torch.nn.init.constant_(method.bias, -0.3)
        return method

    return make


def bands(method: SoundOfPixels, waveform: torch.Tensor) -> list[list[float]]:
    """The magnitudes of the mel bands, bin by bin."""
    power = stft(waveform, *method.stft_window).abs().square().tolist()
    return [
        [math.sqrt(sum(w * power[f][t] for f, w in enumerate(row) if w)) for t in range(len(power[0]))]
        for row in method.spectrogram.filterbank.tolist()
    ]


@pytest.mark.parametrize("mask", ["binary", "ratio"])
def test_the_loss_is_its_equation_written_as_loops(build, mask):
    method, batch = in_doubles(build(mask=mask), random_rooms())
    waveforms = method.resampled(batch.source_waveforms)
    scale, bias = method.scale.tolist(), method.bias.item()
    with torch.no_grad():
        pictures = method.see(batch.frames, batch.features).flatten(2).tolist()
        maps = method.hear(waveforms.sum(dim=1)).tolist()
    total, counted = 0.0, 0
    for b in range(3):
        mixture = bands(method, waveforms[b].sum(dim=0))
        for n in range(2):
            own = bands(method, waveforms[b, n])
            shares = [s * sigmoid(max(channel)) for s, channel in zip(scale, pictures[2 * b + n], strict=True)]
            for f, t in ((f, t) for f in range(len(own)) for t in range(len(own[0]))):
                z = dot(shares, [a[f][t] for a in maps[b]]) + bias
                x, s, p = mixture[f][t], own[f][t], sigmoid(z)
                if mask == "binary":
                    error = -math.log(p) if s > x / 2 else -math.log(1 - p)
                else:
                    error = abs(p - min(s / x, HIGHEST_RATIO))
                total, counted = total + loudness(x) * error, counted + 1
    assert method.loss(batch)["total"].item() == pytest.approx(total / counted, abs=TOLERANCE)


def test_the_energy_of_a_pixel_is_its_equation_written_as_loops():
    generator = torch.Generator().manual_seed(0)
    seen, heard = (
        torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((2, 3, 4, 5), (2, 3, 6, 7))
    )
    magnitudes = torch.rand(2, 6, 7, generator=generator, dtype=torch.float64)
    bias = torch.tensor([0.2], dtype=torch.float64)
    found = pixel_energy(seen, heard, bias, magnitudes)
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(4), torch.arange(5)).tolist():
        energy = 0.0
        for f, t in ((f, t) for f in range(6) for t in range(7)):
            z = dot(seen[b, :, y, x].tolist(), heard[b, :, f, t].tolist()) + 0.2
            energy += (sigmoid(z) * float(magnitudes[b, f, t])) ** 2
        assert float(found[b, y, x]) == pytest.approx(energy, abs=TOLERANCE)


def test_pixels_in_portions_are_pixels_at_once(monkeypatch):
    torch.manual_seed(0)
    parts = torch.rand(2, 3, 4, 5), torch.randn(2, 3, 6, 7), torch.zeros(1), torch.rand(2, 6, 7)
    whole = pixel_energy(*parts)
    monkeypatch.setattr("avnb.models.baselines.sound_of_pixels.AT_ONCE", 1)
    torch.testing.assert_close(pixel_energy(*parts), whole)


def test_the_map_of_a_method_is_the_energy_of_each_pixels_own_mask(build):
    method, batch = in_doubles(build(), random_rooms())
    with torch.no_grad():
        maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes.expand(-1, 2), batch.features))
        waveform = method.resampled(batch.mixture)
        _, magnitudes = method.bands(waveform[:, None])
        seen = method.see(batch.frames, batch.features)
        for y, x in ((0, 0), (1, 2)):
            mask = method.masks(seen[:, None, :, y, x], waveform)[:, 0]
            torch.testing.assert_close(maps[:, 0, y, x], (mask * magnitudes).square().sum(dim=(1, 2)))
    assert maps.shape == (6, 2, 3, 3)
    assert torch.equal(maps[:, 0], maps[:, 1])  # one map, whatever is asked


def test_a_picture_that_is_alike_everywhere_has_the_same_energy_everywhere_and_its_pixels_mask_is_its_own(build):
    method, batch = in_doubles(build(), random_rooms())
    batch = replace(batch, features=batch.features.mean(dim=(2, 3), keepdim=True).expand_as(batch.features))
    with torch.no_grad():
        maps = method.localize(Query.of(batch))
        torch.testing.assert_close(maps, maps[..., :1, :1].expand_as(maps))
        seen = method.see(batch.frames[:1], batch.features[:1])
        waveform = method.resampled(batch.mixture[:1])
        pooled = method.masks(seen.amax(dim=(2, 3))[:, None], waveform)
        torch.testing.assert_close(method.masks(seen[:, None, :, 0, 0], waveform), pooled)


def test_what_pictures_say_is_spread_over_the_batch_in_training_and_in_the_end_its_maximum_is_the_maps(build):
    torch.manual_seed(0)  # weights by chance round by chance, now and then past the bound
    method, batch = build().train(), random_rooms(6)
    peaks = method.wanted_by(batch).flatten(0, 1)
    torch.testing.assert_close(peaks.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        peaks.std(dim=0, correction=0), torch.full((3,), PEAK), rtol=0.1, atol=0
    )  # but for the norm's epsilon
    method.eval()
    with torch.no_grad():
        seen = method.see(batch.frames).amax(dim=(2, 3))
        torch.testing.assert_close(method.wanted_by(batch).flatten(0, 1), seen)
        torch.testing.assert_close(method.wanted(batch.frames[None])[0], seen)


def test_masks_of_ones_return_the_mixture():
    for preset in ("quick", "paper"):
        method = SoundOfPixels(SoundOfPixelsSettings(preset=preset, pretrained=False).resolve("cpu"), CLASSES)
        mixture = torch.randn(2, 33_075, generator=torch.Generator().manual_seed(1))
        rows = len(method.spectrogram.filterbank)
        ones = method.over_bins(torch.ones(2, 1, rows, 1 + 33_075 // method.spectrogram.hop))
        torch.testing.assert_close(ones, torch.ones_like(ones))
        torch.testing.assert_close(apply_masks(mixture, ones, *method.stft_window)[:, 0], mixture, atol=1e-5, rtol=0)


def test_swapping_the_frames_swaps_the_sounds_bit_by_bit_and_one_frame_twice_gives_one_sound_twice(build):
    method, batch = build().eval(), random_rooms(2)
    frames, mixture = batch.frames.unflatten(0, (2, 2)), batch.mixture[::2]
    with torch.no_grad():
        found, swapped = method.separate(frames, mixture), method.separate(frames.flip(1), mixture)
        twice = method.separate(frames[:, :1].expand(-1, 2, -1, -1, -1), mixture)
    assert torch.equal(found, swapped.flip(1))
    assert torch.equal(twice[:, 0], twice[:, 1])


def test_the_logit_of_all_is_the_sum_of_the_logits_of_each_map_alone(build):
    method, batch = in_doubles(build(), random_rooms())
    with torch.no_grad():
        heard = method.hear(method.resampled(batch.mixture))
        wanted = method.see(batch.frames, batch.features).amax(dim=(2, 3))[:, None]
        alone = []
        for k in range(3):
            only = torch.full_like(wanted, -1e3)  # the sigmoid of which is 0
            only[..., k] = wanted[..., k]
            alone.append(method.logits(only, heard))
        together = sum(alone) - 2 * method.bias
        torch.testing.assert_close(together, method.logits(wanted, heard), atol=TOLERANCE, rtol=0)


def test_where_nothing_is_heard_the_loss_is_the_mean_weight_times_ln_2_and_a_hard_mask_removes_everything(build):
    method, batch = in_doubles(build(cut="hard", sharing="none"), random_rooms())
    for weight_ in (*method.unet.parameters(), method.bias):
        torch.nn.init.zeros_(weight_)
    _, mixture = method.bands(method.resampled(batch.source_waveforms))
    expected = mixture.log1p().clamp(1e-3, 10).mean() * math.log(2)
    with torch.no_grad():
        torch.testing.assert_close(method.loss(batch)["total"], expected)
        masks = method.masks(torch.zeros(3, 2, 3).double(), method.resampled(batch.mixture[::2]))
        assert (masks == 0.5).all()
        assert method.over_bins(masks - 1e-6).sum() == 0  # less the rounding of shares that sum up to 1


def test_shared_masks_add_up_to_one_and_a_source_alone_has_its_own(build):
    method, batch = build().eval(), random_rooms()
    with torch.no_grad():
        waveform = method.resampled(batch.mixture[::2])
        wanted = torch.randn(3, 2, 3)
        shared = method.masks(wanted, waveform, shared=True)
        torch.testing.assert_close(shared.sum(dim=1), torch.ones_like(shared[:, 0]))
        alone = method.masks(wanted[:, :1], waveform, shared=True)
        torch.testing.assert_close(alone, method.masks(wanted[:, :1], waveform))


def test_the_product_of_the_embeddings_is_the_masks_mean_logit(build):
    method, batch = in_doubles(build(), random_rooms())
    with torch.no_grad():
        vectors = method.embed(batch)
        waveform = method.resampled(batch.mixture)
        _, magnitudes = method.bands(waveform[:, None])
        weights = magnitudes.log1p().clamp(1e-3, 10)
        wanted = method.see(batch.frames, batch.features).amax(dim=(2, 3))[:, None]
        logits = method.logits(wanted, method.hear(waveform))[:, 0] - method.bias
        mean = (weights * logits).sum(dim=(1, 2)) / weights.sum(dim=(1, 2))
        torch.testing.assert_close((vectors["audio"] * vectors["visual"]).sum(dim=(1, 2)), mean)


def test_with_matching_a_class_is_given_the_map_that_its_clips_excite(build):
    method, batch = build(matching=True).eval(), random_rooms(4, 1)
    assert method.CLASSES == ("oracle",)
    assert SoundOfPixels.CLASSES == ("none",)
    order = torch.tensor([2, 0, 3, 1])
    method.scale.data.fill_(1.0)
    method.see = lambda frames, features=None: 4 * torch.eye(CLASSES)[order][:, :, None, None].expand(-1, -1, 3, 3)
    method.begin_named(lambda: [(None, Recipe(), batch)])
    assert method.named.tolist() == order.tolist()
    maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes, batch.features))
    every = method.localize(Query(batch.frames, batch.mixture))
    assert every.shape == (4, CLASSES, 3, 3)
    torch.testing.assert_close(maps[:, 0], every[torch.arange(4), batch.source_classes[:, 0]])


def test_with_matching_the_maps_are_named_before_the_last_epoch(build):
    stages = build(matching=True, epochs=5).stages()
    assert [(stage.name, stage.epochs) for stage in stages] == [("train", 4), ("named", 1)]
    assert len(build().stages()) == 1


def test_mask_loss_counts_a_bin_where_nothing_sounds_as_nobodys():
    nothing = torch.zeros(1, 2, 1, 1)
    for mask in ("binary", "ratio"):
        loss = mask_loss(torch.full((1, 2, 1, 1), -50.0), nothing, nothing[:, 0], mask)
        assert float(loss) == pytest.approx(0, abs=1e-9)


def test_the_papers_networks_have_the_released_codes_numbers_of_parameters():
    method = SoundOfPixels(SoundOfPixelsSettings(preset="paper", pretrained=False).resolve("cpu"), CLASSES)
    assert sum(weight.numel() for weight in method.unet.parameters()) == 30_274_210
    pictures = (*method.trunk.parameters(), *method.look.parameters())
    assert sum(weight.numel() for weight in pictures) == 11_324_000
    assert sum(weight.numel() for weight in method.parameters()) == 41_598_243


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_both_presets_train_separate_and_locate(preset):
    method = SoundOfPixels(SoundOfPixelsSettings(preset=preset, pretrained=False).resolve("cpu"), CLASSES)
    batch = random_rooms(2, time=4_000, size=64)
    method.loss(batch)["total"].backward()
    unused = [name for name, weight in method.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not unused
    method.eval()
    assert isinstance(method, Separates)
    with torch.no_grad():
        assert method.separate(batch.frames[:3][None], batch.mixture[:1]).shape == (1, 3, 2_000)
        assert method.localize(Query(batch.frames[:, :, :, :48], batch.mixture)).shape == (4, 1, 4, 3)
