"""avnb-localize: a film in, files and a sentence out, and sentences where that cannot be."""

import json

import pytest
from test_localize import Ear, duet, ear  # noqa: F401 (a fixture)

from avnb.video import command
from avnb.video.summary import Row, Source, read_rows, sentence, sources_of


@pytest.fixture
def film(ear, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("avnb.training.trained.load", lambda name, dataset, device: Ear())
    return duet(tmp_path / "duet.mp4")


def test_a_film_is_told_in_a_line_and_kept_in_files(film, tmp_path, capsys):
    assert command.main([str(film), "--out", str(tmp_path / "out")]) == 0
    *files, line = capsys.readouterr().out.splitlines()
    assert [file.rsplit(".")[-1] for file in files] == ["mp4", "csv", "png"]
    assert line.startswith("bell sounds from 0.0 to ")
    assert "at the left; drum sounds from " in line
    assert line.endswith(" right.")
    bell, drum = sources_of(read_rows(next((tmp_path / "out").glob("*.csv"))))
    assert bell.spans[0][1] == pytest.approx(4, abs=1.6)  # three seconds are heard at once
    assert drum.spans[0][0] == pytest.approx(4, abs=1.6)
    assert abs(bell.box[0] - 10) < 12


def test_a_program_reads_json_and_asks_for_no_film(film, tmp_path, capsys):
    assert command.main([str(film), "--out", str(tmp_path / "out"), "--no-video", "--json", "--classes", "drum"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [source["name"] for source in said["sources"]] == ["drum"]
    assert said["size"] == [120, 160]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"duet-ear.csv", "duet-ear.png"}
    assert said["files"] == [str(tmp_path / "out" / name) for name in ("duet-ear.csv", "duet-ear.png")]
    assert said["none_of_these"][0][0] == 0.0  # the bell, which was not asked for
    assert said["cuts"] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.mp4"], "nowhere.mp4"),
        (["{film}", "--classes", "bel"], 'The run knows no class "bel". Did you mean "bell"?'),
        (["{film}", "--out", "{film}"], "cannot be written"),
    ],
)
def test_a_fault_is_a_sentence_and_an_exit_code(film, capsys, arguments, sentence):
    assert command.main([argument.replace("{film}", str(film)) for argument in arguments]) == 1
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err


def rows_of(sounds, heard=(), name="bell", shots=()):
    """A row a second of a source; ``heard`` and ``shots`` where they are not all on and all of one shot."""
    heard, shots = heard or [1] * len(sounds), shots or [0] * len(sounds)
    return [
        Row(float(second), name, (0, 0, 10, 20), 0.2 + 0.6 * on, bool(on), bool(there), shot)
        for second, (on, there, shot) in enumerate(zip(sounds, heard, shots, strict=True))
    ]


def test_a_source_that_stops_and_comes_back_has_two_spans():
    [bell] = sources_of(rows_of([1, 1, 0, 0, 1, 0]))
    assert bell == Source("bell", 0.8, ((0.0, 1.0), (4.0, 4.0)), (0, 0, 10, 20))
    assert bell.sentence(100, 30) == "bell sounds from 0.0 to 1.0 s and from 4.0 to 4.0 s, at the left"
    assert Source("bell", 0.8, ((0.0, 1.0),), (80, 0, 100, 6)).sentence(100, 30).endswith("at the top right")
    assert Source("bell", 0.8, ((0.0, 1.0),), (40, 10, 60, 20)).sentence(100, 30).endswith("in the middle")


def test_what_is_heard_and_is_none_of_the_sources_is_said_and_silence_is_not():
    rows = rows_of([1, 1, 0, 0, 0, 0], heard=[1, 1, 1, 1, 0, 0], shots=[0, 0, 0, 1, 1, 1])
    assert sentence(rows, 100, 30) == (
        "bell sounds from 0.0 to 1.0 s, at the left; something that is none of these sounds from 2.0 to 3.0 s; 2 shots."
    )
    assert sentence(rows_of([0, 0], heard=[0, 0]), 100, 30) == "bell is not heard."
