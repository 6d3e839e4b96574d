"""Films of several shots, pictures and sound in memory, sounds that are no class, and a picture of who sounds when."""

import av
import numpy as np
import pytest
import torch
from test_localize import BELL, DRUM, RATE, Ear, duet, ear, picture_of, tone, write_video  # noqa: F401 (a fixture)

from avnb.errors import DataError
from avnb.video.localize import localize_video
from avnb.video.reader import held, look_at
from avnb.video.shots import change, is_cut
from avnb.video.summary import cuts_of
from avnb.video.timeline import draw_timeline
from avnb.video.unknown import doubtful, other_sounds


def textured(seed, size=(120, 160)):
    """A picture with light and dark of its own, as photographs have; [3, height, width]."""
    from PIL import Image

    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    large = Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(large).transpose(2, 0, 1))


# ------------------------------------------------------------------------------------------------------------- shots


def test_a_moved_or_darker_picture_is_of_the_same_shot_and_another_is_not():
    picture = textured(0, (136, 176))
    here, moved = picture[:, 8:128, 8:168], picture[:, :120, 14:174]
    assert not is_cut(here, moved)
    assert not is_cut(here, (0.9 * here).astype(np.uint8))
    assert all(is_cut(here, textured(seed)) for seed in range(1, 6))


def test_two_plain_pictures_are_alike_and_a_fade_to_black_is_a_change():
    grey = np.full((3, 60, 80), 120, np.uint8)
    assert change(grey, grey + 3) < 0.1
    assert is_cut(textured(0), np.zeros((3, 120, 160), np.uint8))


def test_maps_do_not_smear_over_a_cut(ear, tmp_path):  # noqa: F811
    # Two shots of 1.5 s: the bell at the left of one, at the right of the other. The method looks once a second, at
    # 1.0 and 2.0 s; a picture just before the cut has the heat of its own shot, one just after it that of the next.
    left, right = ("bell", (10, 40, 50, 80)), ("bell", (110, 40, 150, 80))
    backs = textured(3).transpose(1, 2, 0) // 4, textured(4).transpose(1, 2, 0) // 4
    pictures = [back.copy() for back in backs for _ in range(12)]
    for number, picture in enumerate(pictures):
        _, (x0, y0, x1, y1) = left if number < 12 else right
        picture[y0:y1, x0:x1] = picture_of(left)[60, 30]
    path = write_video(tmp_path / "cut.mp4", pictures, tone("bell", 3))
    result = localize_video(path, ear, folder=tmp_path / "out", per_second=1.0, progress=False)
    assert cuts_of(result.rows) == (2.0,)
    with av.open(str(path)) as before, av.open(str(result.overlay)) as after:
        plain = [frame.to_ndarray(format="rgb24").astype(int) for frame in before.decode(video=0)]
        heated = [frame.to_ndarray(format="rgb24").astype(int) for frame in after.decode(video=0)]
    changed = [np.abs(a - b)[30:90].sum(axis=(0, 2)) for a, b in zip(plain, heated, strict=True)]
    # Without shots the last picture before the cut, 0.4 s after its moment, would have 4/10 of the next shot's heat.
    for number in (11, 12):
        own = changed[number][10:50] if number == 11 else changed[number][110:150]
        other = changed[number][110:150] if number == 11 else changed[number][10:50]
        assert own.mean() > 4 * other.mean()


# ------------------------------------------------------------------------------------------------------------- arrays


def in_memory(path):
    """The pictures and the sound of a film, decoded the plain way."""
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    return np.stack(pictures), sound


def test_pictures_and_sound_in_memory_give_what_their_film_gives_and_write_nothing(ear, tmp_path):  # noqa: F811
    path = duet(tmp_path / "duet.mp4")
    pictures, sound = in_memory(path)
    told = []
    there = localize_video(path, ear, folder=tmp_path / "out", progress=False)
    here = localize_video(
        pictures, ear, sound=sound, fps=8, rate=RATE, progress=lambda *said: told.append(said), folder=tmp_path / "not"
    )
    assert here.names == there.names
    assert (here.overlay, here.table, here.timeline) == (None, None, None)
    assert not (tmp_path / "not").exists()
    np.testing.assert_allclose(here.seconds, there.seconds, atol=0.01)
    np.testing.assert_allclose(here.scores, there.scores, atol=0.05)  # AAC's first samples are a pause in a file
    assert [source.name for source in here.sources] == [source.name for source in there.sources]
    assert {what for what, _, _ in told} == {"listen", "localize"}
    assert told[-1] == ("localize", 8.0, 8.0)


def test_tensors_with_channels_first_and_a_photo_are_taken_as_well(ear):  # noqa: F811
    pictures = torch.from_numpy(np.stack([picture_of(BELL, DRUM)] * 24)).permute(0, 3, 1, 2)
    sound = torch.from_numpy(np.stack([tone("bell", 3), tone("bell", 3)]))
    film = localize_video(pictures, ear, sound=sound, fps=8.0, rate=RATE, progress=False)
    photo = localize_video(pictures[0].permute(1, 2, 0), ear, sound=sound, rate=RATE, progress=False)
    assert film.names == photo.names == ("bell",)
    assert film.size == photo.size == (120, 160)
    assert len(photo.seconds) == 12
    [row] = {row.box for row in photo.rows}
    assert abs(row[0] - BELL[1][0]) < 12


def test_files_are_left_out_where_none_are_asked_for(ear, tmp_path):  # noqa: F811
    result = localize_video(duet(tmp_path / "a.mp4"), ear, folder=tmp_path / "out", files=False, progress=False)
    assert (result.overlay, result.table, result.timeline, result.tracks) == (None, None, None, {})
    assert len(result.rows) == 64
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("pictures", "sound", "fps", "rate", "sentence"),
    [
        (np.zeros((4, 8, 8, 3), np.float32), np.zeros(9, np.float32), 8, RATE, "Pictures in memory are uint8"),
        (np.zeros((4, 8, 8), np.uint8), np.zeros(9, np.float32), 8, RATE, "Pictures in memory are uint8"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(9, np.int16), 8, RATE, "A sound in memory is a waveform"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(9, np.float32), 0, RATE, "Pictures in memory need fps"),
        (np.zeros((4, 8, 8, 3), np.uint8), np.full(9, np.nan, np.float32), 8, RATE, "no numbers"),
    ],
)
def test_what_is_no_picture_or_no_sound_is_refused_in_a_sentence(pictures, sound, fps, rate, sentence):
    with pytest.raises(DataError, match=sentence):
        held(pictures, sound, fps, rate)


# ------------------------------------------------------------------------------------------------- none of my classes


class Believer(Ear):
    """It takes noise for a drum: what it says of sounds that are no class is what it says of everything."""

    def recognize(self, mixture):
        heard = super().recognize(mixture)
        heard[:, 1] = heard[:, 1].clamp(min=0.6)
        return heard


def test_a_class_that_is_heard_in_noise_as_well_must_be_heard_better(ear, tmp_path):  # noqa: F811
    assert doubtful(Believer(), RATE, 3.0)[1] >= 0.6
    assert doubtful(ear, RATE, 3.0).max() < 0.3
    noise = 0.1 * np.random.default_rng(0).normal(size=4 * RATE).astype(np.float32)
    path = write_video(tmp_path / "noise.mp4", [picture_of(BELL, DRUM)] * 32, noise)
    result = localize_video(path, ear, folder=tmp_path / "out", progress=False)
    assert any("none of them" in note for note in result.notes)
    assert not any(row.sounds for row in result.rows)
    assert result.unknown == ((0.0, 3.75),)


def test_sounds_that_are_no_class_are_the_same_every_time_and_neither_silent_nor_clipped():
    first, again = (np.stack(list(other_sounds(8000, 1.0))) for _ in range(2))
    assert np.array_equal(first, again)
    assert (first.std(axis=1) > 0.05).all()
    assert (np.abs(first) < 1).mean() > 0.99


# -------------------------------------------------------------------------------------------------------- the timeline


def test_the_timeline_has_a_lane_for_every_source_and_marks_the_cuts(ear, tmp_path):  # noqa: F811
    result = localize_video(duet(tmp_path / "a.mp4"), ear, folder=tmp_path / "out", film=False, progress=False)
    [axis] = draw_timeline(result.rows, ear.class_names or ("bell", "drum")).axes
    assert [label.get_text() for label in axis.get_yticklabels()][:2] == list(result.names)
    assert result.timeline.stat().st_size < 100_000
    assert look_at(result.timeline).size is not None
