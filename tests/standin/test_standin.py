"""The embedded stand-in: the same everywhere, balanced, audible, with exact truth, whole or absent."""

import hashlib
import json
from collections import Counter
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from avnb.data.folder import read_info, read_rows
from avnb.data.store import box_pixels
from avnb.errors import DataError, SettingsError
from avnb.standin import build as standin
from avnb.standin.build import COUNTS, SPLITS, SUBSETS, Place, cast, clip_seed, draw, render
from avnb.standin.instruments import CLASSES
from avnb.standin.sounds import PLAYERS, melody

FEW = {("train", "solo"): 11, ("train", "duet"): 3, ("val", "solo"): 3} | dict.fromkeys(
    [("test", "solo"), ("test", "duet"), ("test", "synthetic")], 3
)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("standin") / "music-standin"
    render(folder, seed=3, counts=FEW, workers=1, progress=False)
    return folder


@pytest.fixture(scope="module")
def rows(small) -> list[dict]:
    return [json.loads(line) for line in (small / "metadata.jsonl").read_text().splitlines()]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def mask_of(small: Path, row: dict) -> np.ndarray:
    return np.asarray(Image.open(small / row["mask"]))


def sound_of(small: Path, row: dict) -> np.ndarray:
    return soundfile.read(small / row["audio"])[0]


# The folder


def test_the_folder_is_a_benchmark_that_says_it_is_a_stand_in(small):
    info = read_info(small)
    assert (info.name, info.origin, info.classes) == ("music", "stand-in", CLASSES)
    assert "cannot be compared" in info.note
    assert Counter((row.split, row.subset) for row in read_rows(small, info.classes)) == FEW


def test_two_processes_write_the_bytes_that_one_writes(small, tmp_path):
    render(tmp_path / "again", seed=3, counts=FEW, workers=2, progress=False)
    assert digests(tmp_path / "again") == digests(small)


def test_another_seed_draws_other_clips(tmp_path, small):
    render(tmp_path / "other", seed=4, counts={("train", "solo"): 1}, workers=1, progress=False)
    other, this = digests(tmp_path / "other"), digests(small)
    assert all(other[name] != this[name] for name in other if "/" in name)


def test_every_clip_is_three_seconds_of_mono_at_22050(small, rows):
    for row in rows:
        about = soundfile.info(small / row["audio"])
        assert (about.samplerate, about.channels, about.frames) == (22_050, 1, 66_150)


def test_no_clip_is_silent_or_clipped(small, rows):
    for row in rows:
        sound = sound_of(small, row)
        assert 0.03 < np.sqrt(np.mean(sound**2)) < 0.25, row["id"]
        assert np.abs(sound).max() < 1


def test_boxes_are_the_extents_of_the_mask(small, rows):
    for row in rows:
        mask = mask_of(small, row)
        for k, thing in enumerate(row["objects"], 1):
            at = [(x, y) for y, x in zip(*np.where(mask == k), strict=True)]
            xs, ys = zip(*at, strict=True)
            extent = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
            assert box_pixels(thing["xyxy"], 224) == extent
            assert thing["xyxy"] == pytest.approx(np.array(extent) / 224, abs=2e-6)


def test_the_mask_numbers_exactly_the_objects(small, rows):
    for row in rows:
        assert set(np.unique(mask_of(small, row))) == {0, *range(1, len(row["objects"]) + 1)}


def test_sounding_objects_come_first(rows):
    for row in rows:
        sounding = [thing["sounding"] for thing in row["objects"]]
        assert sounding == sorted(sounding, reverse=True)
        assert sum(sounding) == {"solo": 1, "duet": 2, "synthetic": 2}[row["subset"]]


def test_a_synthetic_scene_has_one_of_four_classes_in_each_quarter(small, rows):
    for row in (row for row in rows if row["subset"] == "synthetic"):
        mask = mask_of(small, row)
        quarters = [mask[y : y + 112, x : x + 112] for y in (0, 112) for x in (0, 112)]
        assert sorted(int(quarter.max()) for quarter in quarters) == [1, 2, 3, 4]
        assert all(len(np.unique(quarter)) == 2 for quarter in quarters)
        assert len({thing["label"] for thing in row["objects"]}) == 4


# Who plays


def everyone(split: str, subset: str) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    places = [Place(split, subset, i) for i in range(COUNTS[split, subset])]
    return [cast(place, np.random.default_rng(place.index))[:2] for place in places]


@pytest.mark.parametrize(("split", "subset"), [key for key, count in COUNTS.items() if count])
def test_classes_sound_equally_often(split, subset):
    heard = Counter(label for sounding, _ in everyone(split, subset) for label in sounding)
    assert set(heard) == set(CLASSES)
    assert max(heard.values()) == min(heard.values())


@pytest.mark.parametrize("split", SPLITS)
def test_pairs_of_a_duet_are_equally_many(split):
    pairs = Counter(frozenset(sounding) for sounding, _ in everyone(split, "duet"))
    fewest = min(pairs.values()) if len(pairs) == 55 else 0
    assert all(len(pair) == 2 for pair in pairs)
    assert max(pairs.values()) - fewest <= 1


@pytest.mark.parametrize("split", ["val", "test"])
def test_silent_classes_of_synthetic_scenes_are_equally_many(split):
    seen = Counter(label for _, silent in everyone(split, "synthetic") for label in silent)
    assert max(seen.values()) == min(seen.values()) == COUNTS[split, "synthetic"] * 2 / 11


@pytest.mark.parametrize("subset", SUBSETS)
def test_no_class_is_in_a_frame_twice(subset):
    assert all(len({*sounding, *silent}) == len(sounding + silent) for sounding, silent in everyone("test", subset))


def test_about_a_quarter_of_the_solos_have_a_silent_neighbour():
    share = np.mean([len(silent) for _, silent in everyone("train", "solo")])
    assert 0.2 < share < 0.3  # 880 draws: 0.25 with a standard deviation of 0.015


# What is heard


def test_every_clip_has_a_seed_of_its_own():
    seeds = [tuple(clip_seed(s, *key, i)) for s in (0, 1) for key in product(SPLITS, SUBSETS) for i in range(200)]
    assert len(set(seeds)) == len(seeds)


def test_a_class_plays_something_else_in_every_split():
    first, second, third = (draw(0, Place(split, "solo", 0)) for split in SPLITS)
    assert first.sounding == second.sounding == third.sounding
    for a, b in pairwise((first, second, third, first)):
        # Two recordings of one melody would correlate at some delay; different ones of 66,150 samples hardly do.
        crossed = np.fft.irfft(np.fft.rfft(a.sound, 1 << 18) * np.fft.rfft(b.sound, 1 << 18).conj())
        assert np.abs(crossed).max() < 0.6 * np.linalg.norm(a.sound) * np.linalg.norm(b.sound)
        assert (a.frame != b.frame).mean() > 0.5


@pytest.mark.parametrize("label", CLASSES)
def test_an_instrument_is_heard_throughout(label):
    for seed in range(3):
        sound = melody(label, np.random.default_rng([9, seed]))
        loudness = np.sqrt(np.mean(sound.reshape(3, -1) ** 2, axis=1))
        assert loudness.min() > 0.005, seed  # each second of it; 0.05 is the quietest clip as a whole


def test_the_same_generator_plays_the_same_melody():
    first, again, other = (melody("erhu", np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_both_of_a_duet_are_audible():
    rng = np.random.default_rng(0)
    low, high = (np.sin(np.arange(66_150, dtype=np.float32) * f) * s for f, s in ((0.1, 0.3), (0.4, 0.01)))
    for _ in range(20):
        spectrum = np.abs(np.fft.rfft(standin.mixed(low, high, rng)))
        levels = [spectrum[round(66_150 * f / 2 / np.pi) - 5 :][:10].max() for f in (0.1, 0.4)]
        assert abs(20 * np.log10(levels[0] / levels[1])) < 6.5  # 6 dB, and the leakage of a bare Fourier transform


def test_a_plain_classifier_tells_the_instruments_apart():
    linear = pytest.importorskip("sklearn.linear_model")
    pipeline, scaler = (pytest.importorskip(f"sklearn.{name}") for name in ("pipeline", "preprocessing"))

    def described(split: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation over time of the log spectrum in 48 bands of equal width in log frequency."""
        edges = np.unique(np.geomspace(3, 512, 49).astype(int))
        features, labels = [], []
        for number, label in enumerate(CLASSES):
            for k in range(count):
                sound = melody(label, np.random.default_rng([split, number, k]), seconds=2.0)
                frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::512] * np.hanning(1024)
                power = np.abs(np.fft.rfft(frames)[:, :512]) ** 2
                bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-4)
                features.append(np.concatenate([bands.mean(0), bands.std(0)]))
                labels.append(number)
        return np.array(features), np.array(labels)

    probe = pipeline.make_pipeline(scaler.StandardScaler(), linear.LogisticRegression(C=0.1, max_iter=1000))
    probe.fit(*described(0, 14))
    assert probe.score(*described(1, 6)) > 0.7  # chance is 0.09; with six times the clips it is 0.94


def test_every_class_that_is_drawn_is_heard():
    assert set(PLAYERS) == set(CLASSES)


# What can go wrong


def test_an_interrupted_rendering_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(folder, seed, places):
        (folder / "frames" / "first.jpg").write_bytes(b"x")
        raise KeyboardInterrupt

    monkeypatch.setattr(standin, "write_clips", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render(tmp_path / "music-standin", counts=FEW, workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    def full(folder, seed, places):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(standin, "write_clips", full)
    with pytest.raises(DataError, match=r"No space left on device.*150 MB"):
        render(tmp_path / "music-standin", counts=FEW, workers=1, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_what_another_process_has_rendered_meanwhile_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "music-standin"
    write_clips = standin.write_clips

    def slower(*arguments):
        folder.mkdir()
        (folder / "dataset.json").write_text("the other's")
        return write_clips(*arguments)

    monkeypatch.setattr(standin, "write_clips", slower)
    render(folder, counts={("val", "solo"): 1}, workers=1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["music-standin"]
    assert (folder / "dataset.json").read_text() == "the other's"


def test_a_data_set_that_is_there_is_left_alone(small):
    before = digests(small)
    render(small, seed=99, counts={("val", "solo"): 1}, workers=1, progress=False)
    assert digests(small) == before


def test_a_folder_that_is_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="Remove what is in its way"):
        render(tmp_path, counts={("val", "solo"): 1}, workers=1, progress=False)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("counts", "seed", "said"),
    [
        ({("train", "trio"): 1}, 0, "has no"),
        ({("train", "solo"): -1}, 0, "cannot have -1 clips"),
        ({}, 0, "without clips"),
        ({("train", "solo"): 1}, -1, "seed must be in"),
    ],
)
def test_counts_that_make_no_sense_are_refused(tmp_path, counts, seed, said):
    with pytest.raises(SettingsError, match=said):
        render(tmp_path / "x", seed=seed, counts=counts, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_an_instrument_the_stand_in_does_not_know_is_named():
    with pytest.raises(SettingsError, match='no sound for "theremin"; it plays accordion'):
        melody("theremin", np.random.default_rng(0))


def test_a_rate_that_is_no_fraction_is_refused():
    with pytest.raises(SettingsError, match="whole fraction"):
        melody("violin", np.random.default_rng(0), rate=16_000)
