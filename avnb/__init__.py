"""Find the things in a picture that make the sounds in a mixture."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avnb.video.localize import localize_video

__all__ = ["localize_video"]


def __getattr__(name: str) -> Any:
    """Import ``localize_video`` when it is first asked for: importing avnb itself stays light."""
    if name == "localize_video":
        from avnb.video.localize import localize_video

        return localize_video
    raise AttributeError(f"module 'avnb' has no attribute {name!r}")
