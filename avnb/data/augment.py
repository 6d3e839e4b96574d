"""Augmentation of a batch on its own device: what the papers do to frames, and what a mixture allows for sounds."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from avnb.data.clips import Batch, Recipe, mix_waveforms
from avnb.devices import chance

ENLARGED = 1.1  # EZ-VSL's released code resizes to 246 and crops 224
LOUDNESS_DECIBELS = 6.0


def augment(batch: Batch, recipe: Recipe, crop: bool, sound: bool = True) -> Batch:
    """Flip half of the examples, crop frames at random where ``crop``, change each source's loudness and start.

    Without ``sound`` the waveforms stay as they are, for a frozen ear that knows them. Cached features are flipped as
    the frames are (a convolution sees a mirrored picture all but mirrored); they cannot be cropped. Chance comes from
    torch's generator of the CPU, so that a GPU sees the same flips and crops.
    Introduced in notebooks/01_data_mixing.ipynb.
    """
    flip = (chance(torch.rand, len(batch)) < 0.5).to(batch.frames.device, non_blocking=True)
    pictures = {"frames": batch.frames, "features": batch.features}
    changed = {name: _flip(value, flip) for name, value in pictures.items() if value is not None}
    if crop and batch.features is None:
        changed["frames"] = _random_crop(changed["frames"])
    if sound and batch.source_waveforms is not None:
        sources = batch.source_waveforms
        drawn = chance(lambda rows: torch.rand(rows, sources.shape[1]), len(sources))
        decibels = (2 * drawn - 1) * LOUDNESS_DECIBELS
        gains = (10 ** (decibels / 20)).to(sources.device, non_blocking=True)
        sources = _roll(sources * gains[..., None])
        mixture = mix_waveforms(sources, recipe.sound)
        if recipe.geometry == "separate":
            mixture = mixture.repeat_interleave(recipe.sources, dim=0)
        changed |= {"source_waveforms": sources, "mixture": mixture}
    return replace(batch, **changed)


def _flip(images: Tensor, flip: Tensor) -> Tensor:
    return torch.where(flip.view(-1, 1, 1, 1), images.flip(-1), images)


def _roll(waveforms: Tensor) -> Tensor:
    """Let every waveform begin at a random sample and go on at its start when it ends."""
    time = waveforms.shape[-1]
    start = chance(lambda rows: torch.randint(time, (rows, waveforms.shape[1])), len(waveforms))
    start = start.to(waveforms.device, non_blocking=True)
    windows = torch.cat([waveforms, waveforms], dim=-1).unfold(-1, time, 1)  # a view: only the chosen are copied
    mixture, source = (torch.arange(length, device=waveforms.device) for length in waveforms.shape[:2])
    return windows[mixture[:, None], source, start]


def _random_crop(frames: Tensor) -> Tensor:
    """Enlarge the frames and cut their own size out again, each at a place of its own."""
    height, width = frames.shape[-2:]
    large = interpolate(frames.float(), scale_factor=ENLARGED, mode="bicubic", align_corners=False, antialias=False)
    over = (large.shape[-2] - height, large.shape[-1] - width)
    top, left = (chance(lambda rows, most=most: torch.randint(most + 1, (rows,)), len(frames)) for most in over)
    top, left = (place.to(frames.device, non_blocking=True) for place in (top, left))
    windows = large.unfold(2, height, 1).unfold(3, width, 1)  # a view: only the chosen are copied
    cut = windows[torch.arange(len(frames), device=frames.device), :, top, left]
    return cut.round_().clamp_(0, 255).to(frames.dtype)  # bicubic overshoots
