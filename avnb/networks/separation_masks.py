"""Time-frequency masks: which bins of a mixture are a source's, and the waveform that is left of them.

Separation multiplies the mixture's STFT with a mask per source and returns through the inverse STFT (OneAVM, eq. 3).
What is learnt is the mask; how well the best mask of a rule would do is the ceiling of every method that learns it.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from avnb.errors import SettingsError
from avnb.networks.spectrograms import inverse_stft, stft

Rule = Literal["half_mixture", "dominant", "ratio", "literal"]
RULES: tuple[str, ...] = get_args(Rule)
HIGHEST_RATIO = 5.0


def source_masks(
    sources: Float[Tensor, "batch sources bins frames"], mixture: Float[Tensor, "batch bins frames"], rule: str
) -> Float[Tensor, "batch sources bins frames"]:
    """Return each source's mask in 0..1 from the magnitudes of the sources and of their mixture.

    ``half_mixture``: 1 where |s| > 0.5 |mix| (Sound of Pixels; both sources may claim a bin). ``dominant``: 1 where
    the source is the loudest. ``ratio``: the source's share of the sources' magnitudes. ``literal``: 1 where
    |s| > |mix|, as OneAVM's section 3.3 prints it, which a loud source fails wherever the phases add. A bin where
    nothing sounds is nobody's. Raises SettingsError on another rule.

    >>> source_masks(torch.tensor([[[[3.0]], [[1.0]]]]), torch.tensor([[[3.5]]]), "ratio").flatten()
    tensor([0.7500, 0.2500])
    """
    match rule:
        case "half_mixture":
            return (sources > 0.5 * mixture[:, None]).to(sources.dtype)
        case "dominant":
            loudest = sources.amax(dim=1, keepdim=True)
            return ((sources == loudest) & (loudest > 0)).to(sources.dtype)
        case "ratio":
            total = sources.sum(dim=1, keepdim=True)
            return sources / torch.where(total > 0, total, 1)
        case "literal":
            return (sources > mixture[:, None]).to(sources.dtype)
    raise SettingsError(f'There is no mask rule "{rule}". There are: {", ".join(RULES)}.')


def ratio_to_mixture(
    sources: Float[Tensor, "batch sources bins frames"], mixture: Float[Tensor, "batch bins frames"]
) -> Float[Tensor, "batch sources bins frames"]:
    """Return |s| / |mix|, at most 5 and 0 where nothing sounds: the target of Sound of Pixels' and CCoL's ratio masks.

    Above 1 where phases cancel, which no mask in 0..1 can reach.
    """
    mixture = mixture[:, None]
    return torch.where(mixture > 0, sources / torch.where(mixture > 0, mixture, 1), 0).clamp(max=HIGHEST_RATIO)


def loudness_weights(mixture: Float[Tensor, "*batch bins frames"]) -> Float[Tensor, "*batch bins frames"]:
    """Return how much each bin of a mixture counts in a loss: ln(1 + |mix|), 0.001 to 10 (Sound of Pixels' code)."""
    return mixture.log1p().clamp(1e-3, 10)


def apply_masks(
    mixture: Float[Tensor, "batch time"], masks: Float[Tensor, "batch sources bins frames"], n_fft: int, hop: int
) -> Float[Tensor, "batch sources time"]:
    """Return iSTFT(STFT(mixture) times mask) for each source (OneAVM, eq. 3), as long as the mixture.

    Introduced in notebooks/11_separation.ipynb.
    """
    spectrum = stft(mixture, n_fft, hop)
    return inverse_stft(spectrum[:, None] * masks, n_fft, hop, mixture.shape[-1])


def ideal_separation(
    sources: Float[Tensor, "batch sources time"], rule: str, n_fft: int, hop: int
) -> Float[Tensor, "batch sources time"]:
    """Return what the masks of ``rule``, made from the true sources, leave of their sum: the rule's ceiling.

    Introduced in notebooks/06_one_avm.ipynb.
    """
    mixture = sources.sum(dim=1)
    masks = source_masks(stft(sources, n_fft, hop).abs(), stft(mixture, n_fft, hop).abs(), rule)
    return apply_masks(mixture, masks, n_fft, hop)
