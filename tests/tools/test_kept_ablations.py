"""The rows of ablations: trained once where two are the same, kept with their seeds, and gone on with."""

import json
import sys
from pathlib import Path

import pytest

from avnb.config import Settings
from avnb.errors import SettingsError
from avnb.evaluation.ablations import AS_IT_IS, DIVISOR, read_ablations, runs_of_rows
from avnb.evaluation.ablations import kept_rows as rows_of_table
from avnb.models import METHODS

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import ablations  # noqa: E402

TINY = Settings(dataset="tiny", epochs=1, batch_size=8, preset="quick", device="cpu")
NOTHING = {"dataset": "tiny", "origin": "real", "preset": "quick", "limit": 0, "divisor": 3, "processor": "one"}


def test_rows_of_the_same_settings_are_trained_once_and_so_is_the_method_as_it_is():
    found = ablations.trainings(Settings(), "cpu", "stand-in", [])
    assert len({training.settings for training in found}) == len(found)
    names = [(training.settings.METHOD, name) for training in found for name in training.names]
    every = {
        (name, f"{table}: {row}")
        for name, cls in METHODS.items()
        for table, rows in cls.ABLATIONS.items()
        if (name, table) not in ablations.NOT_TRAINED
        for row in rows
    }
    assert every | {(name, AS_IT_IS) for name, _ in every} == set(names)
    [whole] = [training for training in found if training.settings.METHOD == "avgn" and AS_IT_IS in training.names]
    assert {"table3: AVCT and AVG", "table4: 1 layer, softmax"} <= set(whole.names)


def test_every_row_is_trained_for_the_same_share_of_the_preset_s_epochs():
    for training in ablations.trainings(Settings(), "cpu", "stand-in", []):
        usual = METHODS[training.settings.METHOD].SETTINGS().resolve("cpu")
        assert training.settings.epochs == -(-usual.epochs // DIVISOR)


def test_some_rows_can_be_named_and_others_are_refused_in_a_sentence():
    found = ablations.trainings(Settings(), "cpu", "stand-in", ["dsol:table7"])
    assert {training.settings.METHOD for training in found} == {"dsol"}
    assert {name.partition(":")[0] for training in found for name in training.names} == {AS_IT_IS, "table7"}
    with pytest.raises(SettingsError, match=r'no ablation "tabel7"\. Did you mean "table7"\?'):
        ablations.trainings(Settings(), "cpu", "stand-in", ["dsol:tabel7"])


@pytest.fixture
def two_rows():
    """EZ-VSL as it is and one row of its Table 6, on the tiny benchmark."""
    return ablations.trainings(TINY, "cpu", "real", ["ez_vsl:table6"])[:2]


def test_every_seed_is_trained_once_and_its_numbers_are_the_runs(workspace, tiny_store, two_rows, capsys):
    path = workspace / "ablations.json"
    ablations.collect(ablations.earlier(path, NOTHING), tiny_store, two_rows, 1, path)
    ablations.collect(ablations.earlier(path, NOTHING), tiny_store, two_rows, 2, path)
    assert "2 to be trained" in capsys.readouterr().out.splitlines()[-3]
    kept = rows_of_table(read_ablations(path), "ez_vsl", "table6")
    assert list(kept) == [AS_IT_IS, "similarity of the maximum"]
    assert [row.seeds for row in kept.values()] == [(0, 1), (0, 1)]
    runs = [json.loads(one.read_text()) for one in sorted((workspace / "outputs" / "ez_vsl").glob("*/*/metrics.json"))]
    assert len(runs) == 4
    of_seed = {
        said["settings"]["seed"]: said["rows"][0]["AP"] for said in runs if said["settings"]["matching"] == "max"
    }
    [judged] = kept[AS_IT_IS].judged
    assert judged["values"]["AP"] == [of_seed[0], of_seed[1]]
    shown = runs_of_rows(two_rows[0].settings, tiny_store.name, "table6")
    assert list(shown) == list(kept)
    floors = json.loads(path.read_text())["without a model"]
    assert [one["method"] for one in floors] == ["centre", "oracle"]


def test_what_other_data_or_another_processor_has_left_is_not_added_to(tmp_path):
    path = tmp_path / "ablations.json"
    assert ablations.earlier(path, NOTHING)["methods"] == {}
    path.write_text(json.dumps(NOTHING | {"without a model": [], "methods": {"avgn": []}}))
    assert ablations.earlier(path, NOTHING)["methods"] == {"avgn": []}
    assert ablations.earlier(path, NOTHING | {"processor": "another"})["methods"] == {}


def test_json_is_laid_out_so_that_it_reads_the_same():
    said = {"a": [{"values": {"AP": [1.0] * 60}}, {}], "text": "é" * 500, "b": {}}
    assert json.loads(ablations.laid_out(said)) == said
    assert len(ablations.laid_out(said).splitlines()) > 1
