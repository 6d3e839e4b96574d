"""The change test on films whose figures can be counted by hand."""

import json

import numpy as np
import pytest

from avnb.errors import DataError
from avnb.standin.video import render_video
from avnb.video.changes import Sounding, change_test, read_soundings
from avnb.video.command import main
from avnb.video.summary import Row

SIZE = (112, 224)  # a cell of the grid is one pixel by two
LEFT, RIGHT = (0, 0, 112, 112), (112, 0, 224, 112)
TRUTH = [Sounding("drum", 0, 4, LEFT), Sounding("flute", 4, 8, RIGHT)]  # then silence to the end


def film(*stretches: tuple[float, float, tuple[int, int, int, int]]) -> list[Row]:
    """Ten seconds, four moments a second, with what is shown from when to when."""
    moments = np.arange(0, 10, 0.25).tolist()
    return [Row(t, "it", box, 1.0, a <= t < b, True, 0) for t in moments for a, b, box in stretches]


def test_a_film_that_follows_the_sound_has_all_of_it_and_nothing_in_silence():
    found = change_test(film((0, 4, LEFT), (4, 8, RIGHT)), SIZE, TRUTH)["shown"]
    assert (found.before, found.after, found.throughout, found.lit) == (100, 100, 100, 0)


def test_a_film_that_stays_where_it_was_loses_all_after_the_change_and_is_lit_in_silence():
    found = change_test(film((0, 10, LEFT)), SIZE, TRUTH)["shown"]
    # Before the end of the flute (7 to 8 s) it is wrong as well: half of what lies before a change.
    assert (found.before, found.after, found.throughout, found.lit) == (50, 0, 50, 50)


def test_a_film_that_is_half_a_second_late_loses_half_of_the_second_after_the_change():
    found = change_test(film((0, 4.5, LEFT), (4.5, 8.5, RIGHT)), SIZE, TRUTH)["shown"]
    assert found.after == 50
    assert found.lit == pytest.approx(100 * 0.5 * 2 / 8)  # half of the picture in two of eight silent moments


def test_the_box_in_the_middle_never_listens():
    found = change_test(film((0, 10, LEFT)), SIZE, TRUTH)["centre"]
    # It covers half of the picture, half of it in either half: 1/4 of 3/4.
    assert (found.before, found.after, found.throughout) == pytest.approx((100 / 3,) * 3, abs=0.7)
    assert found.lit == pytest.approx(50, abs=1)


def test_what_begins_under_the_same_names_is_no_change():
    moving = [Sounding("drum", 0, 5, LEFT), Sounding("drum", 5, 10, RIGHT)]
    found = change_test(film((0, 10, LEFT)), SIZE, moving)["shown"]
    assert (found.before, found.after, found.throughout, found.lit) == (None, None, 50, None)
    assert found.sentence() == "IoU 50.0 % throughout; nothing is silent"


def test_a_sentence_says_what_there_was_nothing_of():
    late = change_test(film((0, 10, LEFT)), SIZE, [Sounding("drum", 4, 10, LEFT)])["shown"]
    assert late.sentence() == (
        "IoU 100.0 % after a change of who sounds, 100.0 % throughout; 50.0 % of the picture lit in silence"
    )
    never = change_test(film((0, 10, LEFT)), SIZE, [Sounding("drum", 20, 30, LEFT)])["shown"]
    assert never.sentence() == "nothing sounds; 50.0 % of the picture lit in silence"


def test_two_sources_at_once_are_one_region():
    both = [Sounding("drum", 0, 10, LEFT), Sounding("flute", 5, 10, RIGHT)]
    found = change_test(film((0, 10, LEFT), (5, 10, RIGHT)), SIZE, both)["shown"]
    assert (found.before, found.after, found.throughout) == (100, 100, 100)


def test_a_table_is_read_and_what_it_cannot_mean_is_named(tmp_path):
    path = tmp_path / "truth.csv"
    path.write_text("class,start,stop,x0,y0,x1,y1\ndrum,0,4,0,0,112,112\n")
    assert read_soundings(path) == TRUTH[:1]
    for line, said in (
        ("drum,4,0,0,0,9,9", "line 2: 0 <= start"),
        ("drum,x,4,0,0,9,9", "line 2: start, stop"),
        ("", "no rows"),
    ):
        path.write_text(f"class,start,stop,x0,y0,x1,y1\n{line}\n")
        with pytest.raises(DataError, match=said):
            read_soundings(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        read_soundings(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_soundings(tmp_path / "none.csv")


def test_nothing_to_compare_is_a_sentence():
    with pytest.raises(DataError, match="one of them is empty"):
        change_test([], SIZE, TRUTH)


def test_the_command_says_whether_a_film_follows_the_sound(tmp_path, capsys):
    performance = render_video(tmp_path / "duet.mp4")
    truth = tmp_path / "truth.csv"
    rows = [
        (name, at, at + 0.25, *performance.box(name, at))
        for name, (start, stop) in zip(performance.names, performance.playing, strict=True)
        for at in np.arange(start, stop, 0.25).tolist()
    ]
    truth.write_text("\n".join(["class,start,stop,x0,y0,x1,y1", *(",".join(map(str, row)) for row in rows)]))
    command = [str(performance.path), "--out", str(tmp_path / "out"), "--no-video", "--truth", str(truth), "--json"]
    assert main([*command, "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)["changes"]
    assert found["shown"]["throughout"] > found["centre"]["throughout"]
    assert found["shown"]["lit"] < found["centre"]["lit"] == pytest.approx(50, abs=1)
    truth.write_text("class,start,stop,x0,y0,x1,y1\nit,0,60,0,0,9,9\n")  # neither a change nor a silence
    assert main([*command, "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert json.loads(printed, parse_constant=pytest.fail)["changes"]["shown"]["lit"] is None
    assert main([*command[:-3], "--truth", str(tmp_path / "none.csv")]) == 1
    assert "cannot be read" in capsys.readouterr().err
