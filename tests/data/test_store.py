"""The store: it holds what the files hold, decodes once, and names, counts and leaves out what is broken."""

import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from avnb.data import build as module
from avnb.data.arrays import cached_array, new_array
from avnb.data.build import open_store, read_frame, read_mask, read_waveform
from avnb.data.clips import SceneObject
from avnb.data.store import ClipShape, box_pixels
from avnb.errors import DataError

SHAPE = ClipShape(size=64, rate=8000, seconds=1.0)
SMALL = ClipShape(size=16, rate=8000, seconds=0.1)
CLASSES = ("bell", "drum", "horn", "whistle")


def metadata(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def tone(hertz: float, rate: int = 8000, seconds: float = 0.1) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.fixture
def simple(new_folder):
    """A function that writes a folder of ``count`` clips: clip k has a frame of grey k and a sound of value k/100."""

    def write(count: int, name: str = "own", **changed) -> Path:
        rows = [
            {
                "id": f"clip{k}", "split": "train", "subset": "solo", "file_name": f"frames/{k}.png",
                "audio": f"audio/{k}.wav", "objects": [{"label": CLASSES[k % 4], "xyxy": [0, 0, 0.5, 0.5]}], **changed,
            }
            for k in range(count)
        ]  # fmt: skip
        folder = new_folder(rows, name)
        for k in range(count):
            Image.new("RGB", (16, 16), (k, k, k)).save(folder / f"frames/{k}.png")
            soundfile.write(folder / f"audio/{k}.wav", np.full(800, k / 100, np.float32), 8000)
        return folder

    return write


def filled(store, index: int, classes: list[int]) -> np.ndarray:
    """The ground truth as a plain loop writes it: the sounding objects' mask, else their filled boxes."""
    clip, size = store.clip(index), store.shape.size
    truth = np.zeros((len(classes), size, size), np.float32)
    for k, thing in enumerate(clip.objects, start=1):
        for source, label in enumerate(classes):
            if not thing.sounding or thing.label != store.classes[label]:
                continue
            for y in range(size):
                for x in range(size):
                    x0, y0, x1, y1 = (int(corner * size) for corner in thing.xyxy)
                    inside = clip.mask[y, x] == k if clip.mask is not None else x0 <= x < x1 and y0 <= y < y1
                    truth[source, y, x] = max(truth[source, y, x], inside)
    return truth


def test_frames_are_those_on_disk(tiny_folder, tiny_store):
    for index in (0, 1, 47):
        with Image.open(tiny_folder / metadata(tiny_folder)[index]["file_name"]) as image:
            expected = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BICUBIC))
        assert (tiny_store.clip(index).frame == expected).all()


def test_waveforms_are_those_on_disk_to_16_bits(tiny_folder, tiny_store):
    for index in (0, 1, 47):
        expected, _ = soundfile.read(tiny_folder / metadata(tiny_folder)[index]["audio"], dtype="float32")
        np.testing.assert_allclose(tiny_store.clip(index).waveform, expected, atol=0.5 / 32767 + 1e-7)


def test_masks_are_those_on_disk(tiny_folder, tiny_store):
    rows = metadata(tiny_folder)
    for index, row in enumerate(rows):
        mask = tiny_store.clip(index).mask
        if row["mask"] is None:
            assert mask is None
            continue
        with Image.open(tiny_folder / row["mask"]) as image:
            assert (mask == np.asarray(image.resize((64, 64), Image.Resampling.NEAREST))).all()


def test_objects_and_labels_are_those_of_the_metadata(tiny_folder, tiny_store):
    for index, row in enumerate(metadata(tiny_folder)):
        clip = tiny_store.clip(index)
        assert clip.id == row["id"]
        assert clip.objects == tuple(
            SceneObject(thing["label"], tuple(thing["xyxy"]), thing["sounding"]) for thing in row["objects"]
        )
        assert set(clip.labels) == {thing["label"] for thing in row["objects"] if thing["sounding"]}


def test_clips_are_selected_by_split_and_subset(tiny_folder, tiny_store):
    rows = metadata(tiny_folder)
    wanted = [k for k, row in enumerate(rows) if (row["split"], row["subset"]) == ("test", "duet")]
    assert tiny_store.select("test", "duet").tolist() == wanted
    assert tiny_store.select("test").tolist() == [k for k, row in enumerate(rows) if row["split"] == "test"]
    assert tiny_store.count() == {("train", "solo"): 24, ("val", "solo"): 8, ("test", "solo"): 8, ("test", "duet"): 8}


def test_a_subset_that_is_not_there_is_refused_with_what_is(tiny_store):
    with pytest.raises(DataError) as caught:
        tiny_store.select("val", "duet")
    assert (
        str(caught.value)
        == '"tiny" has no clips in val duet. It has test duet: 8, test solo: 8, train solo: 24, val solo: 8.'
    )


def test_batches_of_any_shape_are_read(tiny_store):
    index = np.array([[0, 5], [47, 0]])
    assert tiny_store.read_frames(index).shape == (2, 2, 3, 64, 64)
    assert tiny_store.read_frames(np.array(3)).shape == (3, 64, 64)
    for place in np.ndindex(index.shape):
        clip = tiny_store.clip(index[place])
        assert (tiny_store.read_frames(index)[place].numpy() == clip.frame.transpose(2, 0, 1)).all()
        assert (tiny_store.read_waveforms(index)[place].numpy() == clip.waveform).all()
        labels = tiny_store.read_labels(index)[place]
        assert {CLASSES[k] for k in labels.nonzero().flatten()} == set(clip.labels)


def test_what_is_read_can_be_changed_without_changing_the_store(tiny_store):
    before = tiny_store.read_frames(np.array([0]))
    tiny_store.read_frames(np.array([0])).zero_()
    tiny_store.clip(0).frame[:] = 0
    assert (tiny_store.read_frames(np.array([0])) == before).all()


def test_truth_is_what_a_plain_loop_fills(tiny_store):
    index = np.arange(len(tiny_store))
    classes = np.stack([np.argsort(~labels, kind="stable")[:2] for labels in tiny_store.labels])
    truth = tiny_store.read_truth(index, classes)
    for k in index:
        assert (truth[k].numpy() == filled(tiny_store, k, classes[k].tolist())).all(), tiny_store.clip(k).id


def test_a_silent_object_is_no_truth(tiny_store):
    clip = tiny_store.clip(23)
    silent = next(thing.label for thing in clip.objects if not thing.sounding)
    assert silent not in clip.labels
    assert tiny_store.read_truth(np.array([23]), np.array([[CLASSES.index(silent)]])).sum() == 0


def test_a_class_that_is_not_there_has_no_truth(tiny_store):
    absent = next(k for k in range(4) if CLASSES[k] not in {thing.label for thing in tiny_store.clip(0).objects})
    assert tiny_store.read_truth(np.array([0]), np.array([[absent]])).sum() == 0


def test_several_boxes_of_a_class_add_up(simple):
    boxes = [[0.1, 0.1, 0.4, 0.9], [0.3, 0.29, 1, 0.6], [0.0, 0.0, 1 / 3, 0.2]]
    folder = simple(1, objects=[{"label": "bell", "xyxy": box} for box in boxes])
    store = open_store(folder, ClipShape(100, 8000, 0.1), progress=False)
    assert (store.read_truth(np.array([0]), np.array([[0]]))[0].numpy() == filled(store, 0, [0])).all()


def test_more_boxes_than_a_mask_could_number_are_no_obstacle(simple):
    things = [{"label": "bell", "xyxy": [0, 0, 0.5, 0.5]}] * 300 + [{"label": "drum", "xyxy": [0.5, 0.5, 1, 1]}]
    store = open_store(simple(1, objects=things), SMALL, progress=False)
    assert store.read_truth(np.array([0]), np.array([[0, 1]])).sum(dim=(2, 3)).tolist() == [[64, 64]]


def test_box_corners_are_cut_as_the_papers_cut_them():
    assert box_pixels((0.29, 0.0, 0.58, 1.0), 100) == (int(0.29 * 100), 0, int(0.58 * 100), 100) == (28, 0, 57, 100)


def test_only_what_fills_a_pixel_can_be_judged(new_folder, simple):
    folder = simple(24, objects=[])
    thin = {"label": "bell", "xyxy": [0.5, 0.1, 0.51, 0.9]}
    rows = metadata(folder)
    rows[1]["objects"] = [thin]  # less than a pixel wide
    rows[2]["objects"] = [thin | {"xyxy": [0.5, 0.1, 0.6, 0.9]}]
    rows[3]["objects"] = [rows[2]["objects"][0] | {"sounding": False}]
    rows[4] |= {"objects": rows[2]["objects"], "mask": "masks/empty.png"}
    rows[5] |= {"objects": rows[2]["objects"], "mask": "masks/full.png"}
    new_folder(rows)
    Image.new("L", (16, 16), 0).save(folder / "masks/empty.png")
    Image.new("L", (16, 16), 1).save(folder / "masks/full.png")
    store = open_store(folder, SMALL, progress=False)
    assert store.has_truth(np.arange(6)).tolist() == [False, False, True, False, False, True]


def test_a_benchmark_without_any_objects_opens(simple):
    store = open_store(simple(2, objects=[], labels=["horn"]), SMALL, progress=False)
    assert store.clip(1).objects == ()
    assert store.clip(1).labels == ("horn",)
    assert not store.has_truth(np.arange(2)).any()
    assert store.read_truth(np.arange(2), np.array([[2], [2]])).sum() == 0


def test_it_decodes_once(simple, monkeypatch):
    folder = simple(3)
    first = open_store(folder, SMALL, progress=False)
    for name in ("read_frame", "read_waveform", "read_mask", "read_rows"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("decoded again"))
    second = open_store(folder, SMALL, progress=False)
    assert (second.frames[:] == first.frames[:]).all()


@pytest.mark.parametrize("change", [lambda rows: rows[:-1], lambda rows: rows[::-1]])
def test_metadata_that_changes_while_it_is_read_is_refused(simple, workspace, monkeypatch, change):
    folder, read_rows, reads = simple(3), module.read_rows, []

    def changing(*given):
        reads.append(given)
        rows = list(read_rows(*given))
        return iter(rows if len(reads) == 1 else change(rows))

    monkeypatch.setattr(module, "read_rows", changing)
    with pytest.raises(DataError, match=r"metadata.jsonl was changed while it was being read; run again"):
        open_store(folder, SMALL, progress=False)
    assert not list((workspace / "data" / ".store").glob("*"))


def test_another_shape_is_another_store(simple):
    folder = simple(3)
    stores = [open_store(folder, shape, progress=False) for shape in (SMALL, ClipShape(24, 8000, 0.1), SMALL)]
    assert [store.frames.shape[-1] for store in stores] == [16, 24, 16]
    assert stores[0].folder == stores[2].folder


@pytest.mark.parametrize("name", ["metadata.jsonl", "dataset.json"])
def test_a_changed_folder_is_decoded_anew_and_replaces_its_old_store(simple, workspace, name):
    folder = simple(3)
    old = open_store(folder, SMALL, progress=False)
    other = open_store(simple(2, "other"), SMALL, progress=False)
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("train", "test").replace("horn", "oboe"))
    (folder / "metadata.jsonl").write_text((folder / "metadata.jsonl").read_text().replace("horn", "oboe"))
    (folder / "dataset.json").write_text((folder / "dataset.json").read_text().replace("horn", "oboe"))
    new = open_store(folder, SMALL, progress=False)
    assert (new.classes[2], new.clip(2).labels) == ("oboe", ("oboe",))
    assert {path.name for path in (workspace / "data" / ".store").iterdir()} == {new.folder.name, other.folder.name}
    assert old.clip(2).labels == ("horn",), "who has the old store open keeps it"


def test_the_source_folder_is_not_written_to(simple, workspace):
    folder = simple(2)
    elsewhere = workspace / "elsewhere"
    folder.rename(elsewhere)
    (workspace / "data" / "linked").symlink_to(elsewhere)
    before = {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")}
    for path in (elsewhere, *before):
        path.chmod(0o555)
    try:
        assert len(open_store(workspace / "data" / "linked", SMALL, progress=False)) == 2
    finally:
        for path in (elsewhere, *before):
            path.chmod(0o755)
    assert {path: path.stat().st_mtime_ns for path in elsewhere.rglob("*")} == before


def test_an_interrupted_build_leaves_nothing(simple, workspace, monkeypatch):
    folder = simple(30)
    decoded = []

    def interrupt(path, *rest):
        decoded.append(path)
        if len(decoded) == 5:
            raise KeyboardInterrupt
        return read_frame(path, *rest)

    monkeypatch.setattr(module, "read_frame", interrupt)
    with pytest.raises(KeyboardInterrupt):
        open_store(folder, SMALL, progress=False)
    assert list((workspace / "data" / ".store").iterdir()) == []
    monkeypatch.setattr(module, "read_frame", read_frame)
    assert len(open_store(folder, SMALL, progress=False)) == 30


def test_half_a_store_is_built_anew(simple):
    folder = simple(3)
    store = open_store(folder, SMALL, progress=False)
    (store.folder / "store.json").unlink()
    assert len(open_store(folder, SMALL, progress=False)) == 3


def test_what_a_killed_build_left_is_cleared_a_day_later(simple, workspace):
    remains = [workspace / "data" / ".store" / f"own-{k}.123.tmp" for k in range(2)]
    for path in remains:
        path.mkdir(parents=True)
    os.utime(remains[0], (0, 0))
    open_store(simple(1), SMALL, progress=False)
    assert [path.exists() for path in remains] == [False, True]


def test_another_process_that_was_quicker_wins(simple, workspace, monkeypatch):
    folder = simple(2)
    rename, theirs = Path.rename, []

    def beaten(self, target):
        if self.suffix == ".tmp" and not theirs:
            theirs.append(target)
            shutil.copytree(self, target)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", beaten)
    store = open_store(folder, SMALL, progress=False)
    assert [path.name for path in (workspace / "data" / ".store").iterdir()] == [store.folder.name] == [theirs[0].name]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space on a disk")
def test_a_full_disk_is_said_before_decoding(simple, workspace, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(module, "read_frame", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DataError) as caught:
        open_store(simple(2), SMALL, progress=False)
    assert 'Cannot write the decoded clips of "own" to data/.store: No space left on device.' in str(caught.value)
    assert list((workspace / "data" / ".store").iterdir()) == []


def test_broken_clips_are_named_counted_and_never_offered(simple):
    folder = simple(60)
    (folder / "frames/0.png").unlink()
    (folder / "frames/31.png").write_bytes((folder / "frames/31.png").read_bytes()[:60])
    (folder / "audio/59.wav").write_bytes(b"no sound")
    store = open_store(folder, SMALL, progress=False)
    good = [k for k in range(60) if k not in (0, 31, 59)]
    assert store.count() == {("train", "solo"): 57}
    assert store.select("train").tolist() == good
    for k in good:
        clip = store.clip(k)
        assert clip.id == f"clip{k}"
        assert (clip.frame == k).all()
        np.testing.assert_allclose(clip.waveform, k / 100, atol=1e-4)  # 16 bits on disk, 16 in the store
        assert clip.labels == (CLASSES[k % 4],)
        assert store.clips[k]["line"] == k + 1
        assert store.read_truth(np.array([k]), np.array([[k % 4]])).sum() == 64
    assert [(clip["id"], clip["line"]) for clip in store.broken] == [("clip0", 1), ("clip31", 32), ("clip59", 60)]
    assert "left out: clip0 (line 1): data/own/frames/0.png is missing" in store.report
    assert "left out: clip31 (line 32): data/own/frames/31.png is not a picture that can be decoded" in store.report
    assert "left out: clip59 (line 60): data/own/audio/59.wav is not a sound that can be decoded" in store.report


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve space on a disk")
def test_masks_that_are_not_there_take_no_disk(tmp_path):
    written = np.isin(np.arange(64), [1, 2, 40])
    array = new_array(tmp_path / "masks.npy", np.uint8, (64, 256, 256), written)
    array[written] = 7
    array.flush()
    assert (np.load(tmp_path / "masks.npy") == np.where(written, 7, 0)[:, None, None]).all()
    assert os.stat(tmp_path / "masks.npy").st_blocks * 512 < 10 * 256 * 256  # and not 64


def test_more_than_5_percent_of_broken_clips_stop(simple, workspace):
    folder = simple(59)
    for k in (7, 8, 9):
        (folder / f"frames/{k}.png").unlink()
    with pytest.raises(DataError) as caught:
        open_store(folder, SMALL, progress=False)
    assert (
        '3 of the first 10 clips of "own" cannot be decoded, more than 5% of all 59: clip7 (line 8): data/own'
        in str(caught.value)
    )
    assert "Mend these files, or remove their rows from metadata.jsonl." in str(caught.value)
    assert list((workspace / "data" / ".store").iterdir()) == []


def test_mended_clips_come_back_when_the_metadata_is_saved_anew(simple):
    folder = simple(20)
    kept = (folder / "frames/3.png").rename(folder / "kept.png")
    store = open_store(folder, SMALL, progress=False)
    assert "left out until metadata.jsonl changes" in store.report
    kept.rename(folder / "frames/3.png")
    (folder / "metadata.jsonl").touch()
    assert store.count() == {("train", "solo"): 19}
    assert open_store(folder, SMALL, progress=False).count() == {("train", "solo"): 20}


def test_silent_clips_are_kept_and_counted(simple):
    store = open_store(simple(3), SMALL, progress=False)  # clip 0 is all zeros
    assert (len(store), store.silent) == (3, 1)
    assert "1 clips are silent (kept, but nothing can be learnt from them)" in store.report


@pytest.mark.parametrize("size", [(1, 1), (7, 100)])
def test_a_picture_that_shows_nothing_is_refused(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=rf"x.png is {size[0]} x {size[1]} pixels; 8 are needed"):
        read_frame(tmp_path / "x.png", 64)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_pictures_of_any_kind_become_rgb(tmp_path, mode):
    grey = Image.new("RGB", (20, 10), (255, 255, 255)).convert(mode)
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    grey.save(path)
    frame = read_frame(path, 16)
    assert frame.shape == (3, 16, 16)
    assert (frame >= 250).all()


@pytest.mark.parametrize(("mode", "value"), [("L", 2), ("P", 2), ("1", 1)])
def test_masks_number_the_objects(tmp_path, mode, value):
    mask = Image.new(mode, (20, 10))
    if mode == "P":
        mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    mask.paste(value if mode != "1" else 255, (0, 0, 10, 10))
    mask.save(tmp_path / "x.png")
    numbers = read_mask(tmp_path / "x.png", 8, 2)
    assert (numbers == np.array([value] * 4 + [0] * 4)).all()


def test_a_mask_that_numbers_more_objects_than_its_row_is_refused(tmp_path):
    Image.new("L", (20, 10), 255).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x.png numbers an object 255, but its row lists 1"):
        read_mask(tmp_path / "x.png", 8, 1)


def test_a_coloured_mask_is_refused(tmp_path):
    Image.new("RGB", (20, 10), (1, 0, 0)).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x.png has mode RGB; a mask is one 8-bit channel of object numbers"):
        read_mask(tmp_path / "x.png", 8, 1)


def test_another_rate_is_resampled(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(440, 11_025, 1.2), 11_025, subtype="FLOAT")
    heard = read_waveform(tmp_path / "x.wav", 0.0, SHAPE)
    assert heard.shape == (8000,)
    # A resampler's filter reaches over a few hundred samples, and the end of the read part is no end of the tone.
    np.testing.assert_allclose(heard[400:-400], tone(440, 8000, 1.0)[400:-400], atol=1e-3)


def test_a_short_sound_is_repeated(tmp_path):
    short = np.linspace(-0.5, 0.5, 3000, dtype=np.float32)
    soundfile.write(tmp_path / "x.wav", short, 8000, subtype="FLOAT")
    assert (read_waveform(tmp_path / "x.wav", 0.0, SHAPE) == np.concatenate([short, short, short[:2000]])).all()


def test_the_sound_begins_at_its_start(tmp_path):
    ramp = np.linspace(-1, 1, 20_000, dtype=np.float32)
    soundfile.write(tmp_path / "x.wav", ramp, 8000, subtype="FLOAT")
    assert (read_waveform(tmp_path / "x.wav", 0.5, SHAPE) == ramp[4000:12_000]).all()
    assert (read_waveform(tmp_path / "x.wav", 2.0, SHAPE)[:4000] == ramp[16_000:]).all()


def test_channels_are_averaged(tmp_path):
    left, right = tone(440, seconds=1.0), tone(660, seconds=1.0)
    soundfile.write(tmp_path / "x.wav", np.stack([left, right], axis=1), 8000, subtype="FLOAT")
    np.testing.assert_allclose(read_waveform(tmp_path / "x.wav", 0.0, SHAPE), (left + right) / 2, atol=1e-7)


@pytest.mark.parametrize(
    ("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("ULAW", 0.02)]
)
def test_sounds_of_any_depth_are_heard(tmp_path, subtype, step):
    soundfile.write(tmp_path / "x.wav", tone(440, seconds=1.0), 8000, subtype=subtype)
    np.testing.assert_allclose(read_waveform(tmp_path / "x.wav", 0.0, SHAPE), tone(440, seconds=1.0), atol=step)


def test_what_is_louder_than_full_scale_is_cut(tmp_path):
    soundfile.write(tmp_path / "x.wav", 4 * tone(440, seconds=1.0), 8000, subtype="FLOAT")
    assert np.abs(read_waveform(tmp_path / "x.wav", 0.0, SHAPE)).max() == 1


@pytest.mark.parametrize(
    ("samples", "rate", "start", "said"),
    [
        (np.zeros(0), 8000, 0.0, "x.wav holds no sound from 0 s on"),
        (np.zeros(800), 8000, 1.0, "x.wav holds no sound from 1 s on"),
        (np.zeros(800), 8000, 1e300, "x.wav holds no sound from"),
        (np.zeros(1), 44_100, 0.0, "x.wav holds only 1 samples at 44100 Hz"),
        (np.full(800, np.nan), 8000, 0.0, "x.wav holds samples that are not numbers"),
        (np.full(800, np.inf), 8000, 0.0, "x.wav holds samples that are not numbers"),
    ],
    ids=["empty", "past the end", "far past the end", "one sample", "NaN", "infinite"],
)
def test_a_file_without_sound_is_refused(tmp_path, samples, rate, start, said):
    soundfile.write(tmp_path / "x.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(DataError) as caught:
        read_waveform(tmp_path / "x.wav", start, SHAPE)
    assert said in str(caught.value)


@pytest.mark.parametrize("read", [lambda path: read_frame(path, 64), lambda path: read_mask(path, 64, 1)])
@pytest.mark.parametrize(
    "content", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + bytes(50), b"GIF89a", bytes(1000)]
)
def test_damaged_pictures_are_refused_in_a_sentence(tmp_path, read, content):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x.png is not a (picture|mask) that can be decoded"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("content", [b"", b"RIFF\x00\x00\x00\x00WAVE", b"OggS" + bytes(50), b"fLaC", bytes(1000)])
def test_damaged_sounds_are_refused_in_a_sentence(tmp_path, content):
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(DataError, match=r"x.wav is not a sound that can be decoded"):
        read_waveform(tmp_path / "x.wav", 0.0, SHAPE)


@pytest.mark.parametrize("rate", [1, 7, 768_000])
def test_extreme_rates_are_resampled(tmp_path, rate):
    soundfile.write(tmp_path / "x.wav", tone(1, 8000, 1.0), rate)
    assert read_waveform(tmp_path / "x.wav", 0.0, SHAPE).shape == (8000,)


def test_a_cached_array_is_computed_once(simple):
    store = open_store(simple(3), SMALL, progress=False)

    def compute(array):
        array[:] = np.arange(3)[:, None]

    first = cached_array(store.folder / "features~cache.npy", (3, 5), compute)
    second = cached_array(store.folder / "features~cache.npy", (3, 5), lambda _: pytest.fail("computed again"))
    assert second.dtype == np.float16
    assert (first == second).all()
    assert (second == np.arange(3)[:, None]).all()
    assert len(open_store(store.info.folder, SMALL, progress=False)) == 3


def test_an_interrupted_cache_leaves_nothing(simple):
    store = open_store(simple(3), SMALL, progress=False)
    before = set(store.folder.iterdir())

    def compute(array):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_array(store.folder / "features~cache.npy", (3, 5), compute)
    assert set(store.folder.iterdir()) == before


def test_batches_of_the_store_are_torch_s_own(tiny_store):
    for value in (tiny_store.read_frames(np.array([0])), tiny_store.read_waveforms(np.array([0]))):
        assert isinstance(value, torch.Tensor)
        assert value.is_contiguous()
