"""avnb-sweep: every combination once, whatever happened before, and a table that says what became of each."""

import json

import pytest

submitit = pytest.importorskip("submitit")

from avnb.errors import SettingsError  # noqa: E402
from avnb.training import sweep  # noqa: E402

TINY = ["-p", "dataset", "tiny", "-p", "epochs", "1", "-p", "batch_size", "8", "-p", "dim", "16", "-p", "device", "cpu"]


@pytest.fixture
def here(monkeypatch):
    """Jobs are done in this process, one after the other."""

    def executor(said, slot):
        return submitit.DebugExecutor(folder="outputs/.sweeps")

    monkeypatch.setattr(sweep, "_executor", executor)


def histories(folder):
    return {path: (path.stat().st_mtime_ns, json.loads(path.read_text())) for path in folder.rglob("history.json")}


def test_methods_and_values_are_combined():
    found = sweep.trainings(["avgn", "ots"], [("seed", "0,1"), ("dim", "16,32"), ("dataset", "music")])
    assert len(found) == 8
    assert len(set(found)) == 8
    assert found[-1] == sweep.Training("ots", (("seed", "1"), ("dim", "32"), ("dataset", "music")))


@pytest.mark.parametrize(
    ("methods", "parameters", "sentence"),
    [
        (["avng"], [], "There is no method"),
        (["avgn"], [("seed", "0,x")], "seed"),
        (["avgn", "ots"], [("gate", "none")], "gate"),  # which one of the two does not have
        (["avgn"], [("seed", "0"), ("seed", "1")], "-p seed is given twice"),
    ],
)
def test_what_a_method_does_not_have_is_refused_before_anything_is_trained(methods, parameters, sentence):
    with pytest.raises(SettingsError, match=sentence):
        sweep.trainings(methods, parameters)


def test_nothing_is_trained_twice_and_the_table_names_each(tiny, here, capsys):
    asked = ["ez_vsl,ots", *TINY, "-p", "seed", "0,1"]
    assert sweep.main(asked) == 0
    printed, first = capsys.readouterr().out, histories(tiny / "outputs")
    assert len(first) == 4
    assert printed.count("done") == 9  # as each ended, in the table, and in the last line
    assert sweep.main(asked) == 0
    assert histories(tiny / "outputs") == first


def test_a_training_that_fails_is_named_with_its_reason_and_the_others_are_done(tiny, here, capsys):
    asked = ["ez_vsl", "-p", "dataset", "tiny", "-p", "epochs", "1", "-p", "dim", "16", "-p", "device", "cpu"]
    assert sweep.main([*asked, "-p", "batch_size", "8,60000"]) == 1
    said = capsys.readouterr()
    [failed] = {line[6:] for line in said.out.splitlines() if "FAILED" in line and line.startswith("FAILED")}
    assert "batch_size=60000" in failed
    assert "SettingsError: " in failed
    assert "1 of 2 trainings failed" in said.err
    assert len(histories(tiny / "outputs")) == 1


def test_a_run_that_another_process_trains_is_waited_for(monkeypatch):
    from avnb.errors import RunInUseError
    from avnb.training import command

    answers = iter([RunInUseError("is being trained"), RunInUseError("is being trained"), "2 epochs"])

    def train_by_name(name, parameters):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(command, "train_by_name", train_by_name)
    monkeypatch.setattr(sweep, "WAIT", 0.0)
    how = sweep.train_one(sweep.Training("ots", ()))
    assert how.done
    assert how.sentence == "2 epochs"


def test_a_job_of_its_own_process_trains_in_the_folder_that_avnb_train_takes(tiny, capsys):
    assert sweep.main(["ots", *TINY]) == 0
    assert "All 1 trainings are done." in capsys.readouterr().out
    assert len(histories(tiny / "outputs")) == 1
