"""The features by which methods are compared: of single clips, trained, untrained and without any network.

Introduced in notebooks/09_tsne.ipynb.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.data.clips import Recipe
from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.evaluation.chunks import chunks
from avnb.models.base import Method
from avnb.networks.encoders import FrozenLite
from avnb.networks.spectrograms import LogMel

ON_CPU = 24  # clips embedded at once


def embed_clips(
    method: Method, store: Store, clips: Int[np.ndarray, " clips"]
) -> dict[str, Float[Tensor, "clips dim"]]:
    """Return a method's features of single clips: what it encodes and, of its class-aware ones, two kinds.

    "true class" are the vectors of the class that sounds, as the papers draw them: that class is an input, so its token
    tells the classes apart before anything is learnt. "own class" are those of the class that the method itself
    hears. Several vectors a clip (Mix-and-Localize's heads) are put one after the other.
    """
    device = torch.device(method.settings.device)
    found: dict[str, list[Tensor]] = {}
    method.eval()
    for part in chunks(len(clips), device, ON_CPU):
        batch = make_batch(store, clips[part, None], Recipe()).to(device)
        with torch.inference_mode():
            vectors, given = dict(method.encode(batch)), method.embed(batch)
            if not vectors:
                vectors = given
            else:  # what is encoded apart from it is class-aware
                heard = method.recognize(batch.mixture).argmax(dim=1)[:, None]
                own = method.embed(replace(batch, source_classes=heard))
                vectors |= {f"{name}, true class": value for name, value in given.items()}
                vectors |= {f"{name}, own class": value for name, value in own.items()}
        for name, value in vectors.items():
            found.setdefault(name, []).append(value.flatten(1).float().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}


@torch.inference_mode()
def embed_without_training(
    store: Store, clips: Int[np.ndarray, " clips"], device: str = "cpu"
) -> dict[str, Float[Tensor, "clips dim"]]:
    """Return features that nothing here has trained: a log-mel spectrogram's bands, and ImageNet's features.

    "audio" are the mean and the deviation of each of 64 bands over time, "visual" the frozen trunk's mean over the
    picture, both on the CPU; the networks run on ``device``.
    """
    trunk, spectrogram = FrozenLite().to(device), LogMel().to(device)
    audio, visual = [], []
    for part in chunks(len(clips), device, ON_CPU):
        bands = spectrogram(store.read_waveforms(clips[part]).to(device))[:, 0]
        audio.append(torch.cat([bands.mean(dim=2), bands.std(dim=2)], dim=1).cpu())
        visual.append(trunk(store.read_frames(clips[part]).to(device)).mean(dim=(2, 3)).cpu())
    return {"audio": torch.cat(audio), "visual": torch.cat(visual)}
