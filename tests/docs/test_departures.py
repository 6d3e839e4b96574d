"""docs/departures.md: the presets' numbers that it states are the presets', and what it tells to set can be set."""

import dataclasses
import re
from pathlib import Path

import pytest

from avnb.models import METHODS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "departures.md").read_text(encoding="utf-8")
NAMES = {
    "EZ-VSL": "ez_vsl", "AVGN": "avgn", "OneAVM": "one_avm", "Mix-and-Localize": "mix_and_localize", "DSOL": "dsol",
    "OTS": "ots",
}  # fmt: skip
FIELDS = {"epochs": "epochs", "weight decay": "weight_decay", "learning rate on VoxCeleb2": "learning_rate"}
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.partition("## Each method")[2].splitlines()
    if line.startswith("|") and not line.startswith(("| method", "|---"))
]


def test_every_method_of_a_paper_has_a_line():
    assert {row[0] for row in ROWS} == NAMES.keys()


@pytest.mark.parametrize("row", [row for row in ROWS if row[1] in FIELDS], ids=lambda row: f"{row[0]}, {row[1]}")
def test_a_number_of_the_paper_preset_is_the_presets(row):
    stated = METHODS[NAMES[row[0]]].SETTINGS.PRESETS["paper"][FIELDS[row[1]]]
    assert float(row[3]) == stated


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}, {row[1]}")
def test_what_is_told_to_be_set_is_a_setting_of_the_method(row):
    known = {entry.name for entry in dataclasses.fields(METHODS[NAMES[row[0]]].SETTINGS)}
    assert set(re.findall(r"-p (\w+)", row[4])) <= known
