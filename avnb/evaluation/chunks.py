"""How many images are held at once, by device."""

from collections.abc import Iterator

import torch

ON_CPU = 12  # three sources side by side take 0.8 GB at 24
ON_GPU = 256  # a dozen would leave it waiting


def chunks(count: int, device: torch.device | str, on_cpu: int | None = None) -> Iterator[slice]:
    """Yield the slices in which ``count`` images are gone through on ``device``."""
    step = (on_cpu or ON_CPU) if torch.device(device).type == "cpu" else ON_GPU
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
