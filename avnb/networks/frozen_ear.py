"""What a frozen network hears in a waveform, and the small head behind it that is trained: the quick preset's ears."""

import hashlib
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import normalize

from avnb.devices import dropped, full_precision
from avnb.errors import DataError
from avnb.paths import shown, whole_file

DROPPED = 0.3  # of the numbers that are heard, while training
HIDDEN = 128  # numbers that a method is given
REMEMBERED = 100_000  # waveforms at most that are known: 200 MB


class FrozenEar(nn.Module):
    """A waveform at 22,050 Hz to what a frozen ``network`` hears in it, and a small head that is trained.

    What is heard is brought to one scale: less its mean, at length 1, and then each number's own. The head, a layer
    and a ReLU before the method's own projection, is to the frozen ear what `LiteProjection` is to the frozen trunk.
    On a CPU, where hearing three seconds takes a core a tenth of a second and more, a waveform that comes again is
    known by its samples and not heard again. So that it comes again, a training's sounds are left as they are, and
    every clip is heard in ``POOL`` mixtures. ``name`` tells what one network heard from what another did.
    """

    POOL = 2
    channels = HIDDEN

    def __init__(self, front: nn.Module, network: nn.Module, name: str) -> None:
        super().__init__()
        self.front, self.network, self.name = front, network, name
        self.scale, self.drop = nn.BatchNorm1d(network.channels), nn.Dropout(DROPPED)
        self.head = nn.Sequential(nn.Linear(network.channels, HIDDEN), nn.ReLU())
        self.known: dict[bytes, Float[Tensor, " heard"]] = {}
        self.file: Path | None = None
        self.written = 0

    def forward(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch channels"]:
        with torch.no_grad(), full_precision(waveform.device):
            vectors = self._remembered(waveform) if waveform.device.type == "cpu" else self._hear(waveform)
            vectors = self.evened(vectors)
            vectors = normalize(vectors - vectors.mean(dim=1, keepdim=True), dim=1)
        return self.head(dropped(self.drop, self.scale(vectors)))

    def evened(self, vectors: Float[Tensor, "batch heard"]) -> Float[Tensor, "batch heard"]:
        """Return what was heard with its largest numbers brought down, where the network's are far apart."""
        return vectors

    def remember(self, folder: Path) -> None:
        """Know what a file in ``folder`` says was heard before, and write there what is heard from now on."""
        self.file = folder / f"{self.name}~cache.safetensors"
        try:
            said = load_file(self.file)
            self.known.update((bytes(key), value) for key, value in zip(said["keys"], said["vectors"], strict=True))
        except (OSError, SafetensorError, KeyError, ValueError):
            pass  # there is none, or a damaged one, which is written anew
        self.written = len(self.known)

    def write_down(self) -> None:
        """Write what is known into the file that `remember` named; raise DataError where that cannot be."""
        if self.file is None or self.written == len(self.known):
            return
        keys = torch.tensor([list(key) for key in self.known], dtype=torch.uint8)
        try:
            with whole_file(self.file) as temporary:
                save_file({"keys": keys, "vectors": torch.stack(list(self.known.values()))}, temporary)
        except (OSError, SafetensorError) as error:
            raise DataError(f"Cannot write {shown(self.file)}: {error}. Free some space and run again.") from None
        self.written = len(self.known)

    def _hear(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch heard"]:
        return self.network(self.front(waveform))

    def _remembered(self, waveform: Float[Tensor, "batch time"]) -> Float[Tensor, "batch heard"]:
        keys = [hashlib.blake2b(row.contiguous().numpy(), digest_size=16).digest() for row in waveform.detach()]
        new = {key: place for place, key in enumerate(keys) if key not in self.known}
        found = {key: self.known[key] for key in keys if key not in new}
        if new:
            found.update(zip(new, self._hear(waveform[list(new.values())]), strict=True))
            self.known.update((key, found[key]) for key in new)
        while len(self.known) > REMEMBERED:
            del self.known[next(iter(self.known))]
        return torch.stack([found[key] for key in keys])
