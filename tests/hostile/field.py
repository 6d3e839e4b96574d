"""Small films and sounds that are awkward in the ways in which files from the field are, made with PyAV alone."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 44_100


def sine(seconds: float, rate: int = RATE, channels: int = 1, pitch: float = 440.0) -> np.ndarray:
    """A tone, [channels, samples]."""
    return np.tile(0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate), (channels, 1)).astype(
        "f4"
    )


def write(
    path: Path,
    seconds: float = 2.0,
    sound: np.ndarray | Sequence[np.ndarray] | None = None,
    rate: int = RATE,
    layout: str = "mono",
    codecs: tuple[str, str] = ("libx264", "aac"),
    start: float = 0.0,
    gop: int = 12,
    picture: np.ndarray | None = None,
    container: dict[str, str] | None = None,
    title: str = "",
    default: int | None = None,
    **video_options: str,
) -> Path:
    """Write a film of 25 pictures a second, each as grey as its number.

    ``start`` is its first time stamp, ``default`` which of several sounds players play.
    """
    sounds = [sine(seconds, rate)] if sound is None else [sound] if isinstance(sound, np.ndarray) else list(sound)
    with av.open(str(path), "w", options=container or {}) as file:
        file.metadata["title"] = title
        video = file.add_stream(codecs[0], rate=25)
        video.height, video.width = (48, 64) if picture is None else picture.shape[:2]
        video.pix_fmt = "yuv420p"
        video.codec_context.gop_size = gop
        video.options = ({"preset": "ultrafast"} if codecs[0] == "libx264" else {}) | video_options
        tracks = [file.add_stream(codecs[1], rate=rate, layout=layout) for _ in sounds]
        if default is not None:
            for number, track in enumerate(tracks):
                track.disposition = av.stream.Disposition.default if number == default else 0
        shift = round(start * 25)
        kind = tracks[0].codec_context.codec.audio_formats[0].name if tracks else ""
        for number in range(round(25 * seconds)):
            grey = np.full((48, 64, 3), 40 + 4 * (number % 40), np.uint8) if picture is None else picture
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = number + shift, Fraction(1, 25)
            file.mux(video.encode(frame))
            for track, values in zip(tracks, sounds, strict=True):
                begin, end = (round(edge * rate / 25) for edge in (number, number + 1))
                if end <= values.shape[1]:
                    part = np.ascontiguousarray(values[:, begin:end].T).reshape(1, -1)
                    piece = av.AudioFrame.from_ndarray(part, "flt", layout)
                    piece.sample_rate, piece.pts, piece.time_base = rate, begin + round(start * rate), Fraction(1, rate)
                    for made in av.AudioResampler(kind, layout, rate).resample(piece):
                        file.mux(track.encode(made))
        for stream in (video, *tracks):
            file.mux(stream.encode(None))
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Write files one behind the other, as ``cat`` does."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut_without_encoding(source: Path, path: Path, begin: float, seconds: float) -> Path:
    """Copy the packets from the keyframe before ``begin`` on, as ``ffmpeg -ss BEGIN -c copy`` does: pictures before it
    are in the file, and an edit list hides them."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        old.seek(int(begin * av.time_base))
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        for packet in old.demux():
            if packet.dts is None or packet.pts * packet.time_base > begin + seconds:
                continue
            if packet.stream.type == "audio" and packet.pts * packet.time_base < begin:
                continue
            shift = round(Fraction(begin) / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
    return path


def without_length(path: Path) -> Path:
    """Make a FLAC file as an encoder writes it that does not know how long it will be."""
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0  # the 36 bits of the number of samples in STREAMINFO
    data[22:26] = bytes(4)
    path.write_bytes(data)
    return path


def box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + kind + body


def photo_in_tiles(path: Path) -> Path:
    """Write a HEIC photo of 256 x 256 pixels in four tiles, as phones write theirs."""

    def full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
        return box(kind, struct.pack(">I", version << 24 | flags), *parts)

    def find(data: bytes, kind: bytes) -> bytes:
        at = data.index(kind)
        (size,) = struct.unpack(">I", data[at - 4 : at])
        return data[at + 4 : at - 4 + size]

    tiles, config = [], b""
    for grey in (50, 100, 150, 200):
        tile = path.with_suffix(".mp4")
        with av.open(str(tile), "w") as file:
            video = file.add_stream("libx265", rate=25, options={"x265-params": "log-level=none"})
            video.height = video.width = 128
            video.pix_fmt, video.codec_context.codec_tag = "yuv420p", "hvc1"
            file.mux(video.encode(av.VideoFrame.from_ndarray(np.full((128, 128, 3), grey, np.uint8), "rgb24")))
            file.mux(video.encode(None))
        config = config or find(tile.read_bytes(), b"hvcC")
        tiles.append(find(tile.read_bytes(), b"mdat"))
        tile.unlink()
    grid, ids = bytes([0, 0, 1, 1]) + struct.pack(">HH", 256, 256), [1, 2, 3, 4]
    ftyp = box(b"ftyp", b"heic", struct.pack(">I", 0), b"mif1heic")

    def meta(offset: int) -> bytes:
        infe = [full(b"infe", 2, 1, struct.pack(">HH", k, 0), b"hvc1", b"\0") for k in ids]
        infe.append(full(b"infe", 2, 0, struct.pack(">HH", 5, 0), b"grid", b"\0"))
        iref = full(b"iref", 0, 0, box(b"dimg", struct.pack(">HH4H", 5, 4, *ids)))
        sizes = [full(b"ispe", 0, 0, struct.pack(">II", side, side)) for side in (128, 256)]
        ipco = box(b"ipco", box(b"hvcC", config), *sizes)
        used = [struct.pack(">HBBB", k, 2, 0x81, 2) for k in ids] + [struct.pack(">HBB", 5, 1, 3)]
        ipma, places, at = full(b"ipma", 0, 0, struct.pack(">I", 5), *used), [], offset
        for k, tile in zip(ids, tiles, strict=True):
            places.append(struct.pack(">HHHHII", k, 0, 0, 1, at, len(tile)))
            at += len(tile)
        places.append(struct.pack(">HHHHII", 5, 1, 0, 1, 0, len(grid)))
        iloc = full(b"iloc", 1, 0, bytes([0x44, 0x00]), struct.pack(">H", 5), *places)
        handler = full(b"hdlr", 0, 0, struct.pack(">I", 0), b"pict", bytes(12), b"\0")
        iinf = full(b"iinf", 0, 0, struct.pack(">H", 5), *infe)
        primary = full(b"pitm", 0, 0, struct.pack(">H", 5))
        return full(b"meta", 0, 0, handler, primary, iloc, iinf, iref, box(b"iprp", ipco, ipma), box(b"idat", grid))

    start = len(ftyp) + len(meta(0)) + 8
    path.write_bytes(ftyp + meta(start) + box(b"mdat", *tiles))
    return path
