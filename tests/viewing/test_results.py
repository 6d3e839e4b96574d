"""The table of results carries its protocol, and nothing in it can be taken for what it is not."""

from avnb import papers
from avnb.viewing.results import results_table


def rows(origin: str = "stand-in", **changed: object) -> list[dict]:
    protocol = {
        "benchmark": "music", "subset": "duet", "sources": 2, "geometry": "side_by_side", "threshold_rule": "top_half",
        "clips": 132, "origin": origin,
    }  # fmt: skip
    methods = [("avgn", "oracle", 52.31), ("avgn", "predicted", 48.2), ("centre", "none", 25.6)]
    return [{"method": name, **protocol, "classes": how, "CAP": cap} | changed for name, how, cap in methods]


def test_a_table_carries_its_protocol():
    said = repr(results_table(rows()))
    for part in ("music", "stand-in data", "duet", "2 sounding", "side by side", "top_half", "132 clips"):
        assert part in said.splitlines()[0]
    assert "oracle = true classes given, predicted = its own classes" in said


def test_what_differs_between_rows_is_a_column_and_not_in_the_caption():
    table = results_table([*rows(), *rows(subset="solo", sources=1)])
    assert list(table.data.columns) == ["classes", "subset", "sources", "CAP"]
    assert "duet" not in repr(table).splitlines()[0]


def test_published_rows_beside_a_stand_in_are_not_comparable():
    table = results_table(rows(), papers.avgn.table2["MUSIC-Duet"])
    groups = [group for group, _ in table.data.index]
    assert groups == ["this project"] * 2 + ["needs no model"] + ["published (not comparable: stand-in)"] * 9
    assert table.data.iloc[-1].tolist() == ["–", "50.6", "57.2", "32.5", "24.6"]


def test_published_rows_beside_real_data_are_plain():
    table = results_table(rows(origin="real"), papers.avgn.table2["MUSIC-Duet"])
    assert table.data.index[-1] == ("published", "AVGN")


def test_the_oracles_ceiling_is_not_taken_for_oracle_classes():
    (line,) = results_table([rows()[0] | {"method": "oracle", "classes": "none"}]).data.index
    assert line == ("needs no model", "oracle (the ceiling)")


def test_a_number_that_is_not_there_is_a_dash():
    table = results_table([rows()[0] | {"CAP": float("nan")}, rows()[1] | {"AUC": 3.0}])
    assert table.data[["CAP", "AUC"]].to_numpy().tolist() == [["–", "–"], ["48.2", "3.0"]]


def test_a_table_is_the_same_html_in_every_run():
    assert results_table(rows()).to_html() == results_table(rows()).to_html()


def test_a_name_cannot_break_the_page():
    page = results_table(rows(benchmark="<script>", method="<b>")).to_html()
    assert "<script>" not in page
    assert "<b>" not in page


def test_a_table_without_rows_says_what_judging_takes():
    table = results_table([], papers.avgn.table2["MUSIC-Duet"])
    assert repr(table).startswith("Nothing of this kind can be judged here: it takes test clips with boxes or masks")
    assert "it takes test clips with boxes" in table.to_html()
