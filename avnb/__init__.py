"""Find the things in a picture that make the sounds in a mixture."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avnb.models import METHODS
    from avnb.training.trained import load
    from avnb.video.localize import localize_video

# OpenMP's threads spin while they wait for each other. Where another process is busy on the same cores that takes away
# what they wait for, down to a fifteenth of the speed; told to sleep soon, they cost nothing on a quiet machine.
# It is read when torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")

__all__ = ["METHODS", "__version__", "load", "localize_video"]

HOMES = {"METHODS": "avnb.models", "load": "avnb.training.trained", "localize_video": "avnb.video.localize"}


def __getattr__(name: str) -> Any:
    """Import what avnb offers when it is first asked for: importing avnb itself stays light."""
    if name in HOMES:
        return getattr(import_module(HOMES[name]), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("avnb")
    raise AttributeError(f"module 'avnb' has no attribute {name!r}")
