"""README's table of what a GPU reaches is the one that the report of ``make gpu`` makes."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import gpu_table  # noqa: E402


def test_readme_has_the_table_of_the_report():
    table = gpu_table.table(json.loads(gpu_table.REPORT.read_text(encoding="utf-8")))
    assert table in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "not measured" not in table
