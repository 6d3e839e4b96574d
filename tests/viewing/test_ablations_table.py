"""The kept rows of ablations as notebooks and the papers' tables show them."""

import html
import json

import pytest

from avnb import papers
from avnb.evaluation.ablations import ABLATED, kept_runs
from avnb.evaluation.paper_tables import OWN, in_words, read_runs, rebuild
from avnb.models import METHODS
from avnb.viewing.ablations import ablations_table

SOLO = {"subset": "solo", "sources": 1, "geometry": "single", "threshold_rule": "top_half", "clips": 132}
DUET = {"subset": "duet", "sources": 2, "geometry": "one_frame", "threshold_rule": "top_half", "clips": 132}


def entry(rows, change, solo, **more):
    judged = [{**SOLO, "classes": "oracle", "values": {"AP": solo, "IoU@0.5": solo}}, *more.pop("judged", ())]
    seeds = list(range(len(solo)))
    return {"rows": rows, "change": change, "trained": "5 epochs", "seeds": seeds, "judged": judged}


@pytest.fixture
def written(workspace, monkeypatch):
    """A function that writes what is kept of methods: ``written(avgn=[entry(...), ...])``."""
    monkeypatch.setenv("AVNB_ROOT", str(workspace))

    def write(origin="stand-in", **methods):
        said = {"dataset": "music", "origin": origin, "preset": "quick", "limit": 0, "divisor": 3, "processor": "one"}
        said["without a model"] = [{"method": "centre", **SOLO, "values": {"AP": 68.4}}]
        path = workspace / ABLATED
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(said | {"methods": methods}))

    return write


@pytest.fixture
def avgn(written):
    duet = {**DUET, "classes": "oracle", "values": {"CAP": [40.0, 44.0]}}
    written(
        avgn=[
            entry(["as it is", "table3: AVCT and AVG"], {}, [70.0, 74.0], judged=[duet]),
            entry(["table3: AVCT"], {"grouping": False}, [60.0]),
            entry(["ours: eq. 10 read literally"], {"gate": "own_class"}, [50.0, 51.0]),
        ]
    )


def test_rows_stand_with_their_spread_beside_the_paper_s_which_are_marked(avgn):
    table = ablations_table("avgn", "table3", "ours").data
    own = table.loc["this project"]
    assert own["solo AP"].to_dict() == {
        "AVCT and AVG": "72.0 (70.0-74.0)", "AVCT (1 seed)": "60.0", "eq. 10 read literally": "50.5 (50.0-51.0)",
    }  # fmt: skip
    assert own["duet CAP"].to_list() == ["42.0 (40.0-44.0)", "", ""]
    assert table.loc["needs no model"]["solo AP"].to_dict() == {"centre": "68.4"}
    printed = table.loc["published (not comparable: stand-in)"]
    assert printed.loc["AVCT", "solo AP"] == "75.2"
    assert printed.loc["AVCT", "duet CAP"] == "46.9"


def test_the_caption_says_on_what_for_how_long_and_how_it_was_judged(avgn):
    caption = html.unescape(ablations_table("avgn", "table3").caption)
    for words in ("music (stand-in)", "5 epochs, 1/3 of the preset's", "mean of 2 seeds", "regions by top_half",
                  "true classes given", "132 clips", "on one", "make ablations"):  # fmt: skip
        assert words in caption


def test_the_piap_of_single_sources_stands_in_place_of_their_ap_and_never_beside_it(written):
    both = {**DUET, "classes": "none", "values": {"CAP": [40.0], "PIAP": [50.0]}}
    row = entry(["table5: CL"], {"separation": False}, [70.0], judged=[both])
    row["judged"][0]["values"]["PIAP"] = [70.0]
    written(one_avm=[row])
    assert list(ablations_table("one_avm", "table5", metrics=("AP", "PIAP")).data) == ["solo AP", "duet PIAP"]
    assert list(ablations_table("one_avm", "table5", metrics=("PIAP",)).data) == ["solo PIAP", "duet PIAP"]


def test_without_rows_a_line_says_which_command_makes_them(written, capsys):
    assert ablations_table("dsol", "table7") is None
    written(dsol=[entry(["as it is"], {}, [70.0])])
    assert ablations_table("dsol", "table7") is None
    assert capsys.readouterr().out.count("make ablations") == 2


def test_other_papers_rows_stand_beside_if_they_are_said_to_be_of_something_else(written):
    written(ez_vsl=[entry(["table6: mean of the similarities"], {"matching": "mean", "alpha": 1.0}, [40.0])])
    beside = {"solo": papers.ez_vsl.table6["VGG-SS"]}
    table = ablations_table("ez_vsl", "table6", beside=beside, apart="stand-in, not VGG-SS").data
    printed = table.loc["published (not comparable: stand-in, not VGG-SS)"]
    assert printed.loc["mean of the similarities", "solo IoU@0.5"] == "6.03"


def test_the_papers_tables_show_kept_rows_and_say_that_they_are_kept(avgn):
    rebuilt = rebuild(papers.avgn.table3, kept_runs())
    own = {line.name: line for line in rebuilt.lines if line.group == OWN}
    assert own["AVGN, AVCT and AVG"].values["MUSIC-Solo", "AP"] == 72.0
    said = in_words(own["AVGN, AVCT and AVG"].judged["MUSIC-Solo"])
    assert said.endswith("stand-in, 132 clips, trained for 5 epochs, mean of 2 seeds, of docs/results")
    assert in_words(own["AVGN, AVCT"].judged["MUSIC-Solo"]).endswith("trained for 5 epochs, of docs/results")
    assert rebuild(papers.avgn.table1, kept_runs()).own == []  # a third of the training is not the method


def test_kept_rows_give_way_to_runs_of_their_settings(avgn, workspace):
    settings = METHODS["avgn"].SETTINGS(device="cpu", preset="quick", epochs=5, grouping=False).resolve("cpu")
    folder = workspace / "outputs" / "avgn" / "music" / "run"
    folder.mkdir(parents=True)
    row = {"method": "avgn", "benchmark": "music", "origin": "stand-in", "classes": "oracle", **SOLO, "AP": 61.0}
    (folder / "metrics.json").write_text(json.dumps({"settings": settings.as_dict(), "rows": [row]}))
    runs = read_runs()
    own = {line.name: line for line in rebuild(papers.avgn.table3, [*runs, *kept_runs(runs)]).own}
    assert own["AVGN, AVCT"].values["MUSIC-Solo", "AP"] == 61.0
    assert not own["AVGN, AVCT"].judged["MUSIC-Solo"]["kept"]
    assert own["AVGN, AVCT and AVG"].judged["MUSIC-Solo"]["kept"]
