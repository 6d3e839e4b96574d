"""200 damaged inputs: none crashes or hangs the command, none runs code, and each that is unusable is named.

Media are cut short, zeroed in a stretch, or have bits flipped, a folder of them at a time; of annotation files each is
a call of its own. A damaged file that is read to the end all the same must have given clips that can be decoded.
"""

import json
import os
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from films import film, recording, still

from avnb.data.build import read_frame, read_waveform
from avnb.data.folder import read_info, read_rows
from avnb.data.store import ClipShape
from avnb.errors import DataError
from avnb.prepare import command as prepare
from avnb.prepare.mask_files import unpickle_array

pytestmark = pytest.mark.smoke

EACH = 25  # of each of eight kinds: mp4, wav, jpg, json, jsonl, csv, xml, pickle
BOX = (0.125, 0.25, 0.5, 0.75)
SHAPE = ClipShape(64, 8000, 0.5)


def damage(data: bytes, number: int) -> bytes:
    """Cut short, zero a stretch, or flip bits, in turn."""
    draw, spoiled = random.Random(number), bytearray(data)
    if number % 3 == 0:
        return bytes(spoiled[: draw.randrange(len(spoiled))])
    if number % 3 == 1:
        start = draw.randrange(len(spoiled))
        spoiled[start : start + max(8, len(spoiled) // 4)] = bytes(
            len(spoiled[start : start + max(8, len(spoiled) // 4)])
        )
    else:
        for _ in range(max(1, len(spoiled) // 200)):
            spoiled[draw.randrange(len(spoiled))] ^= 1 << draw.randrange(8)
    return bytes(spoiled)


def arguments(name: str, media: Path, out: Path, *more: object) -> list[str]:
    return [str(part) for part in (name, "--videos", media, "--out", out, "--seconds", 0.5, "--workers", 2, *more)]


def check_all_are_named_or_whole(out: Path, clips: list[str]) -> None:
    """Every damaged clip is in the report, or what was made of it can be decoded; the rest was made."""
    report, rows = (out / "report.txt").read_text(), {row.id: row for row in read_rows(out, read_info(out).classes)}
    for clip in clips:
        made = [row for name, row in rows.items() if name == clip or name.startswith(f"{clip}_")]
        assert made or clip.removeprefix("drum-") in report, clip
        for row in made:
            read_frame(out / row.frame, SHAPE.size)
            read_waveform(out / row.audio, row.start, SHAPE)


def test_damaged_videos(tmp_path):
    media = tmp_path / "media"
    good = film(media / "drum/good.mp4", (), 1).read_bytes()
    for number in range(EACH):
        (media / f"drum/bad{number}x.mp4").write_bytes(damage(good, number))
    assert prepare.main(arguments("folder", media, tmp_path / "out")) == 0
    check_all_are_named_or_whole(tmp_path / "out", [f"drum-bad{number}x" for number in range(EACH)] + ["drum-good"])
    report = (tmp_path / "out/report.txt").read_text()
    assert sum(f"bad{number}x.mp4: " in report for number in range(EACH)) > EACH / 2


def test_damaged_sounds_and_pictures(tmp_path):
    media = tmp_path / "media"
    sound, picture = (
        recording(media / "audio/drum/good.wav", 1).read_bytes(),
        still(media / "frames/drum/good.jpg").read_bytes(),
    )
    for number in range(EACH):
        for kind, wav, jpg in (("wav", damage(sound, number), picture), ("jpg", sound, damage(picture, number))):
            (media / f"audio/drum/{kind}{number}x.wav").write_bytes(wav)
            (media / f"frames/drum/{kind}{number}x.jpg").write_bytes(jpg)
    assert prepare.main(arguments("folder", media, tmp_path / "out")) == 0
    clips = [f"drum-{kind}{number}x" for kind in ("wav", "jpg") for number in range(EACH)]
    check_all_are_named_or_whole(tmp_path / "out", [*clips, "drum-good"])


def test_damaged_masks(tmp_path):
    media, masks = tmp_path / "media", tmp_path / "masks"
    masks.mkdir()
    mask = np.zeros((96, 128), np.uint8)
    mask[24:72, 16:64] = 1
    lines = []
    for number in range(EACH + 1):
        name = f"sample{number:04d}"
        lines.append(f"{name},banjo\n")
        still(media / f"{name}.jpg")
        recording(media / f"{name}.wav", 1)
        data = pickle.dumps(mask, protocol=number % 6)
        (masks / f"{name}.pkl").write_bytes(damage(data, number) if number < EACH else data)
    (tmp_path / "vgginstruments_test.csv").write_text("".join(lines))
    files = ["--annotations", tmp_path / "vgginstruments_test.csv", masks]
    assert prepare.main(arguments("vggsound-instruments", media, tmp_path / "out", *files)) == 0
    check_all_are_named_or_whole(tmp_path / "out", [f"sample{number:04d}" for number in range(EACH + 1)])


class Payload:
    """What pickle.load would call."""

    def __init__(self, call: Callable, *given: object) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> tuple:
        return self.call, self.given


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("where", ["alone", "beside", "dtype", "state"])
def test_no_payload_of_a_pickle_is_run(tmp_path, protocol, where):
    touched = tmp_path / "touched"
    payload = Payload(os.mkdir, str(touched))
    reconstruct = np.zeros(1).__reduce__()[0]
    value = {
        "alone": payload,
        "beside": (np.zeros((2, 2), np.uint8), payload),
        "dtype": Payload(np.dtype, payload),
        "state": Payload(reconstruct, np.ndarray, payload, b"b"),
    }[where]
    with pytest.raises(DataError, match="not a pickled array"):
        unpickle_array(pickle.dumps(value, protocol))
    assert not touched.exists()


def test_a_payload_among_the_masks_is_named(tmp_path):
    media, masks, touched = tmp_path / "media", tmp_path / "masks", tmp_path / "touched"
    masks.mkdir()
    for name in ("sample0000", "sample0001"):
        still(media / f"{name}.jpg")
        recording(media / f"{name}.wav", 1)
    (masks / "sample0000.pkl").write_bytes(pickle.dumps(Payload(os.mkdir, str(touched))))
    (masks / "sample0001.pkl").write_bytes(pickle.dumps(np.ones((4, 4), bool)))
    (tmp_path / "vgginstruments_test.csv").write_text("sample0000,banjo\nsample0001,banjo\n")
    files = ["--annotations", tmp_path / "vgginstruments_test.csv", masks]
    assert prepare.main(arguments("vggsound-instruments", media, tmp_path / "out", *files)) == 0
    assert "sample0000" in (tmp_path / "out/report.txt").read_text()
    assert "mkdir" in (tmp_path / "out/report.txt").read_text()
    assert not touched.exists()


def test_damaged_xml(tmp_path):
    media, xml = tmp_path / "media", tmp_path / "xml"
    xml.mkdir()
    box = "".join(f"<{name}>{value}</{name}>" for name, value in zip("abcde", (0, 32, 64, 128, 192), strict=True))
    text = f"<annotation><one><bbox>{box}</bbox></one><two><bbox>{box}</bbox></two></annotation>"
    for number in range(EACH + 2):
        still(media / f"{number}x.jpg")
        recording(media / f"{number}x.wav", 1)
        (xml / f"{number}x.xml").write_bytes(damage(text.encode(), number) if number < EACH else text.encode())
    lol = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>'  # grows without bound
    (xml / f"{EACH}x.xml").write_text(lol)
    assert prepare.main(arguments("flickr-soundnet", media, tmp_path / "out", "--annotations", xml)) == 0
    check_all_are_named_or_whole(tmp_path / "out", [f"{number}x" for number in range(EACH + 2)])
    assert "declares entities" in (tmp_path / "out/report.txt").read_text()


def official_file(kind: str, folder: Path) -> tuple[str, Path, str]:
    """Write media and an annotation file; return the data set, the file, and the data set's media folder."""
    media = folder / "media"
    if kind == "json":
        for video in ("4Oy5VmaacaI", "2gk-IN35s5I"):
            film(media / f"cello/{video}.mp4", (), 1)
        record = {"bbox": [{"box": [0, 0, 1, 1], "normbox": [0.1, 0.2, 0.3, 0.4], "category_id": 1}], "height": 96}
        path = folder / "solotest.json"
        path.write_text(json.dumps({f"4Oy5VmaacaI_0_1000/frame_000/{n:05d}.jpg": record for n in (7, 14, 21)}))
        return "music", path, str(media)
    still(media / "RgyqhpOJFM4_000030.jpg")
    recording(media / "RgyqhpOJFM4_000030.wav", 1)
    path = folder / "vgginstruments_train.txt"
    path.write_text("RgyqhpOJFM4_000030,cello\n--G-wKyj6JQ_000030,harpsichord\n")
    return "vggsound-instruments", path, str(media)


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_damaged_annotations(tmp_path, kind, capsys, monkeypatch):
    _do_nothing(monkeypatch)
    name, path, media = official_file(kind, tmp_path)
    good, refused = path.read_bytes(), 0
    for number in range(EACH):
        path.write_bytes(damage(good, number))
        capsys.readouterr()
        code = prepare.main(arguments(name, Path(media), tmp_path / f"out{number}", "--annotations", path))
        error = capsys.readouterr().err
        assert code in (0, 1)
        if code == 1 and "Not one clip" not in error:
            refused += 1
            assert path.name in error or "none of the files of" in error, error
    assert refused > EACH / 4


def test_half_a_character_in_an_annotation_is_a_missing_clip(tmp_path, capsys):
    records = []
    for k, video in enumerate(("RgyqhpOJFM4_000030", "\ud800wikVorYg_000030")):
        records.append({"file": video, "class": "class \ud800" if k else "cello", "bbox": [list(BOX)]})
    film(tmp_path / "media/RgyqhpOJFM4_000030.mp4", (), 1)
    (tmp_path / "vggss.json").write_text(json.dumps(records))
    boxes = ["--annotations", tmp_path / "vggss.json"]
    assert prepare.main(arguments("vggsound-single", tmp_path / "media", tmp_path / "out", *boxes)) == 0
    assert "  \\ud800wikVorYg_000030" in capsys.readouterr().out
    assert "\\ud800wikVorYg" in (tmp_path / "out/report.txt").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_a_file_whose_name_is_no_text_is_named(tmp_path, capsys):
    film(tmp_path / "media/drum/a.mp4", (), 1)
    with open(os.fsencode(tmp_path / "media/drum/") + b"/\xff.mp4", "wb"):
        pass
    assert prepare.main(arguments("folder", tmp_path / "media", tmp_path / "out")) == 1
    assert "'drum/\\udcff', which is not a name in UTF-8; rename it" in capsys.readouterr().err


def test_damaged_rows_of_prepared_solos(tmp_path, capsys, monkeypatch):
    solos = tmp_path / "data/vggsound-single"
    records = []
    for k, video in enumerate(("RgyqhpOJFM4", "zpWuikVorYg", "gEvCUcZ6w88")):
        still(tmp_path / f"media/{video}_000030.jpg")
        recording(tmp_path / f"media/{video}_000030.wav", 1)
        records.append({"file": f"{video}_000030", "class": f"class {k}", "bbox": [list(BOX)]})
    (tmp_path / "vggss.json").write_text(json.dumps(records))
    boxes = ["--annotations", tmp_path / "vggss.json"]
    assert prepare.main(arguments("vggsound-single", tmp_path / "media", solos, *boxes)) == 0
    good = (solos / "metadata.jsonl").read_bytes()
    for number in range(EACH):
        (solos / "metadata.jsonl").write_bytes(damage(good, number))
        capsys.readouterr()
        code = prepare.main(arguments("vggsound-duet", solos, tmp_path / f"duets{number}"))
        error = capsys.readouterr().err
        assert code == 0 or "metadata.jsonl" in error or "vggsound-single" in error, error


def _do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut nothing: only what is read of the annotations matters."""

    def do_all(requests, workers, scratch, keep):
        for what, _ in requests:
            keep(what, {"rows": [], "files": {}, "dropped": [], "broken": "not cut"})

    monkeypatch.setattr(prepare, "do_all", do_all)
