"""The one door for pictures, sounds and films: what may be opened at all, and how it is to be seen.

Only a local, regular file is opened, and only as something that holds its own media: play lists and the like make a
decoder open other files or addresses, and a PostScript picture starts Ghostscript. Nothing else in this package calls
``av.open`` or ``Image.open`` on a file that it has not written itself.

PyAV's releases differ. av 18 gives ratios as ``Fraction`` and must be told to pass over titles that are no UTF-8;
av 19 gives ``AVRational``, 0 where a file says nothing, and keeps such titles as they are. ``Fraction(ratio or 1)`` is
right for both.
"""

import functools
import os
import stat
import threading
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from avnb.errors import DataError

if TYPE_CHECKING:
    import av
    from PIL import Image

# What FFmpeg may take a file for: all that holds pictures or sound and names no other file.
CONTAINERS = (
    "aa,aac,ac3,ac4,aiff,amr,amrnb,amrwb,ape,asf,asf_o,au,av1,avi,avs2,avs3,caf,dff,dirac,dsf,dts,dtshd,dv,eac3,evc,"
    "flac,flv,gsm,gxf,h261,h263,h264,hevc,iamf,ivf,live_flv,loas,m4v,matroska,webm,mjpeg,mlp,mov,mp4,m4a,3gp,3g2,mj2,"
    "mp3,mpc,mpc8,mpeg,mpegts,mpegvideo,mxf,nsv,nut,obu,ogg,oma,rm,smjpeg,sox,swf,tak,truehd,tta,vc1,vc1test,voc,vvc,"
    "w64,wav,wtv,wv,xwma,yuv4mpegpipe"
)
# What Pillow may take a file for: all that it decodes itself. (EPS starts Ghostscript.)
PICTURES = ("JPEG", "PNG", "AVIF", "BMP", "DIB", "GIF", "JPEG2000", "MPO", "PPM", "TIFF", "WEBP")
LOSSY = ("AVIF", "JPEG", "JPEG2000", "MPO", "WEBP")
PIXELS = 89_478_485  # of a picture or a frame, as Pillow counts a bomb; a broken header may ask for any number
FILMS_OF_JPEGS = (".mjpg", ".mjpeg")  # begin as a photo does
_HEIF = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis"}


_first_time = threading.Lock()


@functools.cache
def _formats() -> list[str]:
    """Return which of PICTURES this Pillow knows; its plugins are loaded by one thread, for all."""
    from PIL import Image

    with _first_time:
        Image.init()
    return [name for name in PICTURES if name in Image.OPEN]


def why_unusable(path: str | Path) -> str:
    """Return why ``path`` is no file that can be read ("does not exist", say); "" where it is one.

    A pipe would be waited for, and a device may have no end.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return f"is a link to {os.readlink(path)}, where there is nothing" if os.path.islink(path) else "does not exist"
    except (OSError, ValueError) as error:  # a circle of links, a name that is too long; a NUL in the name
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if stat.S_ISDIR(found.st_mode):
        return "is a folder"
    if not stat.S_ISREG(found.st_mode):
        return "is a pipe, a socket or a device, not a file"
    return "" if os.access(path, os.R_OK) else "cannot be read: Permission denied"


def open_media(path: str | Path, **options: Any) -> "av.container.InputContainer":
    """Open a film or a sound for reading, whatever its titles and names are written in.

    Raises DataError, which names no file, where it is none that may be opened, and av.FFmpegError where FFmpeg says so.
    """
    import av

    if why := why_unusable(path):
        raise DataError(f"it {why}")
    if int(av.__version__.partition(".")[0]) < 19:
        options["metadata_errors"] = "ignore"
    whitelists = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    return av.open(local_file(path), container_options=whitelists, **options)


def local_file(path: str | Path) -> str:
    """Return a path as FFmpeg takes it for a file, to read or to write.

    Else what stands before a colon in its name is taken for a protocol.
    """
    return f"file:{os.path.abspath(path)}"


def picture_stream(container: "av.container.InputContainer", empty: Container[int] = ()) -> "av.VideoStream | None":
    """Return the video stream that a player would show; no album cover, and none without pictures.

    ``empty`` are the streams that are known to hold nothing, whatever the file says.

    Raises DataError where the pictures are the tiles of one.
    """
    from av.stream import Disposition

    streams = container.streams.video
    if any(found.disposition & Disposition.dependent for found in streams):
        raise DataError("it is a photo in tiles (HEIC), which are not put together; save it as JPEG or PNG")
    return _preferred((found for found in streams if not found.disposition & Disposition.attached_pic), empty)


def sound_stream(container: "av.container.InputContainer", empty: Container[int] = ()) -> "av.AudioStream | None":
    """Return the audio stream that a player would play: one that can be decoded and is not empty, the default first."""
    return _preferred(container.streams.audio, empty)


def _preferred(streams: Iterable[Any], empty: Container[int]) -> Any:
    """Return the first of the streams that can be decoded (phones add some that only they understand), hold anything
    as far as the file says, and are there by default, as far as there is such a one.
    """
    from av.stream import Disposition

    known = [found for found in streams if found.codec_context is not None and found.index not in empty]
    filled = any(found.frames for found in known)
    rank = {found.index: (filled and not found.frames, not found.disposition & Disposition.default) for found in known}
    return min(known, key=lambda found: rank[found.index], default=None)


def is_photo(path: str | Path) -> bool:
    """Tell whether a file is a still picture that Pillow decodes (the first, where it holds several)."""
    from PIL import Image, UnidentifiedImageError

    if os.fspath(path).lower().endswith(FILMS_OF_JPEGS) or why_unusable(path):
        return False
    try:
        with Image.open(path, formats=_formats()):
            return True
    except UnidentifiedImageError:
        return False
    except Exception:  # damaged: reading it says how
        return True


def is_heif(path: str | Path) -> bool:
    """Tell whether a file is a photo in the format of phones, which FFmpeg takes for a film of one picture."""
    with open(path, "rb") as file:
        start = file.read(12)
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF


def read_picture(path: str | Path, shorter: int = 0, smallest: int = 1) -> "Image.Image":
    """Decode a picture, the first where a file holds several, as a person is shown it: upright, 8 bits of RGB.

    What is transparent lies on white, and 16 bits of grey are 8. With ``shorter``, a JPEG may come smaller, its shorter
    side at least twice so many pixels. Raises DataError in words that follow the file's name: not a picture, damaged,
    a side of less than ``smallest`` pixels, or more than PIXELS.
    """
    with _decoded(path, "picture") as image:
        if min(image.size) < smallest:
            raise DataError(f"is {image.width} x {image.height} pixels; {smallest} are needed")
        if shorter:
            share = min(1.0, 2 * shorter / min(image.size))
            image.draft("RGB", tuple(max(1, round(share * side)) for side in image.size))
        return as_rgb(upright(image))


@contextmanager
def _decoded(path: str | Path, what: str) -> Iterator["Image.Image"]:
    """Open a picture's file; whatever is wrong with it or with its decoding becomes a DataError."""
    from PIL import Image

    if why := why_unusable(path):
        raise DataError("is missing" if why == "does not exist" else why)
    try:
        with Image.open(path, formats=_formats()) as image:
            if image.width * image.height > PIXELS:
                raise DataError(f"is {image.width} x {image.height} pixels; at most {PIXELS:,} are read")
            yield image
    except DataError:
        raise
    except Exception as error:  # Pillow raises many types on damaged files
        raise DataError(f"is not a {what} that can be decoded ({type(error).__name__})") from None


def upright(image: "Image.Image") -> "Image.Image":
    """Return a picture turned as its camera noted that it lay; one whose notes are damaged stays as it is."""
    from PIL import ImageOps

    image.load()
    with suppress(Exception):  # which Pillow raises of many types
        ImageOps.exif_transpose(image, in_place=True)
    return image


def as_rgb(image: "Image.Image") -> "Image.Image":
    """Return a picture in RGB: 16 bits of grey as 8, and what is transparent on white; raise DataError else."""
    from PIL import Image

    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.int64)
        if grey.min(initial=0) < 0 or grey.max(initial=0) > 65_535:
            raise DataError("holds whole numbers that are no greys of 16 bits")
        image = Image.fromarray(((grey * 255 + 32_767) // 65_535).astype(np.uint8))
    elif image.mode == "F":
        raise DataError("holds numbers, not greys or colours")
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
    return image.convert("RGB")


def read_mask_picture(path: str | Path) -> "Image.Image":
    """Decode a mask, upright, its numbers as they are; ``info["lossy"]`` says whether its compression changes them.

    Raises DataError in words that follow the file's name.
    """
    with _decoded(path, "mask") as image:
        lossy = image.format in LOSSY
        image = upright(image)
        image.info["lossy"] = lossy
        return image
