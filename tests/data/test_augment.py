"""Augmentation: pictures are flipped and cut, sounds are turned and made louder or softer, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avnb.data.augment import _random_crop, _roll, augment
from avnb.data.clips import Recipe
from avnb.data.mixing import make_batch

RECIPE = Recipe(2, "side_by_side")
PAIRS = np.stack([np.arange(0, 16), np.arange(1, 17)], axis=1)


@pytest.fixture
def batch(tiny_store):
    return make_batch(tiny_store, PAIRS, RECIPE)


def test_frames_and_features_are_flipped_together(batch):
    features = torch.randn(16, 5, 4, 8)
    changed = augment(replace(batch, features=features), RECIPE, crop=True)
    flipped = [(changed.frames[k] == batch.frames[k].flip(-1)).all().item() for k in range(16)]
    assert 0 < sum(flipped) < 16, "about half are"
    for k in range(16):
        assert (changed.frames[k] == (batch.frames[k].flip(-1) if flipped[k] else batch.frames[k])).all()
        assert (changed.features[k] == (features[k].flip(-1) if flipped[k] else features[k])).all()


def test_half_of_the_frames_are_flipped(tiny_store):
    many = make_batch(tiny_store, np.zeros((500, 1), np.int64), Recipe())
    changed = augment(many, Recipe(), crop=False)
    share = (changed.frames == many.frames.flip(-1)).flatten(1).all(dim=1).float().mean()
    assert abs(share - 0.5) < 0.12  # standard deviation 0.022: five of them


def test_a_crop_keeps_size_and_kind(batch):
    changed = augment(batch, RECIPE, crop=True)
    assert (changed.frames.shape, changed.frames.dtype) == (batch.frames.shape, torch.uint8)


def test_a_crop_is_a_cut_of_the_enlarged_frame():
    frames = torch.arange(100.0).expand(8, 3, 60, 100).to(torch.uint8)  # a ramp of one grey a column
    for picture in _random_crop(frames):
        steps = picture[0, 30].float().diff()
        assert 86 <= picture[0, 30].float().max() - picture[0, 30].float().min() <= 92  # 99 columns / 1.1
        assert ((steps >= 0) & (steps <= 2)).all()
        assert (picture.int() - picture[:1, :1].int()).abs().max() <= 1  # bicubic weights add up to 1 but for rounding


def test_every_crop_has_its_own_place():
    frames = torch.arange(100.0).expand(8, 3, 60, 100).to(torch.uint8)
    assert len({int(picture[0, 0, 50]) for picture in _random_crop(frames)}) > 3


def test_a_crop_neither_brightens_nor_darkens():
    for grey in (0, 128, 255):
        frames = torch.full((2, 3, 32, 32), grey, dtype=torch.uint8)
        assert (_random_crop(frames) == grey).all()


def test_a_roll_is_a_cyclic_shift_of_each_source():
    sounds = torch.randn(4, 2, 50)
    rolled = _roll(sounds)
    starts = []
    for before, after in zip(sounds.flatten(0, 1), rolled.flatten(0, 1), strict=True):
        starts += [s for s in range(50) if torch.equal(before.roll(-s), after)]
    assert len(starts) == 8
    assert len(set(starts)) > 3


def test_loudness_changes_by_at_most_6_decibels(batch):
    changed = augment(batch, RECIPE, crop=False)
    power = [value.source_waveforms.square().mean(dim=-1) for value in (batch, changed)]
    decibels = 10 * torch.log10(power[1] / power[0])
    assert decibels.abs().max() <= 6.001
    assert decibels.max() > 3
    assert decibels.min() < -3


@pytest.mark.parametrize("sound", ["sum", "mean"])
def test_the_mixture_is_that_of_the_changed_sources(batch, sound):
    changed = augment(batch, Recipe(2, "side_by_side", sound), crop=False)
    expected = getattr(changed.source_waveforms, sound)(dim=1)
    assert (changed.mixture == expected).all()


def test_separate_frames_of_a_mixture_hear_the_same(tiny_store):
    recipe = Recipe(2, "separate")
    changed = augment(make_batch(tiny_store, PAIRS, recipe), recipe, crop=True)
    assert (changed.mixture[0::2] == changed.mixture[1::2]).all()
    assert (changed.mixture[0::2] == changed.source_waveforms.sum(dim=1)).all()


@pytest.mark.parametrize("geometry", ["single", "first", "side_by_side", "separate", "grid"])
def test_every_geometry_keeps_its_shapes(tiny_store, geometry):
    recipe = Recipe(1 if geometry == "single" else 2, geometry)
    batch = make_batch(tiny_store, np.array([[0, 1, 2, 3], [4, 5, 6, 7]])[:, : recipe.clips], recipe)
    changed = augment(batch, recipe, crop=True)
    for name, value in vars(batch).items():
        assert value is None or value.shape == getattr(changed, name).shape
        assert value is None or value.dtype == getattr(changed, name).dtype


def test_what_is_known_of_the_batch_does_not_change(batch):
    changed = augment(batch, RECIPE, crop=True)
    assert (changed.labels == batch.labels).all()
    assert (changed.source_classes == batch.source_classes).all()
    assert changed.truth is None


def test_the_batch_itself_is_left_alone(tiny_store, batch):
    augment(batch, RECIPE, crop=True)
    untouched = make_batch(tiny_store, PAIRS, RECIPE)
    for name, value in vars(batch).items():
        assert value is None or torch.equal(value, getattr(untouched, name))


def test_the_same_seed_changes_the_same(batch):
    def once(seed):
        torch.manual_seed(seed)
        return augment(batch, RECIPE, crop=True)

    first, second, other = once(1), once(1), once(2)
    for name in ("frames", "mixture", "source_waveforms"):
        assert torch.equal(getattr(first, name), getattr(second, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


def test_chance_is_drawn_on_the_cpu_for_a_batch_on_any_device(tiny_store):
    """So that a run of a seed sees the same flips, crops, loudness and starts on a GPU: "meta" stands in for one."""
    batch = make_batch(tiny_store, PAIRS, RECIPE)
    after = []
    for device in ("cpu", "meta"):
        torch.manual_seed(3)
        assert augment(batch.to(device), RECIPE, crop=True).frames.device.type == device
        after.append(torch.rand(4))
    assert torch.equal(*after)
    assert not torch.equal(after[0], torch.rand(4, generator=torch.Generator().manual_seed(3)))
