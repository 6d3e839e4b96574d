"""A method's ablations: rows that are in print under these names, of settings that the method has."""

from dataclasses import replace

import pytest

from avnb import papers
from avnb.models import METHODS

ROWS = [
    pytest.param(name, table, row, id=f"{name}-{table}-{row}")
    for name, method in METHODS.items()
    for table, rows in method.ABLATIONS.items()
    for row in rows
]


@pytest.mark.parametrize("preset", ["quick", "paper"])
@pytest.mark.parametrize(("name", "table", "row"), ROWS)
def test_a_row_of_an_ablation_changes_settings_of_the_method(name, table, row, preset):
    method = METHODS[name]
    change = method.ABLATIONS[table][row]
    varied = replace(method.SETTINGS(preset=preset).resolve("cpu"), **change)
    assert all(getattr(varied, setting) == value for setting, value in change.items())


@pytest.mark.parametrize("name", METHODS)
def test_an_ablation_has_the_printed_table_s_rows(name):
    for table, rows in METHODS[name].ABLATIONS.items():
        if table.startswith("table"):
            printed = getattr(getattr(papers, name), table).benchmarks.values()
            assert {row.setting for benchmark in printed for row in benchmark if row.setting} == set(rows), table
