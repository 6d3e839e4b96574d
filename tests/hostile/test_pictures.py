"""Pictures and masks as they come: upright, in the colours that a person sees, or refused; never run or waited for."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avnb.data import media_files
from avnb.data.build import read_frame, read_mask
from avnb.data.media_files import read_picture
from avnb.errors import DataError
from avnb.prepare.decoding import read_picture as read_prepared
from avnb.prepare.mask_files import read_mask_file, unpickle_array

SEEN = np.zeros((40, 20, 3), np.uint8)  # as a person sees it: red above, blue below
SEEN[:20, :, 0] = SEEN[20:, :, 2] = 255
LYING = {1: 0, 8: -1, 3: 2, 6: 1}  # EXIF's orientation: by how many quarter turns it lay, counterclockwise


def lying(path: Path, orientation: int, picture: np.ndarray) -> Path:
    """Write a picture as a camera does that was turned: as it lay, with a note."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(np.rot90(picture, LYING[orientation]))).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("orientation", LYING)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_a_picture_is_upright_wherever_it_is_read(tmp_path, orientation, suffix):
    path = lying(tmp_path / f"x.{suffix}", orientation, SEEN)
    for picture in (np.asarray(read_picture(path)), np.asarray(read_prepared(path))):
        assert picture.shape == SEEN.shape
        assert np.abs(picture.astype(int) - SEEN).mean() < 12  # JPEG's edge
    frame = read_frame(path, 40).transpose(1, 2, 0).astype(int)
    assert frame[5, 20, 0] > 200 > 60 > frame[35, 20, 0]


def test_a_mask_is_upright(tmp_path):
    mask = np.zeros((40, 20), np.uint8)
    mask[:10] = 1
    path = lying(tmp_path / "m.png", 6, mask)
    assert (read_mask(path, 40, 1)[:10] == 1).all()
    assert (read_mask_file(path) == (mask > 0)).all()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_16_bits_of_grey_keep_their_greys(tmp_path, share):
    Image.fromarray(np.full((20, 20), round(share * 65_535), np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(read_picture(tmp_path / "x.png"))[0, 0].tolist() == pytest.approx([255 * share] * 3, abs=1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_lies_on_white(tmp_path, mode):
    picture = Image.new("RGBA", (20, 20), (0, 0, 0, 0))  # black, which nobody sees
    picture.paste((0, 128, 0, 255), (0, 0, 10, 20))
    if mode == "RGB":
        picture.convert("RGB").save(tmp_path / "x.png", transparency=(0, 0, 0))
    elif mode == "P":
        palette = Image.fromarray(np.repeat([[1] * 10 + [0] * 10], 20, 0).astype(np.uint8), mode="P")
        palette.putpalette([0, 0, 0, 0, 128, 0])
        palette.save(tmp_path / "x.png", transparency=0)
    else:
        picture.convert(mode).save(tmp_path / "x.png")
    seen = np.asarray(read_picture(tmp_path / "x.png")).astype(int)
    assert seen[10, 15].tolist() == [255] * 3
    assert seen[10, 5].max() < 140


def test_of_several_pictures_the_first_is_shown(tmp_path):
    for name, kind in (("camera.jpg", "MPO"), ("moving.gif", "GIF"), ("moving.webp", "WEBP"), ("pages.tif", "TIFF")):
        first, second = Image.new("RGB", (64, 48), (30, 120, 60)), Image.new("RGB", (64, 48))
        first.save(tmp_path / name, kind, save_all=True, append_images=[second])
        assert media_files.is_photo(tmp_path / name)
        seen = np.asarray(read_picture(tmp_path / name)).astype(int)
        assert seen.shape == (48, 64, 3)
        assert np.abs(seen[24, 32] - (30, 120, 60)).max() < 8


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n(FILE) (w) file closefile\nshowpage\n"


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.eps"])
def test_ghostscript_is_never_started(tmp_path, monkeypatch, name):
    (tmp_path / "bin").mkdir()
    gs = tmp_path / "bin" / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    (tmp_path / name).write_bytes(POSTSCRIPT)
    for read in (read_picture, read_prepared, lambda path: read_frame(path, 8), lambda path: read_mask(path, 8, 1)):
        with pytest.raises(DataError):
            read(tmp_path / name)
    mask = tmp_path / "m.png"
    mask.write_bytes(POSTSCRIPT)
    with pytest.raises(DataError):
        read_mask_file(mask)
    assert not (tmp_path / "started").exists()


@pytest.mark.timeout(20)
def test_a_pipe_a_device_and_a_circle_of_links_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "endless.png").symlink_to("/dev/zero")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "nowhere.png").symlink_to("nothing.png")
    for name, said in {
        "pipe": "is a pipe",
        "endless": "is a pipe",
        "circle": "cannot be read",
        "nowhere": "is a link",
    }.items():
        for read in (
            read_picture,
            lambda path: read_frame(path, 8),
            lambda path: read_mask(path, 8, 1),
            read_mask_file,
        ):
            with pytest.raises(DataError, match=said):
                read(tmp_path / f"{name}.png")


def test_the_object_of_a_mask_is_what_a_person_sees_as_it(tmp_path):
    inside = np.zeros((40, 40), bool)
    inside[10:20, 10:20] = True

    def check(image: Image.Image, name: str = "m.png", kind: str = "PNG", **how: object) -> None:
        image.save(tmp_path / name, kind, **how)
        assert (read_mask_file(tmp_path / name) == inside).all()

    for ink in (0, 255):  # a cut-out, whatever its colour
        check(Image.fromarray(np.dstack([np.full((40, 40, 3), ink, np.uint8), 255 * inside.astype(np.uint8)])))
    check(
        Image.fromarray(np.dstack([255 * np.repeat(inside[..., None], 3, 2), np.full((40, 40), 255)]).astype(np.uint8))
    )
    palette = Image.fromarray(inside.astype(np.uint8), mode="P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    check(palette)
    check(Image.fromarray(255 * inside.astype(np.uint8)).convert("RGB").quantize(2))
    check(Image.fromarray(inside.astype(np.uint8)))
    check(Image.fromarray(inside))
    check(Image.fromarray(300 * inside.astype(np.uint16)))
    check(Image.fromarray(255 * inside.astype(np.uint8)), kind="JPEG", quality=90)


def test_a_mask_that_does_not_tell_the_object_is_refused(tmp_path):
    half = np.zeros((40, 40), np.uint8)
    half[:, :20] = 1
    palette = Image.fromarray(half, mode="P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(tmp_path / "m.png")
    with pytest.raises(DataError, match="does not tell the object"):
        read_mask_file(tmp_path / "m.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40), np.uint8)).save(tmp_path / "n.png", "JPEG")
    with pytest.raises(DataError, match="compressed with loss"):
        read_mask_file(tmp_path / "n.png")
    Image.fromarray(half).save(tmp_path / "numbers.jpg")
    with pytest.raises(DataError, match="compressed with loss"):
        read_mask(tmp_path / "numbers.jpg", 8, 1)


def test_nothing_else_opens_a_picture_or_a_film():
    """What comes from elsewhere passes one door: other files of the package write films, or read their own."""
    root = Path(media_files.__file__).resolve().parents[1]
    for path in root.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.name != "media_files.py":
            assert "Image.open(" not in text, path
            assert all('"w"' in line for line in text.splitlines() if "av.open(" in line), path


@pytest.mark.timeout(20)
@pytest.mark.parametrize("instructions", [b"(" * 200_000 + b"t" * 200_000, b"(" + b"()t" * 200_000, b"K\1" * 500_000])
def test_a_pickle_without_end_is_given_up_soon(instructions):
    """Every tuple is looked for from the top: without a limit 300 kB took a minute."""
    with pytest.raises(DataError, match="not a pickled array"):
        unpickle_array(b"\x80\2" + instructions + b".")
