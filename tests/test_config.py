"""Settings: types, ranges, presets, and what counts as a parameter in a notebook; and the folders they lead to."""

import json
import math
import shutil
from dataclasses import dataclass, fields
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from avnb import models, paths
from avnb.config import Settings, did_you_mean, read_parameters, setting
from avnb.errors import AvnbError, DataError, RunError, SettingsError
from avnb.notebook import start


@dataclass(frozen=True)
class OfAMethod(Settings):
    METHOD: ClassVar[str] = "of_a_method"
    PRESETS: ClassVar = {
        "quick": {"epochs": 3, "weight_decay": 0.01, "schedule": "one_cycle", "width": 8},
        "paper": {"epochs": 100, "weight_decay": 0.1, "schedule": "constant", "width": 512},
    }
    width: int = setting(0, low=0, high=1024, doc="0: the preset's")


def message(error: type[Exception], function, *args, **kwargs) -> str:
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"epochs": "3"},
            "epochs = '3' is text, but epochs is a whole number (0: the preset's). Write it without quotes",
        ),
        ({"epochs": 2.0}, "epochs = 2.0 is a number, but epochs is a whole number"),
        ({"epochs": True}, "epochs = True is True or False, but epochs is a whole number"),
        ({"crop": 1}, "crop = 1 is a whole number, but crop is True or False"),
        ({"crop": "true"}, "crop = 'true' is text, but crop is True or False"),
        ({"learning_rate": True}, "learning_rate = True is True or False, but learning_rate is a number"),
        ({"learning_rate": None}, "learning_rate = None is NoneType, but learning_rate is a number"),
        ({"dataset": 3}, "dataset = 3 is a whole number, but dataset is text"),
        ({"batch_size": torch.tensor(3)}, "batch_size = tensor(3) is Tensor, but batch_size is a whole number"),
    ],
)
def test_a_wrong_type_is_refused_in_words(given, said):
    assert said in message(SettingsError, Settings, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": -1}, "epochs = -1 is out of range; it must be at least 0 and at most 100000"),
        ({"seed": 2**31}, "seed = 2147483648 is out of range"),
        ({"limit": -5}, "limit = -5 is out of range; it must be at least 0 ("),
        ({"learning_rate": math.nan}, "learning_rate = nan is out of range"),
        ({"learning_rate": math.inf}, "learning_rate = inf is out of range"),
        ({"learning_rate": 10**400}, "is out of range"),
        (
            {"weight_decay": -0.5},
            "weight_decay = -0.5 is out of range; it must be at least 0.0 and at most 10.0 (-1: the",
        ),
        ({"preset": "Quick"}, 'preset = \'Quick\' is none of "auto", "quick", "paper". Did you mean "quick"?'),
        (
            {"schedule": "onecycle"},
            'schedule = \'onecycle\' is none of "constant", "one_cycle". Did you mean "one_cycle"?',
        ),
        ({"origin": "fake"}, 'origin = \'fake\' is none of "any", "real".'),
    ],
)
def test_a_value_out_of_range_is_refused_in_words(given, said):
    assert said in message(SettingsError, Settings, **given)


def test_a_whole_number_passes_where_a_number_is_asked_for():
    assert type(Settings(learning_rate=1).learning_rate) is float


def test_every_default_is_accepted():
    assert Settings().as_dict() == {entry.name: entry.default for entry in fields(Settings)}


anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
)


@given(name=st.sampled_from([entry.name for entry in fields(OfAMethod)]), value=anything)
def test_whatever_is_given_is_accepted_with_its_field_s_type_or_refused_in_a_sentence(name, value):
    wanted = next(entry.type for entry in fields(OfAMethod) if entry.name == name)
    try:
        kept = getattr(OfAMethod(**{name: value}), name)
    except SettingsError as refusal:
        said = str(refusal)
    else:
        said = f"{name} = {kept}" if type(kept) is wanted else ""
    assert said.startswith(f"{name} = ")


def test_resolve_fills_what_was_left_to_the_preset():
    settings = OfAMethod().resolve("cpu")
    assert (settings.preset, settings.device) == ("quick", "cpu")
    assert (settings.epochs, settings.weight_decay, settings.schedule, settings.width) == (3, 0.01, "one_cycle", 8)


@pytest.mark.parametrize(
    ("device", "origin", "preset"),
    [
        ("cpu", "real", "quick"),
        ("cpu", "stand-in", "quick"),
        ("cuda:1", "real", "paper"),
        ("mps", "real", "paper"),
        ("cuda", "stand-in", "quick"),  # make demo is the same few minutes on every machine
    ],
)
def test_auto_takes_the_paper_s_preset_for_real_clips_on_a_gpu_alone(device, origin, preset):
    assert OfAMethod().resolve(device, origin).preset == preset


@pytest.mark.parametrize(("origin", "preset"), [("real", "paper"), ("stand-in", "quick")])
def test_a_notebook_s_preset_depends_on_the_clips_it_found(workspace, tiny_folder, monkeypatch, origin, preset):
    shutil.copytree(tiny_folder, workspace / "data/tiny")
    path = workspace / "data/tiny/dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"origin": origin}))
    monkeypatch.setattr("avnb.datasets.pick_device", lambda name: "cuda")
    settings, _ = start(OfAMethod, {"dataset": "tiny"}, progress=False)
    assert settings.preset == preset


def test_a_named_preset_stays_on_any_device():
    assert OfAMethod(preset="paper").resolve("cpu").width == 512


def test_resolve_keeps_what_was_asked_for():
    settings = OfAMethod(epochs=7, weight_decay=0.0, schedule="constant", crop=False, seed=0).resolve("cpu")
    assert (settings.epochs, settings.schedule, settings.crop) == (7, "constant", False)
    assert settings.weight_decay == 0.0, "no weight decay is a wish, not the preset's"


@pytest.mark.parametrize("method", [value for value in vars(models).values() if hasattr(value, "SETTINGS")])
def test_presets_of_a_method_fill_only_fields_whose_default_says_so(method):
    defaults = {entry.name: entry.default for entry in fields(method.SETTINGS)}
    for preset in method.SETTINGS.PRESETS.values():
        assert all(defaults[name] in (0, "", -1, "preset") and defaults[name] is not False for name in preset)


PARAMETERS = 'dataset: str = "tiny"  # a folder of data/\nepochs: int = 0  # 0: the preset\'s\n'
INJECTED = "# Parameters\nepochs = 2\n"  # as papermill writes it
SETTINGS = "settings = str(globals().keys())"  # stands for the running cell, which assigns no literal


def notebook(*cells: str) -> dict:
    """Return the namespace of a notebook that ran these cells: IPython's In is "" and every cell's source in turn."""
    namespace: dict = {"In": ["", "import math", *cells]}
    for cell in cells:
        exec(cell, namespace)
    return namespace


def test_parameters_of_a_notebook_become_settings():
    settings = read_parameters(OfAMethod, notebook(PARAMETERS, INJECTED, SETTINGS))
    assert (settings.dataset, settings.epochs) == ("tiny", 2)


def test_a_misspelt_parameter_of_papermill_stops_with_the_nearest_name():
    cells = (PARAMETERS, "# Parameters\nepcohs = 3\n", SETTINGS)
    said = message(SettingsError, read_parameters, OfAMethod, notebook(*cells))
    assert 'There is no setting "epcohs" in of_a_method. Did you mean "epochs"?' in said
    assert "batch_size, clips_on_gpu, compile, crop, dataset" in said


def test_a_misspelt_name_in_the_parameters_cell_stops():
    said = message(SettingsError, read_parameters, OfAMethod, notebook(PARAMETERS + "batchsize = 3", SETTINGS))
    assert 'Did you mean "batch_size"?' in said


def test_both_names_of_a_double_assignment_are_checked():
    with pytest.raises(SettingsError, match='"lerning_rate"'):
        read_parameters(OfAMethod, notebook(PARAMETERS + "learning_rate = lerning_rate = 0.1", SETTINGS))


def test_names_that_other_cells_assign_are_no_parameters():
    cells = (
        "figure_size = 3",
        "import math\ncolour = 4",
        PARAMETERS,
        SETTINGS,
        "index = 5\nexample = 'duet'",
        SETTINGS,
    )
    assert read_parameters(OfAMethod, notebook(*cells)).dataset == "tiny"


@pytest.mark.parametrize(
    "between", ["model = print", "index = 3", "x, y = 1, 2", "for i in range(3): pass", "", "# no"]
)
def test_running_the_settings_cell_again_alone_works_after_any_cell(between):
    assert read_parameters(OfAMethod, notebook(PARAMETERS, SETTINGS, between, SETTINGS)).dataset == "tiny"


def test_a_cell_that_is_no_python_hides_no_settings():
    namespace = notebook(PARAMETERS, SETTINGS)
    namespace["In"] += ["not python at all (", SETTINGS]
    assert read_parameters(OfAMethod, namespace).dataset == "tiny"


def test_a_mended_parameters_cell_is_read_and_its_mistake_forgotten():
    assert read_parameters(OfAMethod, notebook(PARAMETERS + "epcohs = 3", SETTINGS, PARAMETERS, SETTINGS)).epochs == 0


def test_in_a_plain_mapping_every_name_counts():
    assert read_parameters(OfAMethod, {"epochs": 5, "_private": 1}).epochs == 5
    with pytest.raises(SettingsError, match='There is no setting "epcohs"'):
        read_parameters(OfAMethod, {"epcohs": 5})


def test_nothing_close_means_no_suggestion():
    assert did_you_mean("zzzz", ["music", "vggsound"]) == ""
    assert did_you_mean("musci", ["music", "vggsound"]) == ' Did you mean "music"?'


@pytest.mark.parametrize("error", [SettingsError, DataError, RunError])
def test_a_notebook_shows_the_sentence_alone(error):
    assert issubclass(error, AvnbError)
    assert error("The folder is empty.")._render_traceback_() == [f"{error.__name__}: The folder is empty."]


def test_the_project_is_found_from_a_folder_below_it(tmp_path, monkeypatch):
    for name in ("AVNB_DATA", "AVNB_OUTPUTS", "AVNB_ROOT"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "notebooks" / "deep").mkdir(parents=True)
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "notebooks" / "deep")
    assert (paths.project_root(), paths.data_dir(), paths.outputs_dir()) == (
        tmp_path,
        tmp_path / "data",
        tmp_path / "outputs",
    )


def test_the_project_s_folder_can_be_named_outright(tmp_path, monkeypatch):
    monkeypatch.delenv("AVNB_DATA", raising=False)
    monkeypatch.setenv("AVNB_ROOT", str(tmp_path))
    assert paths.data_dir() == tmp_path / "data"


def test_printed_paths_name_no_machine(workspace):
    assert paths.shown(workspace / "data" / "music" / "metadata.jsonl") == "data/music/metadata.jsonl"
    assert paths.shown(Path("/elsewhere/x")) == "/elsewhere/x"


def test_a_file_is_whole_or_the_old_one(tmp_path):
    path = tmp_path / "deep" / "x.txt"
    with paths.whole_file(path) as temporary:
        temporary.write_text("old")

    def write_half():
        with paths.whole_file(path) as temporary:
            temporary.write_text("half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.txt"]
