"""Opening a media file with PyAV, whose releases differ: the one place that knows how.

av 18 gives ratios as ``Fraction`` and must be told to pass over titles that are no UTF-8; av 19 gives ``AVRational``,
0 where a file says nothing, and keeps such titles as they are. ``Fraction(ratio or 1)`` is right for both.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av


def open_media(path: str | Path, **options: Any) -> "av.container.InputContainer":
    """Open a file for reading, whatever its titles and names are written in; raise av.FFmpegError where it is none."""
    import av

    if int(av.__version__.partition(".")[0]) < 19:
        options["metadata_errors"] = "ignore"
    return av.open(str(path), **options)
