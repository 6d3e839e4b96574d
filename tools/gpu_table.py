"""README's table of what a GPU reaches, from the report of ``make gpu``: ``python tools/gpu_table.py``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REPORT = Path(__file__).resolve().parents[1] / "docs" / "results" / "gpu.json"
TITLES = {"ez_vsl": "EZ-VSL", "avgn": "AVGN"}


def table(rows: Iterable[dict[str, Any]]) -> str:
    """Return the rows of a report as Markdown: pairs a second of each method, by where its data is."""
    rows = list(rows)

    def rate(section: str, **wanted: Any) -> str:
        found = [row for row in rows if row["section"] == section and wanted.items() <= row.items()]
        return f"{found[-1]['pairs_per_second']:,.0f}" if found else "not measured"

    lines = ["| pairs a second, batch of 256 | EZ-VSL | AVGN |", "|---|---|---|"]
    kinds = {
        "step, data on the device": ("step", {"compiled": False}),
        "step, networks compiled": ("step", {"compiled": True}),
        "from the store, batches made ahead": ("from_the_store", {"kept": False, "compiled": False}),
        "from the store, clips kept in the GPU's memory": ("from_the_store", {"kept": True, "compiled": False}),
        "the step as EZ-VSL was released (float32, NCHW)": ("released_step", {}),
    }
    for title, (section, wanted) in kinds.items():
        rates = [rate(section, case=case, batch=256, **wanted) for case in TITLES]
        if section == "released_step":
            rates[1] = ""
        lines.append(f"| {title} | {' | '.join(rates)} |".replace("|  |", "| |"))
    return "\n".join(lines)


if __name__ == "__main__":
    report = json.loads(REPORT.read_text(encoding="utf-8"))
    machine = next(row for row in report if row["section"] == "machine")
    print(f"{machine['device']}, torch {machine['torch']}, paper presets in bfloat16.\n\n{table(report)}")
