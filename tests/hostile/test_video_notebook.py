"""Notebook 13 with files that have nothing to localize: its first cell says so, before anything is made."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from field import RATE, sine, write
from PIL import Image

from avnb.errors import DataError

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "13_your_own_video.ipynb"


def song(path: Path) -> Path:
    """Write a sound with its cover, as shops sell them: the cover is a stream of pictures, and no film."""
    with av.open(str(path), "w", format="mp4") as file:
        cover = file.add_stream("mjpeg", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = file.add_stream("aac", rate=RATE, layout="mono")
        file.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "rgb24")))
        file.mux(cover.encode(None))
        piece = av.AudioFrame.from_ndarray(sine(1), "fltp", "mono")
        piece.sample_rate = RATE
        file.mux(sound.encode(piece))
        file.mux(sound.encode(None))
    return path


def silent_film(path: Path) -> Path:
    return write(path, 1.0, [])


def photo(path: Path) -> Path:
    Image.new("RGB", (64, 48)).save(path)
    return path


def text(path: Path) -> Path:
    path.write_text("no film at all")
    return path


def sound_alone(path: Path) -> Path:
    soundfile.write(path, sine(1)[0], RATE)
    return path


@pytest.mark.parametrize(
    ("make", "name", "said"),
    [
        (song, "song.m4a", "has no picture"),
        (sound_alone, "song.wav", "has no picture"),
        (silent_film, "film.mp4", "has no sound"),
        (photo, "photo.png", "is a photo, and sound is what is localized"),
        (text, "film.mp4", "film.mp4"),
        (Path, "missing.mp4", "missing.mp4"),
        (lambda path: path.parent, "", "folder"),
    ],
)
def test_a_file_without_sound_or_picture_is_refused_before_anything_is_made(workspace, tmp_path, make, name, said):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    (tmp_path / "files").mkdir()
    namespace = {}
    exec("".join(cells[0]["source"]), namespace)
    namespace |= {"video": str(make(tmp_path / "files" / name)), "device": "cpu"}
    with pytest.raises(DataError, match=said):
        exec("".join(cells[1]["source"]), namespace)
    assert not list((workspace / "data").iterdir())
    assert not list((workspace / "outputs").iterdir())


def test_a_sound_that_is_none_is_refused_too(workspace, tmp_path):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    namespace = {}
    exec("".join(cells[0]["source"]), namespace)
    namespace |= {"video": str(photo(tmp_path / "a.png")), "sound": str(photo(tmp_path / "b.png")), "device": "cpu"}
    with pytest.raises(DataError, match="named as the sound, has no sound"):
        exec("".join(cells[1]["source"]), namespace)
    assert not list((workspace / "data").iterdir())
