"""A method on one's own video: streams in, maps, MP4 and CSV out, and sentences where that cannot be."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from tiny_classes import CLASSES, COLOURS, PITCHES

from avnb.config import Settings
from avnb.errors import DataError, SettingsError
from avnb.models.base import Method
from avnb.standin.video import PLAYING, render_video
from avnb.video.boxes import hottest_boxes
from avnb.video.heat import HeatVideo
from avnb.video.localize import KEPT, localize_video
from avnb.video.reader import SoundAround, frames, look_at, read_sound, small_picture, windows
from avnb.video.summary import read_rows

pytestmark = pytest.mark.smoke

RATE = 22_050
BELL, DRUM = ("bell", (10, 20, 50, 60)), ("drum", (90, 50, 130, 90))  # and their boxes in a picture of 160 x 120


@dataclass(frozen=True)
class EarSettings(Settings):
    METHOD: ClassVar[str] = "ear"


class Ear(Method):
    """A method that needs no training: it hears the pitches of the tiny classes and sees their colours."""

    SETTINGS = EarSettings
    rate = RATE

    def __init__(self):
        super().__init__()
        self.settings = EarSettings(dataset="tiny", device="cpu")
        self.asked = []

    def recognize(self, mixture):
        spectrum = torch.fft.rfft(mixture).abs()
        bins = [round(PITCHES[name] * mixture.shape[1] / RATE) for name in CLASSES]
        loud = torch.stack([spectrum[:, k - 2 : k + 3].amax(dim=1) for k in bins], dim=1)
        return (loud / mixture.shape[1] / 0.02).clamp(max=1.0)

    def localize(self, query):
        self.asked.append(tuple(query.frames.shape))
        colours = torch.tensor([COLOURS[name] for name in CLASSES]).float()[query.classes]  # [batch, sources, 3]
        away = (query.frames[:, None].float() - colours[..., None, None]).abs().sum(dim=2)
        return torch.nn.functional.avg_pool2d(-away, 8)


class Nameless(Ear):
    CLASSES = ("none",)

    def recognize(self, mixture):
        return None


@pytest.fixture
def ear(workspace, tiny_folder):
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    return Ear()


def picture_of(*things, size=(120, 160)):
    picture = np.full((*size, 3), 128, np.uint8)
    for name, (x0, y0, x1, y1) in things:
        picture[y0:y1, x0:x1] = COLOURS[name]
    return picture


def tone(name, seconds, rate=RATE, start=0.0, stop=np.inf):
    time = np.arange(round(seconds * rate)) / rate
    return (0.2 * np.sin(2 * np.pi * PITCHES[name] * time) * ((time >= start) & (time < stop))).astype(np.float32)


def write_video(
    path, pictures, sound=None, times=None, rate=RATE, codecs=("libx264", "aac"), rotation=0, aspect=None, **options
):
    """Write pictures (at 8 a second, or at ``times``) and a sound; the plain way, without avnb."""
    layout = "yuv420p" if pictures[0].shape[0] % 2 == 0 and pictures[0].shape[1] % 2 == 0 else "yuv444p"
    times = np.arange(len(pictures)) / 8 if times is None else times
    with av.open(str(path), "w", options=options) as file:
        video = file.add_stream(codecs[0], rate=8)
        video.height, video.width, video.pix_fmt = *pictures[0].shape[:2], layout
        video.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            video.set_display_rotation(rotation)
        if sound is not None:
            audio = file.add_stream(codecs[1], rate=rate, layout="mono" if sound.ndim == 1 else "stereo")
        for picture, seconds in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = round(1000 * seconds), Fraction(1, 1000)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if sound is not None:
            planes = np.atleast_2d(sound)
            frame = av.AudioFrame.from_ndarray(planes, "fltp", "mono" if len(planes) == 1 else "stereo")
            frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            file.mux([*audio.encode(frame), *audio.encode(None)])
    return path


def duet(path, seconds=8, rate=RATE, **how):
    """Write a video in which a bell rings for the first half and a drum sounds in the second."""
    sound = tone("bell", seconds, rate, stop=seconds / 2) + tone("drum", seconds, rate, start=seconds / 2)
    return write_video(path, [picture_of(BELL, DRUM)] * (8 * seconds), sound, rate=rate, **how)


def localize(path, ear, tmp_path, **how):
    return localize_video(path, ear, folder=tmp_path / "out", progress=False, **how)


def rows_of(result):
    with open(result.table, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def overlap(a, b):
    across, down = (max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k])) for k in (0, 1))
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return across * down / (sum(areas) - across * down)


# --------------------------------------------------------------------------------------------------- what is found


def test_each_class_scores_while_it_sounds(ear, tmp_path):
    result = localize(duet(tmp_path / "a.mp4"), ear, tmp_path)
    assert set(result.names) == {"bell", "drum"}
    by_name = dict(zip(result.names, result.scores.T, strict=True))
    early, late = result.seconds < 2.4, result.seconds > 5.6  # windows of three seconds that hold one class alone
    assert by_name["bell"][early].min() > 0.5 > by_name["bell"][late].max()
    assert by_name["drum"][late].min() > 0.5 > by_name["drum"][early].max()


def test_boxes_are_pixels_of_the_picture_around_the_object(ear, tmp_path):
    result = localize(duet(tmp_path / "a.mp4"), ear, tmp_path)
    true = {"bell": BELL[1], "drum": DRUM[1]}
    for row in rows_of(result):
        box = [int(row[edge]) for edge in ("x0", "y0", "x1", "y1")]
        assert overlap(box, true[row["class"]]) > 0.6  # a cell of the map is 6 x 4 pixels


def test_the_table_has_a_row_for_every_source_of_every_moment(ear, tmp_path):
    result = localize(duet(tmp_path / "a.mp4"), ear, tmp_path, per_second=2.0)
    rows = rows_of(result)
    assert list(rows[0]) == ["time", "class", "x0", "y0", "x1", "y1", "score", "sounds", "heard", "shot"]
    assert read_rows(result.table) == [replace(row, score=round(row.score, 4)) for row in result.rows]
    assert [float(row["time"]) for row in rows[::2]] == [k / 2 for k in range(16)]
    assert [row["class"] for row in rows] == list(result.names) * 16


def test_a_result_holds_at_most_kept_moments_and_the_table_all(ear, tmp_path):
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL, size=(32, 32))] * 200, tone("bell", 25))
    result = localize(path, ear, tmp_path, per_second=8.0)
    assert len(rows_of(result)) == 200
    assert KEPT / 2 < len(result.seconds) <= KEPT
    assert np.allclose(np.diff(result.seconds), 0.25)  # evenly


def test_classes_that_are_asked_for_are_those_that_are_shown(ear, tmp_path):
    result = localize(duet(tmp_path / "a.mp4"), ear, tmp_path, classes=["horn"])
    assert result.names == ("horn",)


def test_a_class_that_is_not_known_is_refused_with_the_nearest(ear, tmp_path):
    with pytest.raises(SettingsError, match=r'no class "drumm". Did you mean "drum"'):
        localize(duet(tmp_path / "a.mp4"), ear, tmp_path, classes=["drumm"])


def test_a_method_without_classes_has_one_nameless_source(ear, tmp_path):
    method = Nameless()
    result = localize(duet(tmp_path / "a.mp4"), method, tmp_path)
    assert result.names == ("sound",)
    with pytest.raises(SettingsError, match="knows no classes"):
        localize(duet(tmp_path / "a.mp4"), method, tmp_path, classes=["bell"])


def test_a_method_hears_and_sees_what_its_store_would_give_it(ear, tmp_path):
    localize(duet(tmp_path / "a.mp4"), ear, tmp_path)
    assert {shape[1:] for shape in ear.asked} == {(3, 224, 224)}


def test_hottest_boxes_hold_a_region_each_the_highest_peak_first():
    heat = np.zeros((7, 7))
    heat[5, 5], heat[1, 1], heat[5, 1] = 0.9, 1.0, 0.4  # the last is below half
    first, second = hottest_boxes(heat, (70, 140), number=3)
    for (x0, y0, x1, y1), (left, top) in ((first, (20, 10)), (second, (100, 50))):  # where the cells begin, 20 x 10
        assert left - 10 <= x0 < x1 <= left + 30
        assert top - 5 <= y0 < y1 <= top + 15


# ----------------------------------------------------------------------------------------------------- the MP4


def packets(path, kind):
    with av.open(str(path)) as file:
        stream = getattr(file.streams, kind)[0]
        return [bytes(packet) for packet in file.demux(stream) if packet.size]


def times_of(path):
    return [seconds for seconds, _ in frames(look_at(path))]


@pytest.mark.parametrize(
    ("name", "codecs"), [("a.mp4", ("libx264", "aac")), ("a.mkv", ("mpeg4", "libmp3lame")), ("a.webm", ("vp8", "opus"))]
)
def test_the_overlay_carries_the_original_sound_to_the_bit(ear, tmp_path, name, codecs):
    codecs = tuple({"vp8": "libvpx", "opus": "libopus"}.get(codec, codec) for codec in codecs)
    path = duet(tmp_path / name, codecs=codecs, rate=48_000)
    assert packets(localize(path, ear, tmp_path).overlay, "audio") == packets(path, "audio")


def test_a_sound_that_mp4_cannot_carry_is_turned_into_aac_and_stays_in_time(ear, tmp_path):
    path = duet(tmp_path / "a.mkv", codecs=("libx264", "pcm_s16le"))
    result = localize(path, ear, tmp_path)
    with av.open(str(result.overlay)) as file:
        assert file.streams.audio[0].codec_context.name == "aac"
    before, after = read_sound(look_at(path), RATE), read_sound(look_at(result.overlay), RATE)
    length = min(len(before), len(after))
    lag = np.argmax(np.correlate(after[RATE : 2 * RATE], before[RATE + 200 : 2 * RATE - 200], "valid")) - 200
    assert abs(length - 8 * RATE) < 2048
    assert abs(lag) <= 1.5 * RATE / PITCHES["bell"]  # of a tone, the lag is known up to its period


@pytest.mark.parametrize("size", [(120, 160), (121, 161), (118, 164)])
def test_the_overlay_has_the_original_size(ear, tmp_path, size):
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL, size=size)] * 16, tone("bell", 2))
    assert look_at(localize(path, ear, tmp_path).overlay).size == size


def test_pixels_that_are_not_square_stay_so(ear, tmp_path):
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL)] * 16, tone("bell", 2), aspect=Fraction(16, 11))
    assert look_at(localize(path, ear, tmp_path).overlay).aspect == Fraction(16, 11)


def test_a_variable_frame_rate_stays_one(ear, tmp_path):
    times = [0.0, 0.04, 0.12, 0.5, 0.52, 1.7, 1.75, 3.0]
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL)] * 8, tone("bell", 3.2), times)
    assert np.allclose(times_of(localize(path, ear, tmp_path).overlay), times, atol=2e-3)


def test_heat_covers_the_source_that_sounds_and_not_the_silent_one(ear, tmp_path):
    path = duet(tmp_path / "a.mp4")
    result = localize(path, ear, tmp_path)
    shown = {round(s, 2): f.to_ndarray(format="rgb24").astype(float) for s, f in frames(look_at(result.overlay))}
    with av.open(str(path)) as file:
        plain = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(float)

    def changed(seconds, box):
        x0, y0, x1, y1 = box
        here = np.s_[y0 + 8 : y1 - 8, x0 + 8 : x1 - 8]
        luma = np.array([0.299, 0.587, 0.114])
        return abs((shown[seconds][here] @ luma).mean() - (plain[here] @ luma).mean())

    assert changed(1.0, BELL[1]) > 20 > 8 > changed(1.0, DRUM[1])
    assert changed(7.0, DRUM[1]) > 20 > 8 > changed(7.0, BELL[1])


def test_a_failed_run_leaves_no_half_files(ear, tmp_path, monkeypatch):
    def fails(*_):
        raise DataError("no more")

    monkeypatch.setattr(HeatVideo, "add", fails)
    with pytest.raises(DataError, match="no more"):
        localize(duet(tmp_path / "a.mp4"), ear, tmp_path)
    assert list((tmp_path / "out").iterdir()) == []


# ---------------------------------------------------------------------------------------------- files as they come


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_a_rotated_phone_video_is_seen_and_written_upright(ear, tmp_path, rotation):
    upright = picture_of(BELL, DRUM)
    lying = np.rot90(upright, -rotation // 90)
    path = write_video(tmp_path / "a.mp4", [lying] * 16, tone("bell", 2), rotation=rotation)
    result = localize(path, ear, tmp_path)
    assert look_at(path).size == look_at(result.overlay).size == (120, 160)
    seen = small_picture(next(frames(look_at(path)))[1], 120, 160).transpose(1, 2, 0)
    assert (
        np.abs(seen[30:50, 20:40].mean(axis=(0, 1)) - COLOURS["bell"]).max() < 25
    )  # what compression does to a colour
    assert overlap([int(rows_of(result)[0][edge]) for edge in ("x0", "y0", "x1", "y1")], BELL[1]) > 0.6


def test_a_photo_and_a_sound_become_a_video_as_long_as_the_sound(ear, tmp_path):
    Image.fromarray(picture_of(BELL, DRUM)).save(tmp_path / "photo.png")
    soundfile.write(tmp_path / "sound.wav", tone("bell", 5), RATE)
    result = localize(tmp_path / "photo.png", ear, tmp_path, sound=tmp_path / "sound.wav")
    assert result.names == ("bell",)
    assert look_at(result.overlay).size == (120, 160)
    assert look_at(result.overlay).seconds == pytest.approx(5, abs=0.3)


def test_a_photo_that_a_phone_took_lying_is_seen_upright(ear, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it
    Image.fromarray(np.rot90(picture_of(BELL))).save(tmp_path / "photo.jpg", exif=exif)
    assert look_at(tmp_path / "photo.jpg").size == (120, 160)


def test_a_separate_sound_takes_the_place_of_a_videos_own(ear, tmp_path):
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL, DRUM)] * 32)
    soundfile.write(tmp_path / "sound.wav", tone("drum", 4), RATE)
    assert localize(path, ear, tmp_path, sound=tmp_path / "sound.wav").names == ("drum",)


def test_pictures_after_the_end_of_the_sound_have_no_source(ear, tmp_path):
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL)] * 80, tone("bell", 4))
    result = localize(path, ear, tmp_path)
    assert result.scores[result.seconds < 2.4].min() > 0.5
    assert result.scores[result.seconds > 5.6].max() == 0
    assert any("no sound after 4" in note for note in result.notes)


def test_a_cut_off_video_is_used_as_far_as_it_goes_and_says_so(ear, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (120, 160, 3), np.uint8) for _ in range(64)]
    path = write_video(tmp_path / "a.mp4", pictures, tone("bell", 8), movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    result = localize(path, ear, tmp_path)
    assert 1 < result.seconds[-1] < 6
    assert any("says that it lasts 8.0 s" in note for note in result.notes)


def test_damage_inside_a_video_is_left_out_and_counted(ear, tmp_path):
    path = duet(tmp_path / "a.mkv")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for place in rng.integers(len(data) // 4, len(data), 60):
        data[place] ^= 0xFF
    path.write_bytes(data)
    result = localize(path, ear, tmp_path)
    assert len(result.seconds) > 8
    assert result.overlay.stat().st_size > 1000


def write_text(path):
    path.write_text("this is no video")


def write_nothing(path):
    path.write_bytes(b"")


def write_headless(path):
    data = duet(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])  # the index is at the end of an MP4


def write_mute(path):
    write_video(path, [picture_of(BELL)] * 8)


def write_silent(path):
    write_video(path, [picture_of(BELL)] * 16, np.zeros(2 * RATE, np.float32))


@pytest.mark.parametrize(
    ("write", "name", "sentence"),
    [
        (write_text, "a.mp4", r"a\.mp4 cannot be read as a picture, a video or a sound"),
        (write_nothing, "a.mp4", r"a\.mp4 is empty \(0 bytes\)"),
        (write_headless, "a.mp4", "cut off before it was finished"),
        (write_mute, "a.mp4", r"a\.mp4 has no sound, and sound is what is localized"),
        (write_silent, "a.mp4", "is silent from beginning to end"),
        (lambda path: soundfile.write(path, tone("bell", 1), RATE), "a.wav", "a.wav has no picture. Name a photo"),
        (lambda path: Image.fromarray(picture_of(BELL)).save(path), "a.png", "a.png is a photo, and sound"),
        (lambda path: path.mkdir(), "folder", "folder is a folder; name a file"),
        (lambda path: None, "nothing.mp4", "nothing.mp4 does not exist"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_sentence(ear, tmp_path, write, name, sentence):
    write(tmp_path / name)
    with pytest.raises(DataError, match=sentence):
        localize(tmp_path / name, ear, tmp_path)


# ------------------------------------------------------------------------------------------------------- the sound


def test_a_window_of_sound_is_that_of_the_file_around_its_moment(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 10 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    around = SoundAround(look_at(tmp_path / "a.wav"), RATE, 3.0)
    for seconds, start in ((0.0, 0.0), (1.0, 0.0), (1.7, 0.2), (5.0, 3.5), (9.5, 7.0)):
        first = round(start * RATE)
        assert np.allclose(around.at(seconds), sound[first : first + 3 * RATE], atol=1e-6)


def test_a_sound_shorter_than_a_window_is_repeated(tmp_path):
    sound = tone("bell", 1)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    window = SoundAround(look_at(tmp_path / "a.wav"), RATE, 3.0).at(0.5)
    assert np.allclose(window, np.resize(sound, 3 * RATE), atol=1e-6)


def test_stereo_is_averaged_as_the_stores_do_it(tmp_path):
    rng = np.random.default_rng(0)
    sound = rng.uniform(-0.9, 0.9, (2 * RATE, 2)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    assert np.allclose(read_sound(look_at(tmp_path / "a.wav"), RATE), sound.mean(axis=1), atol=1e-6)


def test_overlapping_windows_faded_into_each_other_are_the_sound_again(tmp_path):
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 7 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    parts = list(windows(look_at(tmp_path / "a.wav"), RATE, 3.0))
    length = len(parts[0][1])
    total = np.zeros(len(parts) * length // 2 + length)
    for number, (_, window) in enumerate(parts):
        total[number * length // 2 :][:length] += window * np.hanning(length + 1)[:-1]
    assert np.allclose(total[length // 2 :][: len(sound)], sound, atol=1e-5)


class Splitting(Ear):
    """Separates by a sharp filter at 150 Hz: the drum is below it, the bell above."""

    stft_window = (1024, 256)

    def resampled(self, waveforms):
        return waveforms[..., :: RATE // self.rate]

    def separate(self, frames, mixture):
        assert frames.shape[1:] == (2, 3, 224, 224)
        spectrum = torch.fft.rfft(mixture)
        low = torch.fft.rfftfreq(mixture.shape[1], 1 / RATE) < 150
        blue = frames.float().mean(dim=(3, 4))  # [batch, source, channel]: a bell's crop is yellow, a drum's red
        is_drum = blue[:, :, 1] < 120
        return torch.stack(
            [torch.fft.irfft(spectrum * (low if drum else ~low), mixture.shape[1]) for drum in is_drum[0]], dim=1
        )


def test_separated_tracks_are_as_long_as_the_sound_and_hold_their_source(ear, tmp_path):
    sound = tone("bell", 8) + tone("drum", 8)
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL, DRUM)] * 64, sound)
    result = localize(path, Splitting(), tmp_path)
    assert set(result.tracks) == {"bell", "drum"}
    for name, file in result.tracks.items():
        track, rate = soundfile.read(file)
        true = tone(name, 8)
        assert rate == RATE
        assert abs(len(track) - 8 * RATE) < 1.5 * RATE + 2048  # the last window reaches into silence
        middle = slice(2 * RATE, 6 * RATE)
        spectrum = np.abs(np.fft.rfft(track[middle]))
        assert abs(np.argmax(spectrum) / 4 - PITCHES[name]) < 1  # Hz
        assert track[middle].std() == pytest.approx(true[middle].std(), rel=0.1)


class SplittingNameless(Splitting):
    """Has one map, on which everything that is not grey is hot; a window at its rate is an odd number of samples."""

    CLASSES = ("none",)
    rate = RATE // 2

    def separate(self, frames, mixture):
        return super().separate(frames, mixture)[..., ::2]

    def recognize(self, mixture):
        return None

    def localize(self, query):
        return torch.nn.functional.avg_pool2d((query.frames.float() - 128).abs().sum(dim=1, keepdim=True), 8)


def test_a_method_with_one_map_separates_its_hottest_places(ear, tmp_path):
    path = write_video(tmp_path / "a.mp4", [picture_of(BELL, DRUM)] * 64, tone("bell", 8) + tone("drum", 8))
    result = localize(path, SplittingNameless(), tmp_path)
    assert result.names == ("sound",)
    assert list(result.tracks) == ["place 1", "place 2"]
    middle = slice(RATE, 3 * RATE)  # four seconds
    tracks = [soundfile.read(file) for file in result.tracks.values()]
    assert [rate for _, rate in tracks] == [RATE // 2] * 2
    pitches = {np.argmax(np.abs(np.fft.rfft(track[middle]))) / 4 for track, _ in tracks}
    assert pitches == {PITCHES["bell"], PITCHES["drum"]}


# --------------------------------------------------------------------------------------------------------- the rest


def test_importing_avnb_loads_neither_torch_nor_av():
    code = "import sys, avnb; print(sorted({'torch', 'av', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr


def test_avnb_has_localize_video():
    import avnb

    assert avnb.localize_video is localize_video


def test_the_standin_video_plays_when_and_shows_where_it_says(tmp_path):
    made = render_video(tmp_path / "a.mp4")
    sound = read_sound(look_at(made.path), RATE)
    level = [np.abs(sound[round(s * RATE) :][:2000]).max() for s in (0.5, 4.0, 8.0, 9.5)]
    assert min(level[:3]) > 0.02
    assert level[3] < 0.005
    assert made.playing == PLAYING
    boxes = [made.box(name, seconds) for name in made.names for seconds in (0.0, 2.5, 9.9)]
    assert all(0 <= x0 < x1 <= 336 and 0 <= y0 < y1 <= 304 for x0, y0, x1, y1 in boxes)
    assert look_at(made.path).size == (304, 336)


# VmHWM, not getrusage's peak: that one begins at the peak of the process by which this one was started.
TEN_MINUTES = """
import json, re, resource, sys
from pathlib import Path
import torch
from test_localize import Ear
from avnb.video.localize import localize_video

torch.set_num_threads(1)
result = localize_video(sys.argv[1], Ear(), folder=sys.argv[2], per_second=0.5, progress=False)
status = Path("/proc/self/status")
if status.exists():
    peak = 1024 * int(re.search(r"VmHWM:\\s*(\\d+) kB", status.read_text())[1])
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"bytes": peak, "table": str(result.table)}))
"""


def test_ten_minutes_of_video_take_less_than_a_gigabyte(ear, tmp_path):
    moving = [np.roll(picture_of(BELL, DRUM, size=(180, 320)), shift, axis=1) for shift in range(0, 40, 2)]
    pictures, times = [moving[k % 20] for k in range(1200)], np.arange(1200) / 2
    path = write_video(tmp_path / "long.mp4", pictures, tone("bell", 600), times)
    done = subprocess.run(
        [sys.executable, "-c", TEN_MINUTES, str(path), str(tmp_path / "out")],
        capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["table"]).read_text().splitlines()[-1].startswith("598.000,")
    assert said["bytes"] < 1e9
