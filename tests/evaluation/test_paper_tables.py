"""The papers' tables beside this project's runs: which row stands where, and where the published order breaks."""

import csv
import json
import re

import pytest

from avnb import papers
from avnb.data.benchmarks import BENCHMARKS
from avnb.evaluation.paper_tables import (
    DAGGER,
    NO_MODEL,
    OWN,
    PUBLISHED,
    closest,
    in_words,
    read_runs,
    rebuild,
    rebuild_all,
)
from avnb.models import METHODS
from avnb.viewing.paper_tables import as_html, as_latex, export

PROTOCOL = {
    "benchmark": "music", "subset": "solo", "sources": 1, "geometry": "single", "classes": "oracle",
    "threshold_rule": "top_half", "clips": 132, "origin": "stand-in",
}  # fmt: skip


@pytest.fixture
def write(workspace):
    """A function that writes a run's metrics.json: ``write("avgn", [row, ...], seed=1)``; rows fill up PROTOCOL."""

    def run(method, rows, **settings):
        said = METHODS[method].SETTINGS(device="cpu", preset="quick", **settings).resolve("cpu")
        number = len(list((workspace / "outputs").glob("*/*/*")))
        folder = workspace / "outputs" / method / "music" / f"run{number}"
        folder.mkdir(parents=True)
        rows = [PROTOCOL | {"method": method} | row for row in rows]
        (folder / "metrics.json").write_text(json.dumps({"settings": said.as_dict(), "rows": rows}))
        return folder

    return run


def lines(rebuilt, group=OWN):
    return {line.name: line for line in rebuilt.lines if line.group == group}


AP = ("MUSIC-Solo", "AP")


def test_without_runs_every_table_is_the_published_one(workspace):
    for tables in rebuild_all(read_runs()).values():
        for rebuilt in tables:
            assert {line.group for line in rebuilt.lines} == {PUBLISHED}
            for label, rows in rebuilt.table.benchmarks.items():
                found = lines(rebuilt, PUBLISHED)
                for row in rows:
                    name = next(name for name in found if name.removesuffix(" (* best pairing)") in (
                        row.method, f"{row.method}, {row.setting}"))  # fmt: skip
                    printed = {metric: value for metric, value in row.values.items() if value is not None}
                    assert {metric: found[name].values[label, metric] for metric in printed} == printed
            assert "published numbers stand alone" in rebuilt.comparison


def test_every_table_of_the_papers_is_rebuilt(workspace):
    rebuilt = [found.table.source for tables in rebuild_all([]).values() for found in tables]
    assert rebuilt == [found.source for found in papers.all_tables()]


def test_a_runs_row_stands_under_the_same_benchmark_and_metric_with_how_it_was_judged(write):
    write("avgn", [{"AP": 61.0, "IoU@0.5": 3.0, "IoU@0.3": 9.0}])
    own = lines(rebuild(papers.avgn.table1, read_runs()))["AVGN"]
    assert own.values == {AP: 61.0, ("MUSIC-Solo", "IoU@0.5"): 3.0}
    epochs = METHODS["avgn"].SETTINGS(device="cpu", preset="quick").resolve("cpu").epochs
    said = f"single, top_half, true classes given, stand-in, 132 clips, trained for {epochs} epochs"
    assert in_words(own.judged["MUSIC-Solo"]) == said


def test_seeds_are_averaged_and_their_deviation_is_said(write):
    for seed, value in enumerate((60.0, 62.0, 64.0)):
        write("avgn", [{"AP": value}], seed=seed)
    own = lines(rebuild(papers.avgn.table1, read_runs()))["AVGN"]
    assert own.values[AP] == 62.0
    assert own.spreads[AP] == 2.0
    assert "mean of 3 seeds" in in_words(own.judged["MUSIC-Solo"])


def test_runs_with_other_settings_or_a_limit_do_not_stand_for_their_method(write):
    write("avgn", [{"AP": 10.0}], grouping=False)
    write("avgn", [{"AP": 20.0}], limit=12)
    write("avgn", [{"AP": 30.0}], epochs=1)
    assert lines(rebuild(papers.avgn.table1, read_runs())) == {}


def test_an_ablations_run_stands_in_its_own_row(write):
    write("avgn", [{"AP": 61.0}])
    write("avgn", [{"AP": 50.0}], grouping=False)
    write("avgn", [{"AP": 40.0}], grouping=False, class_tokens=False)
    own = lines(rebuild(papers.avgn.table3, read_runs()))
    assert {name: line.values[AP] for name, line in own.items()} == {
        "AVGN, AVCT and AVG": 61.0, "AVGN, AVCT": 50.0, "AVGN, neither": 40.0,
    }  # fmt: skip


def test_an_ablation_of_fewer_epochs_is_shown_and_says_so(write):
    write("avgn", [{"AP": 61.0}])
    write("avgn", [{"AP": 40.0}], grouping=False, epochs=3)
    write("avgn", [{"AP": 45.0}], epochs=3)
    found = [line for line in rebuild(papers.avgn.table3, read_runs()).lines if line.group == OWN]
    usual = METHODS["avgn"].SETTINGS(device="cpu", preset="quick").resolve("cpu").epochs
    assert {(line.name, line.judged["MUSIC-Solo"]["trained"], line.values[AP]) for line in found} == {
        ("AVGN, AVCT and AVG", f"{usual} epochs", 61.0), ("AVGN, AVCT and AVG", "3 epochs", 45.0),
        ("AVGN, AVCT", "3 epochs", 40.0),
    }  # fmt: skip
    assert "trained for 3 epochs" in as_html(rebuild(papers.avgn.table3, read_runs()))


def test_a_mask_of_another_threshold_is_no_row_of_table_6(write):
    """The quick preset masks at 0.3; the paper's row says 0.05."""
    duet = {"subset": "duet", "sources": 2, "geometry": "one_frame", "AUC": 20.0}
    write("dsol", [duet], clusters=13)
    assert lines(rebuild(papers.dsol.table6, read_runs())) == {}
    write("dsol", [duet], clusters=13, mask_threshold=0.05)
    assert set(lines(rebuild(papers.dsol.table6, read_runs()))) == {"DSOL, mask 0.05, 13 clusters"}


def test_published_numbers_have_the_papers_digits(workspace):
    """EZ-VSL prints 83.94, DSOL an NMI of 0.748."""
    page = as_html(rebuild(papers.ez_vsl.table1, []))
    assert "<td>83.13</td>" in page
    assert "0.748" in as_latex(rebuild(papers.dsol.table6, []))
    for table in papers.all_tables():
        page = as_html(rebuild(table, []))
        printed = {text for rows in table.benchmarks.values() for row in rows for text in row.printed.values()}
        assert all(f"<td>{text}</td>" in page for text in printed)


def test_a_published_row_says_on_how_much_its_own_paper_tests(write):
    write("dsol", [{"IoU@0.5": 3.0}])
    write("mix_and_localize", [{"AP": 60.0, "classes": "best_pairing"}])
    for table, said in ((papers.dsol.table1, "27 videos"), (papers.mix_and_localize.table1, "24 videos")):
        page = as_html(rebuild(table, read_runs()))
        assert said in page
        assert "90 clips" not in page


def test_one_avms_precision_and_f1_are_those_at_the_benchmarks_iou(write):
    place = {"benchmark": "vggsound-music", "subset": "test", "classes": "none"}
    write("one_avm", [place | {"PIAP": 30.0, "Precision@0.3": 40.0, "F1@0.3": 50.0, "Precision@0.5": 1.0}])
    own = lines(rebuild(papers.one_avm.table1, read_runs()))["OneAVM"]
    assert {metric: value for (_, metric), value in own.values.items()} == {"PIAP": 30.0, "Precision": 40.0, "F1": 50.0}
    full = lines(rebuild(papers.one_avm.table5, read_runs()))["OneAVM, CL, MAS and MVA"]
    assert full.values["VGGSound-Music", "F1"] == 50.0


def test_ots_trained_on_mixtures_stands_in_the_row_of_ots_mix(write):
    write("ots", [{"AP": 60.0, "classes": "none"}])
    write("ots", [{"AP": 50.0, "classes": "none"}], sources=2)
    own = lines(rebuild(papers.mix_and_localize.table1, read_runs()))
    assert {name: line.values[AP] for name, line in own.items()} == {"OTS": 60.0, "OTS-mix": 50.0}


def test_daggers_stand_where_the_published_order_of_two_methods_is_turned_round(write):
    # Published AP on MUSIC-Solo: AVGN 77.2 > EZ-VSL 71.5 > OTS 69.3. Here EZ-VSL beats AVGN, and OTS is last.
    write("avgn", [{"AP": 50.0}])
    write("ez_vsl", [{"AP": 55.0, "classes": "none"}])
    write("ots", [{"AP": 40.0, "classes": "none"}])
    rebuilt = rebuild(papers.avgn.table1, read_runs())
    assert {name: AP in line.daggers for name, line in lines(rebuilt).items()} == {
        "AVGN": True, "EZ-VSL": True, "OTS": False,
    }  # fmt: skip
    assert f"50.0{DAGGER}" in as_html(rebuilt)
    assert f"40.0{DAGGER}" not in as_html(rebuilt)
    assert r"\cellcolor{orange!30}50.0$^\dagger$" in as_latex(rebuilt)


def test_numbers_of_different_threshold_rules_have_no_order(write):
    # Published on MUSIC-Solo: AVGN has a higher AP and a higher AUC than Mix-and-Localize.
    write("avgn", [{"AP": 50.0, "AUC": 10.0}])
    turned = {"AP": 60.0, "AUC": 30.0, "classes": "best_pairing", "threshold_rule": "min_max(0.4)"}
    write("mix_and_localize", [turned])
    own = lines(rebuild(papers.avgn.table1, read_runs()))
    assert own["AVGN"].daggers == own["Mix-and-Localize"].daggers == {AP}


def test_equal_numbers_and_those_without_a_published_value_get_no_dagger(write):
    write("avgn", [{"AP": 50.0, "IoU@0.5": 0.0}])
    write("dsol", [{"AP": 60.0, "IoU@0.5": 0.0}])  # DSOL's AP is not in the paper
    assert not any(line.daggers for line in lines(rebuild(papers.avgn.table1, read_runs())).values())


def test_the_methods_own_classes_have_a_line_of_their_own_that_is_not_ranked(write):
    write("avgn", [{"AP": 60.0}, {"AP": 40.0, "classes": "predicted"}])
    write("ez_vsl", [{"AP": 50.0, "classes": "none"}])
    own = lines(rebuild(papers.avgn.table1, read_runs()))
    assert own["AVGN, its own classes"].values[AP] == 40.0
    assert not any(line.daggers for line in own.values())


def test_what_needs_no_model_stands_below_with_the_same_protocol(write):
    trivial = [
        {"method": name, "AP": value, "classes": "none"} for name, value in (("centre", 24.0), ("oracle", 100.0))
    ]
    write("avgn", [{"AP": 60.0}, *trivial])
    rebuilt = rebuild(papers.avgn.table1, read_runs())
    assert {name: line.values[AP] for name, line in lines(rebuilt, NO_MODEL).items()} == {
        "centre": 24.0,
        "oracle": 100.0,
    }
    assert lines(rebuild(papers.dsol.table4, read_runs()), NO_MODEL) == {}  # no line of this project to stand beside


def test_a_cell_takes_the_papers_geometry_and_rule_where_they_were_judged(write):
    duet = {"subset": "duet", "sources": 2}
    write("dsol", [
        duet | {"geometry": "side_by_side", "CIoU@0.3": 1.0},
        duet | {"geometry": "one_frame", "CIoU@0.3": 2.0},
        duet | {"geometry": "one_frame", "threshold_rule": "fraction_of_max(0.2)", "CIoU@0.3": 3.0},
    ])  # fmt: skip
    cell = ("MUSIC-Duet", "CIoU@0.3")
    assert lines(rebuild(papers.dsol.table2, read_runs()))["DSOL"].values[cell] == 3.0
    assert lines(rebuild(papers.avgn.table2, read_runs()))["DSOL"].values[cell] == 2.0


def test_real_clips_are_never_averaged_with_the_stand_in(write):
    write("avgn", [{"AP": 60.0}])
    write("avgn", [{"AP": 70.0, "origin": "real"}], seed=1)
    rebuilt = rebuild(papers.avgn.table1, read_runs())
    assert lines(rebuilt)["AVGN"].values[AP] == 70.0
    assert "real clips" in rebuilt.comparison


def test_separation_stands_in_decibels_with_the_mixture_below(write):
    heard = {"subset": "duet", "sources": 2, "geometry": "separate", "classes": "none", "threshold_rule": "none"}
    write("one_avm", [
        heard | {"SDR": 5.123, "SAR": 7.0},
        heard | {"method": "nmf", "classes": "best_pairing", "SDR": 6.0, "SAR": 8.0},
        heard | {"method": "mixture", "SDR": 0.1, "SAR": None},
    ])  # fmt: skip
    rebuilt = rebuild(papers.one_avm.table2, read_runs())
    assert lines(rebuilt)["OneAVM"].values == {("MUSIC", "SDR"): 5.123, ("MUSIC", "SAR"): 7.0}
    assert ("MUSIC", "SDR") in lines(rebuilt)["NMF"].daggers  # published: OneAVM 7.38, NMF -0.62
    assert lines(rebuilt, NO_MODEL)["mixture"].values == {("MUSIC", "SDR"): 0.1}
    assert "5.12" in as_html(rebuilt)


def test_a_table_says_that_stand_in_and_published_numbers_cannot_be_compared_and_what_the_facts_say(write):
    write("avgn", [{"AP": 61.0}])
    shown = as_html(rebuild(papers.avgn.table1, read_runs()))
    assert "the two cannot be compared" in shown
    assert "The released boxes and code cannot produce these MUSIC" in shown  # the table's own note
    assert "No run on VGGSound-Instruments, VGGSound-Single" in shown


def test_the_csv_has_a_line_for_every_number_and_the_tex_balances(write, tmp_path):
    write("avgn", [{"AP": 61.0, "AUC": 20.0}])
    tables = [rebuilt for found in rebuild_all(read_runs()).values() for rebuilt in found]
    paths = export(tables, tmp_path / "tables")
    with open(paths[0], newline="", encoding="utf-8") as file:
        records = list(csv.DictReader(file))
    assert len(records) == sum(len(line.values) for rebuilt in tables for line in rebuilt.lines)
    own = [record for record in records if record["group"] == OWN and record["table"] == "Table 1"]
    assert {(record["metric"], float(record["value"]), record["origin"]) for record in own} == {
        ("AP", 61.0, "stand-in"), ("AUC", 20.0, "stand-in"),
    }  # fmt: skip
    assert len(paths) == 1 + len(tables)
    for path in paths[1:]:
        text = path.read_text(encoding="utf-8")
        columns = len(re.search(r"\\begin{tabular}{l(r+)}", text)[1])
        body = text.split(r"\toprule")[1].split(r"\bottomrule")[0]
        assert all(row.count(" & ") == columns for row in body.splitlines() if row and "multicolumn" not in row)
        assert not re.search(r"(?<!\\)[%#]|(?<!\\)_", text.replace("booktabs", ""))


def test_a_damaged_metrics_file_is_named_and_the_others_are_read(write):
    write("avgn", [{"AP": 61.0}])
    path = write("ez_vsl", [{"AP": 60.0}]) / "metrics.json"
    good = json.loads(path.read_text())
    rows = [
        good["rows"][0] | change
        for change in ({"AP": "x"}, {"PIAP": {}}, {"origin": {}}, {"sources": 10**400}, {"subset": None})
    ]
    rows.append({name: value for name, value in good["rows"][0].items() if name != "benchmark"})
    for text in ('{"rows": [', "[]", "{}", *(json.dumps(good | {"rows": [row]}) for row in (*rows, 3))):
        path.write_text(text)
        with pytest.warns(UserWarning, match=r"ez_vsl.*metrics\.json is damaged .* and passed over"):
            assert [one.row["AP"] for one in read_runs()] == [61.0]


def test_pairs_of_a_benchmarks_own_come_before_those_made_of_another_s_clips(write):
    pair = {"subset": "duet", "sources": 2, "CAP": 20.0}
    write("avgn", [pair | {"benchmark": "vggsound-single", "geometry": "side_by_side"}])
    cell = ("VGGSound-Duet", "CAP")
    assert lines(rebuild(papers.avgn.table2, read_runs()))["AVGN"].values[cell] == 20.0
    write("avgn", [pair | {"benchmark": "vggsound-duet", "geometry": "one_frame", "CAP": 30.0}])
    assert lines(rebuild(papers.avgn.table2, read_runs()))["AVGN"].values[cell] == 30.0


def test_every_column_of_every_table_is_filled_by_a_run_that_was_judged_by_the_records(write):
    """Rows as evaluation writes them, one for each protocol and one of what is separated: no column stays empty."""
    rows = []
    for record in BENCHMARKS.values():
        for judged in record.protocols:
            scores = {f"{m}@{judged.iou_at}" if m in ("Precision", "F1") else m: 50.0 for m in judged.metrics}
            place = {"benchmark": record.name, "subset": judged.subset, "sources": judged.sources}
            rows.append(place | {"geometry": judged.asked_in, "classes": "none"} | scores)
        if record.separated_as:
            heard = {"benchmark": record.name, "subset": "duet", "sources": 2, "geometry": "separate"}
            rows.append(heard | {"classes": "none", "SDR": 5.0, "SAR": 6.0})
    write("one_avm", rows)
    runs = read_runs()
    for table in papers.all_tables():
        filled = {
            (label, metric)
            for label, printed in table.benchmarks.items()
            for metric in printed[0].values
            if closest(runs, label, metric, "")
        }
        assert filled == {(label, m) for label, printed in table.benchmarks.items() for m in printed[0].values}
