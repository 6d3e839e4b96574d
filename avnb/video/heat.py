"""Heat laid over a video at its own size and times, with its own sound, as an MP4.

The work is done on the planes that decoders and encoders use (Y, U, V): half the pixels of red, green and blue, and no
conversion on the way.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from avnb.data.media_files import local_file, open_media
from avnb.errors import DataError
from avnb.metrics.localization import upsample
from avnb.video.decoding import Planes, layout_of, upright_planes
from avnb.video.reader import Media
from avnb.viewing.colours import readable

if TYPE_CHECKING:
    import av

TAGS = ("color_range", "colorspace", "color_trc", "color_primaries")  # what the numbers of a picture mean
WEIGHTS = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 9: (0.2627, 0.0593)}  # of red and blue: BT.709, BT.601, BT.2020
MARK = "avnb.localize_video "  # begins the comment of the films that are written here
HEAT = 0.85  # of a picture that the hottest place hides
GREY = 0.35  # of a picture's colour is left, so that the heat's can be told
LIT = 0.3  # the strength from which a source's name is lit
GRID = 64  # rows and columns on which heat is made before it is enlarged
LEGEND = 0.055  # of the picture's height: a name's line
# A short look-ahead: with the usual one the encoder holds 100 MB of 1080p pictures back.
ENCODER = {"preset": "veryfast", "crf": "23", "x264-params": "rc-lookahead=3:sync-lookahead=0"}
CLOCK = Fraction(1, 90_000)  # the time base of the written pictures, which every frame rate fits


class HeatVideo:
    """An MP4 in the making; use it in a ``with`` block. It has the size of ``picture`` and the sound of ``track``.

    Pictures keep their times, so that a variable frame rate stays one, and their greys and colours mean what they
    meant: range, matrix, primaries and transfer are the original's. ``track`` is an MP4 with the
    sound alone, ``mark`` what `mark_of` finds.
    """

    def __init__(
        self, path: Path, picture: Media, track: Path, mark: str, names: Sequence[str], colours: Sequence[Any]
    ) -> None:
        import av

        self.names, self.rgb = names, colours
        self.size = size = picture.size
        # 4:2:0 needs an even width and height; a video of an odd size keeps it, and all of its colour.
        self.layout = layout_of(size)
        self.file = av.open(local_file(path), "w", format="mp4", options={"movflags": "faststart"})
        self.file.metadata["comment"] = MARK + mark
        self.pictures = self.file.add_stream("libx264", options=dict(ENCODER))
        self.pictures.height, self.pictures.width = size
        self.pictures.pix_fmt = self.layout
        self.pictures.codec_context.time_base = CLOCK
        self.pictures.codec_context.sample_aspect_ratio = picture.aspect
        self.sound = _SoundTrack(self.file, track)
        self.colours: list[tuple[float, float, float]] = []
        self.last = -1

    def __enter__(self) -> "HeatVideo":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.file.mux(self.pictures.encode(None))
            self.sound.write_until(np.inf)
        self.sound.close()
        self.file.close()

    def add(
        self,
        seconds: float,
        frame: "av.VideoFrame",
        maps: Float[np.ndarray, "sources rows columns"],
        strengths: Float[np.ndarray, " sources"],
    ) -> None:
        """Write a picture with the maps over it; a source of strength 0 is not shown, one of strength 1 wholly."""
        import av

        pts = round(seconds / CLOCK)
        if pts <= self.last:
            return
        if not self.colours:  # the first
            for tag in TAGS:
                setattr(self.pictures.codec_context, tag, getattr(frame, tag))
            self.colours = [_luma_and_chroma(colour, frame.color_range, frame.colorspace) for colour in self.rgb]
        if (frame.height, frame.width) != self.size or frame.format.name != self.layout:
            # a stream may change its size on the way
            frame = frame.reformat(width=self.size[1], height=self.size[0], format=self.layout)
        planes = upright_planes(frame, self.layout)
        self._heat(planes, maps, strengths)
        self._legend(planes, strengths)
        written = av.VideoFrame(self.size[1], self.size[0], self.layout)
        for plane, values in zip(written.planes, planes, strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            rows[: values.shape[0], : values.shape[1]] = values
        written.pts, written.time_base, self.last = pts, CLOCK, pts
        for tag in TAGS:
            setattr(written, tag, getattr(frame, tag))
        self.sound.write_until(seconds)
        self.file.mux(self.pictures.encode(written))

    def _heat(self, planes: Planes, maps: np.ndarray, strengths: np.ndarray) -> None:
        """Lay each source's colour over the planes, in place, by its map and its strength."""
        cover = HEAT * strengths[:, None, None] * _relief(maps)
        left = np.prod(1 - cover, axis=0)
        share = cover / np.maximum(cover.sum(axis=0), 1e-6) * (1 - left)  # of each source in what is hidden
        for number, plane in enumerate(planes):
            tint = np.einsum("nhw,n->hw", share, [colour[number] for colour in self.colours])
            if number == 0:
                keeps, adds = _enlarged(255 * left, plane.shape).astype(np.uint16), _enlarged(tint, plane.shape)
                plane[:] = np.minimum((plane * keeps >> 8) + adds, 255)
            else:  # U and V lie around 128, which is no colour
                keeps = _enlarged(255 * GREY * left, plane.shape).astype(np.int16)
                adds = _enlarged(tint + 128 * left, plane.shape)
                plane[:] = (((plane.astype(np.int16) - 128) * keeps >> 8) + adds).clip(0, 255)

    def _legend(self, planes: Planes, strengths: np.ndarray) -> None:
        """Write the sources' names on their colours into the upper left corner; the silent are dim."""
        for number, strength in enumerate(strengths):
            patch = self._badges[number][int(strength >= LIT)]
            step = planes[0].shape[0] // planes[1].shape[0]
            top, left = (4 + number * (patch[0].shape[0] + 2)) // step * step, 4
            for plane, part in zip(planes, patch, strict=True):
                scale = 1 if plane is planes[0] else step
                there = plane[top // scale :, left // scale :][: part.shape[0], : part.shape[1]]
                there[:] = part[: there.shape[0], : there.shape[1]]

    @cached_property
    def _badges(self) -> list[tuple[Planes, Planes]]:
        """Return, for each source, the planes of its name as it is silent and as it sounds."""
        from PIL import Image, ImageDraw, ImageFont

        high = max(12, round(LEGEND * self.size[0])) // 2 * 2
        font = ImageFont.load_default(0.7 * high)
        step, badges = 2 if self.layout == "yuv420p" else 1, []
        for name, (y, u, v) in zip(self.names, self.colours, strict=True):
            kinds = []
            text = readable(name)
            wide = int(font.getlength(text) + 0.7 * high) // 2 * 2 + 2
            for back, ink in (((40, 128, 128), (150, 128, 128)), ((y, u, v), (16 if y > 140 else 235, 128, 128))):
                mask = Image.new("L", (wide, high))
                ImageDraw.Draw(mask).text((0.35 * high, high / 2), text, 255, font, anchor="lm")
                cover = np.asarray(mask, np.float32)[..., None] / 255
                full = np.round(np.array(back) + cover * (np.array(ink) - back)).astype(np.uint8)
                kinds.append((full[..., 0], full[::step, ::step, 1], full[::step, ::step, 2]))
            badges.append(tuple(kinds))
        return badges


class _SoundTrack:
    """A sound on its way into a film, as far as the pictures have come."""

    def __init__(self, file: Any, track: Path) -> None:
        self.file = file
        self.source = open_media(track)
        self.stream = self.source.streams.audio[0]
        self.track = file.add_stream_from_template(self.stream)
        self.waiting = self._packets()
        self.next = next(self.waiting, None)

    def write_until(self, seconds: float) -> None:
        """Write what sounds before ``seconds``."""
        while self.next is not None and self.next[0] <= seconds:
            self.file.mux(self.next[1])
            self.next = next(self.waiting, None)

    def close(self) -> None:
        self.source.close()

    def _packets(self) -> Iterator[tuple[float, Any]]:
        """Yield the packets to be written with the times at which they are heard."""
        for packet in self.source.demux(self.stream):
            if packet.dts is not None and packet.size:
                packet.stream = self.track
                yield float(packet.dts * packet.time_base), packet


def mark_of(path: Path) -> str | None:
    """Return the mark of a film that was written here; None where it is none."""
    import av

    try:
        with open_media(path) as file:
            said = file.metadata.get("comment", "")
    except (DataError, av.FFmpegError):
        return None
    return said.removeprefix(MARK) if said.startswith(MARK) else None


def _relief(maps: Float[np.ndarray, "sources rows columns"]) -> Float[np.ndarray, "sources grid grid"]:
    """Return maps on GRID x GRID, each from its own lowest (0) to its highest value (1), what is low pressed down."""
    large = upsample(torch.from_numpy(np.asarray(maps, np.float32)), (GRID, GRID)).numpy()
    low, high = (edge(large, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    return ((large - low) / np.maximum(high - low, 1e-6)) ** 2


def _enlarged(values: Float[np.ndarray, "rows columns"], shape: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    from PIL import Image

    small = Image.fromarray(np.round(values).clip(0, 255).astype(np.uint8))
    return np.asarray(small.resize(shape[::-1], Image.Resampling.BILINEAR))


def _luma_and_chroma(rgb: Sequence[float], colour_range: int = 0, matrix: int = 2) -> tuple[float, float, float]:
    """Return Y, U and V of red, green and blue in 0..1, in a video's range (2: 0..255, else 16..235) and matrix."""
    red, green, blue = rgb
    of_red, of_blue = WEIGHTS.get(int(matrix), WEIGHTS[2])
    y = of_red * red + (1 - of_red - of_blue) * green + of_blue * blue
    low, luma, chroma = (0, 255, 255) if int(colour_range) == 2 else (16, 219, 224)
    return low + luma * y, 128 + chroma / 2 * (blue - y) / (1 - of_blue), 128 + chroma / 2 * (red - y) / (1 - of_red)
