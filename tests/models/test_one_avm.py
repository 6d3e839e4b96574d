"""OneAVM's equations against loops in float64, its masks, its decoder, and input of odd shapes.

The networks that look and listen are replaced by tiny ones where the equations are tested: the method is what lies
behind them. 1e-9 is rounding: some thousand float64 operations on numbers of size 1 to 100.
"""

import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import cosine, dot
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

import avnb.models.one_avm as one_avm
from avnb.data.clips import Batch
from avnb.errors import DataError, SettingsError
from avnb.models.base import Query
from avnb.models.one_avm import OneAVM, OneAVMSettings
from avnb.networks import presets
from avnb.networks.mask_decoder import Decoder
from avnb.networks.separation_masks import RULES, apply_masks, ideal_separation, source_masks
from avnb.networks.spectrograms import stft

TOLERANCE = 1e-9
DIM = 6
TIME = 66_150  # samples of three seconds
OBJECTIVES = ("correspondence", "separation", "alignment")


class TinyTrunk(nn.Module):
    """Stands in for FrozenLite: the mean colour of every 16 x 16 pixels."""

    channels, stride, frozen = 3, 16, True

    def forward(self, frames: Tensor) -> Tensor:
        return avg_pool2d(frames.to(torch.promote_types(frames.dtype, torch.float32)) / 255, 16)


class TinySound(nn.Module):
    """Stands in for SlimSound: averages of the spectrogram at three resolutions, and their means."""

    channels, widths = 3, (1, 1, 1)

    def maps(self, image: Tensor) -> list[Tensor]:
        return [avg_pool2d(image, 2**k) for k in (1, 2, 3)]

    def pooled(self, maps: list[Tensor], image: Tensor) -> Tensor:
        return torch.stack([maps[0].mean(dim=(1, 2, 3)), image.std(dim=(1, 2, 3)), image.amax(dim=(1, 2, 3))], dim=1)


class TinyLook(nn.Module):
    """Stands in for LiteProjection, without its chance."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, dim, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.tanh(self.layer(maps))


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small OneAVM with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)
    monkeypatch.setattr(one_avm, "LiteProjection", TinyLook)

    def make(**options) -> OneAVM:
        torch.manual_seed(3)
        return OneAVM(OneAVMSettings(**({"preset": "quick", "dim": DIM} | options)).resolve("cpu"), 4)

    return make


def random_batch(count: int = 4, time: int = 9001, size: int = 48) -> Batch:
    generator = torch.Generator().manual_seed(count)
    mixture = 0.2 * torch.randn(count, time, generator=generator)
    return Batch(
        frames=torch.randint(256, (count, 3, size, size), generator=generator, dtype=torch.uint8),
        mixture=mixture,
        labels=torch.zeros(count, 4),
        source_classes=torch.zeros(count, 1, dtype=torch.long),
        source_waveforms=mixture[:, None],
    )


def in_doubles(method: OneAVM, batch: Batch) -> tuple[OneAVM, Batch]:
    """Everything in float64 and in evaluation mode, so that batch statistics do not enter."""
    features = method.trunk(batch.frames.double())
    return method.double().eval(), replace(batch, mixture=batch.mixture.double(), features=features)


# ------------------------------------------------------------------------------------- the equations, written as loops


def times(layer: nn.Module, vector: list[float]) -> list[float]:
    """A linear layer, or a 1x1 convolution, on one vector."""
    weight = layer.weight.detach().flatten(1).tolist()
    return [dot(row, vector) + b for row, b in zip(weight, layer.bias.tolist(), strict=True)]


def log_of_sum(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))


def both_ways(score: list[list[float]], tau: float) -> float:
    """Eq. 2, averaged over the batch."""
    count, total = len(score), 0.0
    for i in range(count):
        own = score[i][i] / tau
        total += log_of_sum([score[i][j] / tau for j in range(count)]) - own
        total += log_of_sum([score[k][i] / tau for k in range(count)]) - own
    return total / count


def positions(maps: Tensor) -> list[list[float]]:
    return maps.flatten(1).T.tolist()


def heard_and_seen(method: OneAVM, batch: Batch) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        return method.hear(method.resample(batch.mixture))[1], method.see(batch.frames, batch.features)


def test_correspondence_is_equations_1_and_2_written_as_loops(build):
    method, batch = in_doubles(build(), random_batch())
    audio, visual = heard_and_seen(method, batch)
    heads_a, heads_v = method.audio_heads, method.visual_heads
    score = []
    for sound in audio.tolist():
        row = []
        for picture in visual:
            pooled = [max(channel) for channel in picture.flatten(1).tolist()]
            glb = cosine(times(heads_a["global"], sound), times(heads_v["global"], pooled))
            a_loc = times(heads_a["local"], sound)
            loc = max(cosine(a_loc, times(heads_v["local"], v)) for v in positions(picture))
            row.append(glb + loc)
        score.append(row)
    found = method.correspondence_loss(audio, visual).item()
    assert found == pytest.approx(both_ways(score, method.settings.temperature), abs=TOLERANCE)


@pytest.mark.parametrize(("rule", "weights"), [*((rule, "equal") for rule in RULES), ("half_mixture", "loudness")])
def test_separation_is_equation_4_written_as_loops(build, rule, weights):
    method, batch = in_doubles(
        build(mask_rule=rule, bin_weights=weights, correspondence=False, alignment=False), random_batch(4, time=2_400)
    )
    found = method.loss(batch)["MAS"].item()
    waveforms = method.resample(batch.mixture)
    front, total, counted = method.spectrogram, 0.0, 0.0
    filterbank = front.filterbank.tolist()

    def bands(waveform: Tensor) -> list[list[float]]:
        power = stft(waveform, front.n_fft, front.hop).abs().square().tolist()
        return [
            [math.sqrt(sum(w * power[f][t] for f, w in enumerate(row) if w)) for t in range(len(power[0]))]
            for row in filterbank
        ]

    for first in range(2):
        pair = (waveforms[first], waveforms[first + 2])  # the two halves of the batch
        mixture = bands(pair[0] + pair[1])
        sources = [bands(source) for source in pair]
        with torch.no_grad():
            visual = method.see(batch.frames[[first, first + 2]], batch.features[[first, first + 2]])
            masks = method.masks(visual.amax(dim=(2, 3))[None], (pair[0] + pair[1])[None])[0].tolist()
        for n in range(2):
            own, other = sources[n], sources[1 - n]
            for f in range(len(mixture)):
                for t in range(len(mixture[0])):
                    s, o, m = own[f][t], other[f][t], mixture[f][t]
                    target = {
                        "half_mixture": float(s > 0.5 * m),
                        "dominant": float(s > o),
                        "ratio": s / (s + o),
                        "literal": float(s > m),
                    }[rule]
                    p = masks[n][f][t]
                    weight = 1.0 if weights == "equal" else min(max(math.log(1 + m), 1e-3), 10)
                    total -= weight * (target * math.log(p) + (1 - target) * math.log(1 - p))
                    counted += weight
    assert found == pytest.approx(total / counted, abs=TOLERANCE)


@pytest.mark.parametrize("alpha", [0.5, 0.2])
@pytest.mark.parametrize("blend", ["pixels", "features"])
def test_alignment_is_equation_5_written_as_loops(build, alpha, blend):
    method, batch = in_doubles(build(alpha=alpha, blend=blend), random_batch())
    audio, _ = heard_and_seen(method, batch)
    frames = batch.frames.double()
    blended = alpha * frames[:2] + (1 - alpha) * frames[2:]  # sample k of the first half with sample k of the second
    with torch.no_grad():
        visual = method.look(method.trunk(blended))  # this trunk is linear: blends of pixels and features are the same
    sounds = [times(method.audio_heads["mixed"], sound) for sound in audio.tolist()]
    terms = []
    for half in (sounds[:2], sounds[2:]):
        score = [
            [max(cosine(a, times(method.visual_heads["mixed"], v)) for v in positions(picture)) for picture in visual]
            for a in half
        ]
        terms.append(both_ways(score, method.settings.temperature))
    plain = alpha * terms[0] + (1 - alpha) * terms[1]
    assert method.loss(batch)["MVA"].item() == pytest.approx(plain, abs=TOLERANCE)


def test_the_total_is_equation_6_the_plain_sum(build):
    terms = build().eval().loss(random_batch())
    assert set(terms) == {"total", "CL", "MAS", "MVA"}
    torch.testing.assert_close(terms["total"], terms["CL"] + terms["MAS"] + terms["MVA"])


@pytest.mark.parametrize("left_out", OBJECTIVES)
def test_each_objective_can_be_left_out_and_the_others_stay_as_they_are(build, left_out):
    whole = build().eval().loss(random_batch())
    part = build(**{left_out: False}).eval().loss(random_batch())
    missing = {"correspondence": "CL", "separation": "MAS", "alignment": "MVA"}[left_out]
    assert set(part) == set(whole) - {missing}
    for name in set(part) - {"total"}:
        torch.testing.assert_close(part[name], whole[name])


def test_with_nothing_to_learn_the_settings_are_refused_in_a_sentence(build):
    with pytest.raises(SettingsError, match="nothing to learn"):
        build(**dict.fromkeys(OBJECTIVES, False))


def test_the_map_is_the_cosine_of_the_local_heads_at_each_position(build):
    method, batch = in_doubles(build(), random_batch())
    audio, visual = heard_and_seen(method, batch)
    with torch.no_grad():
        maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes.expand(-1, 2), batch.features))
    assert maps.shape == (4, 2, 3, 3)
    plain = [
        [
            cosine(times(method.audio_heads["local"], sound), times(method.visual_heads["local"], v))
            for v in positions(picture)
        ]
        for sound, picture in zip(audio.tolist(), visual, strict=True)
    ]
    for source in range(2):  # one map, whatever is asked
        torch.testing.assert_close(maps[:, source].flatten(1), torch.tensor(plain, dtype=torch.float64))


# ------------------------------------------------------------------------------------------------------ masks and STFT


def two_notes(time: int = 33_075, rate: int = 11_025) -> Tensor:
    """Two instruments a fifth apart, with overtones that rise and fall: [1, 2, time]."""
    t = torch.arange(time, dtype=torch.float64) / rate
    notes = [
        sum(torch.sin(2 * math.pi * pitch * k * t) / k for k in range(1, 6)) * torch.exp(-((2 * t + shift) % 1))
        for pitch, shift in ((196.0, 0.0), (293.7, 0.4))
    ]
    return 0.1 * torch.stack(notes)[None]


def plain_mask(rule: str, own: float, others: list[float], mixture: float) -> float:
    if rule == "half_mixture":
        return float(own > 0.5 * mixture)
    if rule == "literal":
        return float(own > mixture)
    if rule == "dominant":
        return float(own > 0 and all(own >= other for other in others))
    return own / (own + sum(others)) if own + sum(others) else 0.0


@pytest.mark.parametrize("rule", RULES)
def test_masks_are_what_a_loop_over_the_bins_makes_of_the_rule(rule):
    generator = torch.Generator().manual_seed(1)
    sources = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    sources[0, :, 0] = 0  # where nothing sounds
    mixture = sources.sum(dim=1) * torch.rand(2, 4, 5, generator=generator, dtype=torch.float64)
    found = source_masks(sources, mixture, rule)
    for b, n, f, t in torch.cartesian_prod(*(torch.arange(k) for k in sources.shape)).tolist():
        others = [float(sources[b, k, f, t]) for k in range(3) if k != n]
        assert float(found[b, n, f, t]) == plain_mask(
            rule, float(sources[b, n, f, t]), others, float(mixture[b, f, t])
        ) or math.isclose(float(found[b, n, f, t]), plain_mask(rule, float(sources[b, n, f, t]), others, 0))


def test_an_unknown_rule_is_refused_in_a_sentence():
    with pytest.raises(SettingsError, match="There are: half_mixture"):
        source_masks(torch.ones(1, 2, 1, 1), torch.ones(1, 1, 1), "loudest")


def decibels(wanted: Tensor, found: Tensor) -> Tensor:
    return 10 * torch.log10(wanted.square().sum(-1) / (wanted - found).square().sum(-1))


def test_a_mask_of_ones_gives_the_mixture_back():
    mixture = two_notes().sum(dim=1).float()
    for n_fft, hop in ((1024, 260), (400, 188)):
        ones = torch.ones_like(stft(mixture, n_fft, hop).abs())[:, None]
        torch.testing.assert_close(apply_masks(mixture, ones, n_fft, hop)[:, 0], mixture, atol=1e-5, rtol=0)


def test_the_ideal_ratio_mask_gives_the_sources_back_above_10_decibels():
    sources = two_notes()
    assert decibels(sources, ideal_separation(sources, "ratio", 1024, 260)).min() > 10


def test_the_rule_as_printed_is_far_below_the_others():
    sources = two_notes()
    reached = {rule: float(decibels(sources, ideal_separation(sources, rule, 1024, 260)).mean()) for rule in RULES}
    assert reached["literal"] < min(reached[rule] for rule in RULES if rule != "literal") - 5


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_a_mask_of_ones_over_the_bands_is_one_over_the_bins(preset):
    method = OneAVM(OneAVMSettings(preset=preset, pretrained=False).resolve("cpu"), 4)
    bands, bins = method.spectrogram.filterbank.shape
    ones = method.over_bins(torch.ones(1, 2, bands, 7))
    assert ones.shape == (1, 2, bins, 7)
    torch.testing.assert_close(ones, torch.ones_like(ones))


def test_bands_carry_a_mask_to_the_bins_they_were_made_of():
    method = OneAVM(OneAVMSettings(preset="quick").resolve("cpu"), 4)
    filterbank, spread = method.spectrogram.filterbank, method.spread
    for place in range(1, filterbank.shape[1] - 20):
        shares = filterbank[:, place]
        if shares.sum() > 1e-6:
            torch.testing.assert_close(spread[place], shares / shares.sum())


# --------------------------------------------------------------------------------------------------------- the network


@pytest.mark.parametrize("depth", [2, 4, 5, 8, 12, 16])
def test_the_decoder_has_the_convolutions_that_are_asked_for_and_full_resolution(depth):
    widths = (4, 4, 6, 8, 8)
    decoder = Decoder(widths, 5, depth, bands=64).eval()
    levels = [torch.randn(2, width, 64 >> k, 96 >> k) for k, width in enumerate((1, *widths))]
    assert decoder(levels, torch.randn(2, 3, 5), frames=90).shape == (2, 3, 64, 90)
    skips = {id(skip) for skip in decoder.skips}
    found = [
        layer
        for layer in decoder.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and id(layer) not in skips
    ]
    assert len(found) == depth


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_both_presets_train_separate_and_locate(preset):
    torch.manual_seed(0)
    method = OneAVM(OneAVMSettings(preset=preset, pretrained=False, dim=16).resolve("cpu"), 4)
    batch = random_batch(4, TIME, 64)
    terms = method.loss(batch)
    terms["total"].backward()
    untouched = [name for name, weight in method.named_parameters() if weight.requires_grad and weight.grad is None]
    assert untouched == []
    method.eval()
    with torch.no_grad():
        sound = method.separate(torch.stack([batch.frames, batch.frames.flip(0)], dim=1), batch.mixture)
        assert sound.shape == (4, 2, math.ceil(TIME * method.rate / 22_050))
        assert method.localize(Query(batch.frames, batch.mixture)).shape[:2] == (4, 1)
        assert method.embed(batch)["audio"].shape == (4, 1, 16)


def test_both_presets_see_and_mask_one_grid_of_128_columns():
    for preset in ("quick", "paper"):
        method = OneAVM(OneAVMSettings(preset=preset, pretrained=False).resolve("cpu"), 4).eval()
        waveform = method.resample(torch.zeros(1, TIME))
        assert method.spectrogram(waveform).shape[-1] == 128
        assert stft(waveform, method.spectrogram.n_fft, method.spectrogram.hop).shape[-1] == 128


def test_sources_that_share_a_bin_have_it_by_the_odds_of_their_masks(build):
    method, batch = in_doubles(build(), random_batch())
    waveform, wanted = method.resample(batch.mixture), torch.randn(4, 3, DIM, dtype=torch.float64)
    with torch.no_grad():
        alone, shared = method.masks(wanted, waveform), method.masks(wanted, waveform, shared=True)
    odds = alone / (1 - alone)
    torch.testing.assert_close(shared, odds / odds.sum(dim=1, keepdim=True))
    torch.testing.assert_close(shared.sum(dim=1), torch.ones_like(shared[:, 0]))


@pytest.mark.parametrize("sharing", ["none", "softmax"])
def test_a_source_asked_for_alone_has_its_own_mask_however_bins_are_shared(build, sharing):
    method, batch = build(sharing=sharing).eval(), random_batch()
    with torch.no_grad():
        found = method.separate(batch.frames[:, None], batch.mixture)
        wanted = method.see(batch.frames).amax(dim=(2, 3))[:, None]
        torch.testing.assert_close(found, method.separate_by(wanted, batch.mixture))


@pytest.mark.parametrize("time", [1, 500, 2_047, 66_149])
def test_odd_lengths_and_clips_shorter_than_the_window_are_separated_at_their_length(build, time):
    method = build().eval()
    frames = torch.zeros(2, 2, 3, 48, 48, dtype=torch.uint8)
    with torch.no_grad():
        sound = method.separate(frames, 0.1 * torch.randn(2, time))
    assert sound.shape == (2, 2, math.ceil(time / 2))
    assert torch.isfinite(sound).all()


def test_silent_sources_leave_the_loss_a_number(build):
    batch = random_batch()
    terms = build().loss(replace(batch, mixture=torch.zeros_like(batch.mixture)))
    assert all(torch.isfinite(value) for value in terms.values())


@pytest.mark.parametrize("count", [1, 3])
def test_batches_of_one_clip_and_of_odd_size_are_learnt_from(build, count):
    terms = build().eval().loss(random_batch(count))
    assert torch.isfinite(terms["total"])
    assert ("MAS" in terms) == (count > 1)


def test_one_clip_and_no_correspondence_is_refused_in_a_sentence(build):
    with pytest.raises(SettingsError, match="nothing to mix"):
        build(correspondence=False).loss(random_batch(1))


def test_stereo_is_refused_in_a_sentence(build):
    method = build().eval()
    unchecked = getattr(OneAVM.separate_by, "__wrapped__", OneAVM.separate_by)
    with pytest.raises(DataError, match="Average the channels"):
        unchecked(method, torch.zeros(2, 2, DIM), torch.zeros(2, 2, 4000))


def test_a_part_of_the_picture_is_the_maximum_around_it(build):
    visual = torch.randn(1, 4, 5, 6)
    found = build().of_place(visual, row=0, column=5, reach=1)
    torch.testing.assert_close(found, visual[:, :, :2, 4:].amax(dim=(2, 3)))
