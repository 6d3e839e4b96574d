"""From a data set's name to its folder: the user's own, else the stand-in, for MUSIC alone and never unasked for."""

import json

import pytest

from avnb import datasets as module
from avnb.data.folder import write_dataset
from avnb.datasets import locate
from avnb.errors import DataError, SettingsError
from avnb.standin import build as standin

ROW = {"id": "a", "split": "train", "subset": "solo", "file_name": "a.jpg", "audio": "a.ogg"}


@pytest.fixture
def rendered(monkeypatch):
    """The folders that were rendered; rendering itself is replaced by a folder of one row."""
    folders = []

    def render(folder, progress=True):
        write_dataset(folder, "music", ["bell"], "stand-in", "drawn", [ROW])
        folders.append(folder)

    monkeypatch.setattr(standin, "render", render)
    return folders


def refusal(error, *args, **kwargs) -> str:
    with pytest.raises(error) as caught:
        locate(*args, **kwargs)
    return str(caught.value)


def test_a_prepared_folder_is_found_by_its_name(new_folder, rendered):
    folder = new_folder([ROW], "my_band")
    assert locate("my_band").folder == folder
    assert rendered == []


def test_a_folder_may_be_a_link(new_folder, workspace):
    new_folder([ROW], "mine").rename(workspace / "elsewhere")
    (workspace / "data" / "linked").symlink_to(workspace / "elsewhere")
    assert locate("linked", origin="real").name == "mine"


def test_music_without_data_is_the_stand_in_and_says_so(workspace, rendered):
    info = locate("music", progress=False)
    assert (info.origin, info.folder) == ("stand-in", workspace / "data" / "music-standin")


def test_outside_of_a_checkout_it_is_said_where_something_is_made(tmp_path, rendered, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for variable in ("AVNB_DATA", "AVNB_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    locate("music", progress=False)
    assert f"is rendered in {tmp_path.as_posix()}/data/music-standin, since" in capsys.readouterr().out
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "data" / "music-standin" / "dataset.json").unlink()
    locate("music", progress=False)
    assert capsys.readouterr().out == ""


def test_the_stand_in_is_rendered_once(workspace, rendered):
    assert locate("music") == locate("music")
    assert rendered == [workspace / "data" / "music-standin"]


def test_real_music_comes_before_its_stand_in(new_folder, rendered):
    new_folder([ROW], "music-standin", origin="stand-in")
    folder = new_folder([ROW], "music")
    assert locate("music").folder == folder


def test_no_other_benchmark_has_a_stand_in(workspace, rendered):
    for name in module.BENCHMARKS:
        if name != "music":
            said = refusal(DataError, name)
            assert f"is not prepared: data/{name} does not exist" in said
            assert "in the format that data/README.md describes" in said
    assert rendered == []


def test_real_music_without_data_is_refused_with_the_steps(workspace, rendered):
    said = refusal(DataError, "music", origin="real")
    assert "MUSIC" in said
    assert "is not prepared: data/music does not exist. Its videos cannot be distributed; put your copy there" in said
    assert 'or leave out origin = "real" to use the embedded stand-in' in said
    assert rendered == []


def test_a_stand_in_does_not_pass_for_real(new_folder):
    new_folder([ROW], "music-standin", origin="stand-in")
    new_folder([ROW], "music", origin="stand-in")
    for name in ("music", "music-standin"):
        assert f"data/{name} is a stand-in (its dataset.json says so)" in refusal(DataError, name, origin="real")


def test_one_stand_in_clip_is_enough_to_be_refused_as_real(new_folder):
    folder = new_folder([ROW], "music")
    write_dataset(folder, "music", ["bell"], "stand-in", "", [ROW], {"real": 11, "stand-in": 1})
    said = refusal(DataError, "music", origin="real")
    assert "data/music holds 1 of 12 clips of a stand-in (its dataset.json says so)" in said


@pytest.mark.parametrize(("name", "meant"), [("msuic", "music"), ("Music", "music"), ("my_bnd", "my_band")])
def test_an_unknown_name_is_answered_with_the_nearest(new_folder, rendered, name, meant):
    new_folder([ROW], "my_band")
    said = refusal(SettingsError, name)
    assert f'There is no data set "{name}". Did you mean "{meant}"? Prepared in data: my_band. Benchmarks' in said
    assert rendered == []


def test_without_a_data_folder_the_answer_is_the_same(workspace):
    (workspace / "data").rmdir()
    assert "Prepared in data: none. Benchmarks of the papers: music" in refusal(SettingsError, "zzz")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc", "a/b", ".store", "a" * 300])
def test_a_name_that_is_no_folder_s_is_refused(workspace, name):
    assert "is not the name of a folder of data" in refusal(SettingsError, name)


def test_an_empty_folder_is_refused_and_no_stand_in_taken_for_it(workspace, rendered):
    (workspace / "data" / "music").mkdir()
    assert "data/music is empty. Prepare it as data/README.md says, or remove it." in refusal(DataError, "music")
    assert rendered == []


def test_a_folder_that_is_not_prepared_is_refused_and_no_stand_in_taken_for_it(workspace, rendered):
    (workspace / "data" / "music" / "videos").mkdir(parents=True)
    assert "data/music has no dataset.json, so it is not a prepared benchmark" in refusal(DataError, "music")
    assert rendered == []


def test_a_link_that_leads_nowhere_is_refused_and_no_stand_in_taken_for_it(workspace, rendered):
    (workspace / "data" / "music").symlink_to("gone")
    assert "data/music is a link to gone, where there is nothing" in refusal(DataError, "music")
    assert rendered == []


def test_a_damaged_dataset_json_is_refused(new_folder):
    folder = new_folder([ROW], "mine")
    (folder / "dataset.json").write_text(json.dumps({"name": "mine"}))
    assert "data/mine/dataset.json" in refusal(DataError, "mine")
