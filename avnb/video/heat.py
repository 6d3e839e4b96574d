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

from avnb.data.media_files import open_media
from avnb.metrics.localization import upsample
from avnb.video.reader import Media, Planes, sound_stream, upright_planes

if TYPE_CHECKING:
    import av

COPIED = ("aac", "mp3", "ac3", "eac3", "opus", "flac", "alac")  # sounds that an MP4 carries as they are
LAYOUTS = {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}  # a WAV need not say
HEAT = 0.85  # of a picture that the hottest place hides
GREY = 0.35  # of a picture's colour is left, so that the heat's can be told
LIT = 0.3  # the strength from which a source's name is lit
GRID = 64  # rows and columns on which heat is made before it is enlarged
LEGEND = 0.055  # of the picture's height: a name's line
# A short look-ahead: with the usual one the encoder holds 100 MB of 1080p pictures back.
ENCODER = {"preset": "veryfast", "crf": "23", "x264-params": "rc-lookahead=3:sync-lookahead=0"}
CLOCK = Fraction(1, 90_000)  # the time base of the written pictures, which every frame rate fits


class HeatVideo:
    """An MP4 in the making; use it in a ``with`` block. It has the size of ``picture`` and the sound of ``sound``.

    Pictures keep their times, so that a variable frame rate stays one. The sound's packets are copied where MP4
    can carry them and turned into AAC otherwise.
    """

    def __init__(self, path: Path, picture: Media, sound: Media, names: Sequence[str], colours: Sequence[Any]) -> None:
        import av

        self.names, self.colours = names, [_luma_and_chroma(colour) for colour in colours]
        self.size = size = picture.size
        # 4:2:0 needs an even width and height; a video of an odd size keeps it, and all of its colour.
        self.layout = "yuv420p" if not (size[0] % 2 or size[1] % 2) else "yuv444p"
        self.file = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        self.pictures = self.file.add_stream("libx264", options=dict(ENCODER))
        self.pictures.height, self.pictures.width = size
        self.pictures.pix_fmt = self.layout
        self.pictures.codec_context.time_base = CLOCK
        self.pictures.codec_context.sample_aspect_ratio = picture.aspect
        self.sound = _SoundTrack(self.file, sound)
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
        planes = upright_planes(frame, self.layout)
        if planes[0].shape != self.size:  # a stream may change its size on the way
            planes = upright_planes(frame.reformat(width=self.size[1], height=self.size[0]), self.layout)
        self._heat(planes, maps, strengths)
        self._legend(planes, strengths)
        written = av.VideoFrame(self.size[1], self.size[0], self.layout)
        for plane, values in zip(written.planes, planes, strict=True):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            rows[: values.shape[0], : values.shape[1]] = values
        written.pts, written.time_base, self.last = pts, CLOCK, pts
        written.color_range, written.colorspace = frame.color_range, frame.colorspace
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
            text = name.replace("_", " ")
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
    """The sound of a file on its way into another, as far as the pictures have come."""

    def __init__(self, file: Any, media: Media) -> None:
        self.file, self.start = file, media.start
        self.source = open_media(media.path)
        self.stream = sound_stream(self.source)
        context = self.stream.codec_context
        self.copies = context.codec.canonical_name in COPIED
        if self.copies:
            self.track = file.add_stream_from_template(self.stream)
        else:
            layout = LAYOUTS.get(context.layout.name, context.layout.name)
            self.track = file.add_stream("aac", rate=min(context.sample_rate, 48_000), layout=layout)
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
        import av

        packets = self.source.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:  # the file breaks off, which its reader has noted
                packet = None
            if packet is None:
                break
            yield from self._copied(packet) if self.copies else self._encoded(packet)
        if not self.copies:
            yield from ((np.inf, packet) for packet in self.track.encode(None))

    def _copied(self, packet: Any) -> Iterator[tuple[float, Any]]:
        if packet.dts is None:
            return
        shift = round(Fraction(self.start) / packet.time_base)
        packet.dts, packet.pts = packet.dts - shift, (packet.dts if packet.pts is None else packet.pts) - shift
        packet.stream = self.track
        yield float(packet.dts * packet.time_base), packet

    def _encoded(self, packet: Any) -> Iterator[tuple[float, Any]]:
        import av

        try:
            decoded = packet.decode()
        except av.FFmpegError:
            return
        for frame in decoded:
            seconds = 0.0 if frame.time is None else frame.time - self.start
            if frame.pts is not None:
                frame.pts -= round(Fraction(self.start) / frame.time_base)
            yield from ((seconds, done) for done in self.track.encode(frame))


def _relief(maps: Float[np.ndarray, "sources rows columns"]) -> Float[np.ndarray, "sources grid grid"]:
    """Return maps on GRID x GRID, each from its own lowest (0) to its highest value (1), what is low pressed down."""
    large = upsample(torch.from_numpy(np.asarray(maps, np.float32)), (GRID, GRID)).numpy()
    low, high = (edge(large, axis=(1, 2), keepdims=True) for edge in (np.min, np.max))
    return ((large - low) / np.maximum(high - low, 1e-6)) ** 2


def _enlarged(values: Float[np.ndarray, "rows columns"], shape: tuple[int, int]) -> UInt8[np.ndarray, "height width"]:
    from PIL import Image

    small = Image.fromarray(np.round(values).clip(0, 255).astype(np.uint8))
    return np.asarray(small.resize(shape[::-1], Image.Resampling.BILINEAR))


def _luma_and_chroma(rgb: Sequence[float]) -> tuple[float, float, float]:
    """Return Y, U and V, 16..235 and around 128 (BT.601), of red, green and blue in 0..1."""
    red, green, blue = rgb
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return 16 + 219 * y, 128 + 126.0 * (blue - y), 128 + 160.0 * (red - y)
