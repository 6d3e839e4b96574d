"""Thousands of damaged and hostile inputs: nothing may crash, hang, or raise what is no sentence.

``make fuzz N=5000`` prints a seed; ``make fuzz N=5000 SEED=...`` tries the same again. Inputs are films, sounds,
pictures, masks, annotations, prepared folders and stores: small good ones, with bytes changed, cut, repeated and put
together.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SLOWEST = 60.0  # seconds that an input may take


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Return bytes with something done to them: changed, cut, repeated, filled, or put in front of others."""
    data, kind = bytearray(data), chance.randrange(6)
    if not data:
        return b"\0"
    if kind == 0:
        for _ in range(chance.choice((1, 3, 30))):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == 1:
        del data[chance.randrange(len(data)) :]
    elif kind == 2:
        begin = chance.randrange(len(data))
        data[begin:begin] = data[: chance.randrange(1, len(data) + 1)]
    elif kind == 3:
        begin, length = chance.randrange(len(data)), chance.choice((1, 4, 8, 64))
        data[begin : begin + length] = chance.choice((b"\0", b"\xff", b"\x7f")) * length
    elif kind == 4:
        begin = chance.randrange(min(len(data), 256))
        data[begin : begin + 4] = chance.randbytes(4)
    else:
        data += data[chance.randrange(len(data)) :]
    return bytes(data)


def samples(folder: Path) -> dict[str, list[Path]]:
    """Write small good files of every kind."""
    import soundfile
    from field import sine, write
    from PIL import Image

    films = [
        write(folder / f"film.{suffix}", 1.0, sine(1, 48_000), 48_000, codecs=codecs)
        for suffix, codecs in (
            ("mp4", ("libx264", "aac")), ("webm", ("libvpx", "libopus")), ("avi", ("mpeg4", "libmp3lame")),
            ("ts", ("libx264", "aac")), ("mpg", ("mpeg2video", "mp2")), ("mkv", ("mpeg4", "pcm_s16le")),
        )
    ]  # fmt: skip
    for name in ("a.wav", "a.flac", "a.ogg"):
        soundfile.write(folder / name, sine(1, 8000)[0], 8000)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8))
    for name in ("p.png", "p.jpg", "p.webp", "p.gif", "p.tif", "p.bmp"):
        picture.save(folder / name)
    Image.fromarray(np.eye(24, dtype=np.uint8)).save(folder / "m.png")
    np.save(folder / "m.npy", np.eye(24))
    (folder / "m.pkl").write_bytes(__import__("pickle").dumps(np.eye(24)))
    return {
        "films": films,
        "sounds": [folder / name for name in ("a.wav", "a.flac", "a.ogg")],
        "pictures": sorted(folder.glob("p.*")),
        "masks": [folder / name for name in ("m.png", "m.npy", "m.pkl")],
    }


def ways() -> dict[str, list[Callable[[Path], Any]]]:
    """Return how each kind of file is read in this package."""
    from avnb.data.build import read_frame, read_mask, read_waveform
    from avnb.data.media_files import read_picture
    from avnb.data.store import ClipShape
    from avnb.prepare.mask_files import read_mask_file
    from avnb.video.reader import frames, look_at, read_sound

    def watch(path: Path) -> Any:
        media = look_at(path)
        return media.size and not media.photo and [seconds for seconds, _ in frames(media)]

    def listen(path: Path) -> Any:
        media = look_at(path)
        return media.has_sound and len(read_sound(media, 8000))

    return {
        "films": [watch, listen],
        "sounds": [listen, lambda path: read_waveform(path, 0.0, ClipShape(16, 8000, 1.0))],
        "pictures": [read_picture, lambda path: read_frame(path, 16), look_at],
        "masks": [read_mask_file, lambda path: read_mask(path, 16, 1)],
    }


def tables(chance: random.Random) -> bytes:
    """Return a line of metadata with something odd in it."""
    odd = [
        "../../x",
        "/etc/passwd",
        "\x1b[2J",
        "<img src=x onerror=alert(1)>",
        "$$",
        1e308,
        -1,
        None,
        [],
        {},
        "x" * 9999,
    ]
    row = {
        "id": "a", "split": "test", "subset": "solo", "file_name": "frames/a.png", "audio": "audio/a.wav", "start": 0.0,
        "objects": [{"label": "bell", "xyxy": [0.1, 0.1, 0.5, 0.5]}], "labels": ["bell"], "video": "v", "mask": None,
    }  # fmt: skip
    row[chance.choice(list(row))] = chance.choice(odd)
    text = json.dumps(row).encode()
    return damaged(text, chance) if chance.random() < 0.3 else text


def main() -> int:
    """Try the inputs and return 0 where nothing was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=None)
    said = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if said.seed is None else said.seed
    print(f"{said.count:,} inputs, seed {seed}", flush=True)
    sys.path.append(str(ROOT / "tests" / "hostile"))
    from avnb.data.folder import read_rows
    from avnb.errors import AvnbError

    wrong, counts, folder = [], Counter(), Path(tempfile.mkdtemp(prefix="avnb-fuzz-"))
    try:
        good, readers = samples(folder), ways()
        for number in range(said.count):
            chance = random.Random(f"{seed}-{number}")
            kind = chance.choice([*good, "tables"])
            if kind == "tables":
                path, read = folder / "set" / "metadata.jsonl", lambda path: list(read_rows(path.parent, ["bell"]))
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(tables(chance))
            else:
                source = chance.choice(good[kind])
                path, read = folder / f"x{source.suffix}", chance.choice(readers[kind])
                path.write_bytes(damaged(source.read_bytes(), chance))
            begun = time.monotonic()
            try:
                read(path)
                counts[kind, "read"] += 1
            except AvnbError:
                counts[kind, "refused"] += 1
            except Exception as error:
                wrong.append(f"input {number} ({kind}, {path.name}): {type(error).__name__}: {error}")
            if time.monotonic() - begun > SLOWEST:
                wrong.append(f"input {number} ({kind}, {path.name}): took {time.monotonic() - begun:.0f} s")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for (kind, end), count in sorted(counts.items()):
        print(f"{kind}: {count:,} {end}")
    print("\n".join(wrong) or "nothing was wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
