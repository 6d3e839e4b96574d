"""Train the papers' own methods with three seeds; docs/results/seeds.json has what they reach (``make seeds``).

The notebooks read their methods' rows there, and README's table is written from it. A run that is finished is not
trained again, and one that is judged is not judged again: its metrics.json is read. About twenty minutes a seed on two
cores. ``python tools/seeds.py DATASET SEEDS [METHOD ...]`` takes other data, so many seeds and other methods: the
baselines of the papers' tables are trained where they are named.
"""

import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from avnb import papers
from avnb.config import Settings
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.store import Store
from avnb.evaluation import Trial, judge, judge_listening, synthetic_trial, trials_of
from avnb.evaluation.ablations import spread
from avnb.evaluation.rows import ASKED
from avnb.models import BASELINES, METHODS
from avnb.notebook import start
from avnb.paths import project_root, shown, whole_file
from avnb.training.trained import train
from avnb.viewing.colours import method_name
from avnb.viewing.results import RESULTS

ABOUT = ("subset", "geometry", "classes")
METRICS = ("AP", "CAP", "PIAP", "SDR gain", "xNN-Acc")  # of no threshold rule, so that all methods can be compared
COLUMNS = (("solo", "AP"), ("duet", "CAP"), ("duet", "PIAP"), ("trio", "CAP"))
BEGIN, END = "<!-- written by make seeds -->\n", "\n<!-- to here -->"
FLOORS = ("centre", "tile_centre", "tile_each")  # no model, no seeds: they stand above the methods
TITLES = dict(zip(FLOORS, ("centre square", "a square in each frame", "a frame for each source"), strict=True))


def trials_asked(method: str, store: Store, limit: int) -> list[Trial]:
    """Return what is asked of every method, and the 2x2 scenes of one whose paper prints rows of them."""
    record, paper = BENCHMARKS.get(store.name), getattr(papers, method, None)
    printed = {label for table in (papers.tables_of(paper) if paper else ()) for label in table.benchmarks}
    scenes = [one for one in (record.protocols if record else ()) if one.geometry == "grid"]
    found = trials_of(store, limit)
    if any(printed.intersection(one.published_as) for one in scenes):
        found.append(synthetic_trial(store, limit))
    return found


def rows_of(settings: Settings, store: Store, progress: bool = True) -> list[dict[str, Any]]:
    """Return the rows of these settings' run, which is trained and judged first where it is not yet."""
    method, run = train(settings, store, progress)
    path, trials = run.folder / "metrics.json", trials_asked(settings.METHOD, store, settings.limit)
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    if not {(trial.subset, trial.geometry) for trial in trials} <= {(row["subset"], row["geometry"]) for row in rows}:
        rows = judge(method, store, run, trials, progress)
    if hasattr(method, "separate") and not any("SDR" in row for row in rows):
        rows += judge_listening(method, store, run, limit=settings.limit, progress=progress)
    return rows


def collect(
    store: Store, settings: Settings, methods: Sequence[str], seeds: int, progress: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Return, for each method (and the squares that need none) and each of its rows, the value of each seed."""
    lines: dict[str, dict[tuple[str, ...], dict[str, Any]]] = {name: {} for name in FLOORS}
    shared = {entry.name: getattr(settings, entry.name) for entry in fields(Settings)}
    for name in methods:
        for seed in range(seeds):
            own = METHODS[name].SETTINGS(**shared | {"seed": seed}).resolve(settings.device, store.origin)
            for row in rows_of(own, store, progress):
                first = row["method"] in FLOORS and (name, seed) == (methods[0], 0)
                for metric in METRICS if row["method"] == name or first else ():
                    if row.get(metric) is None:
                        continue
                    about = {key: row[key] for key in ABOUT} | {"metric": metric}
                    line = lines.setdefault(row["method"], {}).setdefault(tuple(about.values()), {**about, "seeds": []})
                    line["seeds"].append(round(float(row[metric]), 1))
    return {name: list(found.values()) for name, found in lines.items()}


def readme_table(methods: dict[str, list[dict[str, Any]]]) -> str:
    """Return README's table: the mean of the seeds with the lowest and the highest."""
    lines = ["| | solo AP | duet CAP | duet PIAP | trio CAP | which map is whose |", "|---|---|---|---|---|---|"]
    for name, found in methods.items():
        for classes in dict.fromkeys(line["classes"] for line in found):
            cells = [_cell(found, subset, metric, classes) for subset, metric in COLUMNS]
            if any(cells):
                asked = ASKED[classes] or ("" if name in FLOORS else "one map for all")
                lines.append(f"| {TITLES.get(name) or method_name(name)} | {' | '.join(cells)} | {asked} |")
    return "\n".join(lines)


def _cell(lines: Sequence[dict[str, Any]], *wanted: str) -> str:
    for line in lines:
        found = (line["subset"], line["metric"], line["classes"])
        if found == wanted and line["geometry"] in ("single", "side_by_side"):
            return spread(line["seeds"])
    return ""


def processor() -> str:
    """Return what this machine's processor is called: results differ between makes."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def earlier(path: Path, about: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows that an earlier call has left of the same data, preset and processor, and none of any other."""
    if not path.exists():
        return {}
    kept = json.loads(path.read_text(encoding="utf-8"))
    return kept["methods"] if {key: kept.get(key) for key in about} == about else {}


def main(words: list[str]) -> None:
    """Train, judge, and write docs/results/seeds.json and README's table."""
    dataset, seeds = (words[0], int(words[1])) if len(words) > 1 else ("music", 3)
    settings, store = start(Settings, {"dataset": dataset})
    found = collect(store, settings, words[2:] or [name for name in METHODS if name not in BASELINES], seeds)
    about = {"dataset": store.name, "origin": store.origin, "preset": settings.preset, "processor": processor()}
    path = project_root() / RESULTS
    found = earlier(path, about) | {name: lines for name, lines in found.items() if lines}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(about | {"methods": found}, indent=1) + "\n", encoding="utf-8")
    readme = project_root() / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    with whole_file(readme) as temporary:
        temporary.write_text(before + BEGIN + readme_table(found) + END + after, encoding="utf-8")
    trained = len(found) - len(FLOORS)
    print(f"{shown(path)} and README's table: {seeds} seeds of {trained} methods on {store.name}, {processor()}")


if __name__ == "__main__":
    main(sys.argv[1:])
