"""Train the rows of the methods' ablations; docs/results/ablations.json has what they reach (``make ablations``).

The notebooks, and notebook 12's tables, read it where nobody has trained the rows. Every row, and each method as it is,
is trained for a third of the preset's epochs (rounded up), so that they can be compared with one another; rows of the
same settings are trained once. First come all rows with seed 0, then all with seed 1, and so on: after each the file is
written, a call that was stopped goes on where it was, and one that names fewer rows adds to what is there.

``python tools/ablations.py --seeds 3 avgn dsol:table7`` trains three seeds of AVGN's rows and of DSOL's Table 7.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from seeds import processor

from avnb import papers
from avnb.config import Settings, did_you_mean
from avnb.data.benchmarks import BENCHMARKS
from avnb.data.store import Store
from avnb.errors import AvnbError, SettingsError
from avnb.evaluation import (
    Trial,
    judge,
    judge_listening,
    published_rule,
    single_trial,
    synthetic_trial,
    trials_of,
)
from avnb.evaluation.ablations import ABLATED, AS_IT_IS, DIVISOR, NOT_TRAINED, shortened
from avnb.evaluation.rows import PROTOCOL, training_of
from avnb.models import METHODS
from avnb.models.base import Separates
from avnb.notebook import start
from avnb.paths import project_root, shown, whole_file
from avnb.training.trained import check_names, train

ABOUT = ("subset", "sources", "geometry", "classes", "threshold_rule", "protocol", "truth", "clips", "gallery")
SHORT = 400  # letters of JSON that stand on one line
FLOORS = ("centre", "oracle", "mixture")  # need no model, and stand beside the rows


@dataclass(frozen=True)
class Training:
    """What is trained once: the names of the rows that it is ("table3: AVCT"), and how it differs from the method."""

    settings: Settings
    change: dict[str, Any]
    names: tuple[str, ...]


def trainings(shared: Settings, device: str, origin: str, wanted: Sequence[str]) -> list[Training]:
    """Return what has to be trained for the ``wanted`` methods ("avgn") and tables ("avgn:table3"), all without any.

    Raises SettingsError for a method or a table there is not.
    """
    asked = [(name, table) for name, _, table in (word.partition(":") for word in wanted)]
    check_names(name for name, _ in asked)
    for name, table in asked:
        if table and table not in METHODS[name].ABLATIONS:
            hint, there = did_you_mean(table, METHODS[name].ABLATIONS), ", ".join(METHODS[name].ABLATIONS)
            raise SettingsError(f'{name} has no ablation "{table}".{hint} It has: {there or "none"}.')
    found = []
    for name in dict.fromkeys(name for name, _ in asked) or (name for name, cls in METHODS.items() if cls.ABLATIONS):
        own = METHODS[name].SETTINGS(**{entry.name: getattr(shared, entry.name) for entry in fields(Settings)})
        own = shortened(own.resolve(device, origin))
        rows: dict[Settings, tuple[dict[str, Any], list[str]]] = {own: ({}, [AS_IT_IS])}
        for table, changes in METHODS[name].ABLATIONS.items():
            chosen = not asked or (name, "") in asked or (name, table) in asked
            if not chosen or (own.preset == "quick" and (name, table) in NOT_TRAINED):
                continue
            for row, change in changes.items():
                rows.setdefault(replace(own, **change), (dict(change), []))[1].append(f"{table}: {row}")
        found += [Training(settings, change, tuple(names)) for settings, (change, names) in rows.items()]
    return found


def trials_asked(method: str, store: Store, limit: int) -> list[Trial]:
    """Return what a method's rows are asked: what its paper's ablations are judged on, as it judges it.

    Where the data set has nothing of that, they are asked for single sources.
    """
    paper = getattr(papers, method, None)
    tables = [getattr(paper, key) for key in METHODS[method].ABLATIONS if hasattr(paper, key)]
    labels = {label for table in tables for label in table.benchmarks}
    printed = {metric for table in tables for rows in table.benchmarks.values() for metric in rows[0].values}
    record, found = BENCHMARKS.get(store.name), []
    for protocol in record.protocols if record else ():
        if not labels.intersection(protocol.published_as):
            continue
        if protocol.geometry == "grid":
            trial = synthetic_trial(store, limit)
        else:
            about = (protocol.subset, protocol.asked_in)
            trial = next(one for one in trials_of(store, limit) if (one.subset, one.geometry) == about)
        rule = published_rule(store.name, trial.subset, method) if trial.judged else trial.threshold_rule
        silence = trial.silence or ("NSA" in printed and trial.in_one_picture)
        found.append(replace(trial, threshold_rule=rule, silence=silence))
    return found or [single_trial(store, limit)]


def rows_of(settings: Settings, store: Store) -> list[dict[str, Any]]:
    """Return the rows of these settings' run, which is trained and judged first where it is not yet."""
    method, run = train(settings, store, progress=False)
    trials, path = trials_asked(settings.METHOD, store, settings.limit), run.folder / "metrics.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    there = {(row["subset"], row["geometry"], row["threshold_rule"]) for row in rows}
    if not all((trial.subset, trial.geometry, trial.threshold_rule) in there for trial in trials):
        rows = judge(method, store, run, trials, progress=False)
    if isinstance(method, Separates) and not any("IR-Acc" in row for row in rows):
        rows += judge_listening(method, store, run, limit=settings.limit, progress=False)
    return rows


def add(kept: dict[str, Any], training: Training, seed: int, rows: Sequence[dict[str, Any]]) -> None:
    """Add what a seed has reached to what is kept; the rows without a model are kept once."""
    name = training.settings.METHOD
    entry = kept_entry(kept, training)
    if entry is None:
        entry = {"rows": list(training.names), "change": training.change, "trained": training_of(training.settings)}
        entry |= {"seeds": [], "judged": []}
        kept["methods"].setdefault(name, []).append(entry)
    for row in rows:
        about = {key: row[key] for key in ABOUT if key in row}
        values = {key: round(value, 2) for key, value in row.items() if _is_number(key, value)}
        if row["method"] == name:
            _extend(entry["judged"], about, values, len(entry["seeds"]))
        elif row["method"] in FLOORS and (floor := {"method": row["method"], **about, "values": values}):
            kept["without a model"] += [floor] if floor not in kept["without a model"] else []
    entry["seeds"].append(seed)
    for one in entry["judged"]:
        one["values"] = {key: seen + [None] * (len(entry["seeds"]) - len(seen)) for key, seen in one["values"].items()}


def kept_entry(kept: dict[str, Any], training: Training) -> dict[str, Any] | None:
    """Return what is kept of a training; None where there is nothing yet."""
    rows = kept["methods"].get(training.settings.METHOD, [])
    return next((entry for entry in rows if entry["change"] == training.change), None)


def _is_number(key: str, value: Any) -> bool:
    return key not in (*PROTOCOL, "classes", "method") and isinstance(value, (int, float))


def _extend(judged: list[dict[str, Any]], about: dict[str, Any], values: dict[str, float], before: int) -> None:
    """Append a seed's values to those of the same protocol, whose clips may be others (silent ones are dropped)."""
    same = [key for key in ABOUT if key != "clips"]
    one = next((one for one in judged if all(one.get(key) == about.get(key) for key in same)), None)
    if one is None:
        judged.append(one := {**about, "values": {}})
    for key, value in values.items():
        one["values"].setdefault(key, [None] * before).append(value)


def earlier(path: Path, about: dict[str, Any]) -> dict[str, Any]:
    """Return what an earlier call has left of the same data, length and processor, and nothing of any other."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if {key: kept.get(key) for key in about} == about:
        return kept
    return about | {"without a model": [], "methods": {}}


def laid_out(value: Any, indent: str = "") -> str:
    """Return JSON in which what is short stands on one line."""
    text, inner = json.dumps(value, ensure_ascii=False), indent + " "
    if len(text) <= SHORT or not isinstance(value, (dict, list)):
        return text
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {laid_out(part, inner)}" for key, part in value.items()]
    else:
        parts = [laid_out(part, inner) for part in value]
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{last}"


def collect(kept: dict[str, Any], store: Store, wanted: Sequence[Training], seeds: int, path: Path) -> None:
    """Train and judge what is not kept yet, seed by seed, and write the file after every row."""
    for one in wanted:  # a table that is new may have rows that another has already
        if entry := kept_entry(kept, one):
            entry["rows"] = list(dict.fromkeys((*entry["rows"], *one.names)))
    seen = [(kept_entry(kept, one) or {"seeds": []})["seeds"] for one in wanted]
    left = [(seed, one) for seed in range(seeds) for one, there in zip(wanted, seen, strict=True) if seed not in there]
    print(f"{len(wanted)} trainings, {seeds} seeds: {len(left)} to be trained", flush=True)
    begun = time.monotonic()
    for number, (seed, one) in enumerate(left, 1):
        add(kept, one, seed, rows_of(replace(one.settings, seed=seed), store))
        with whole_file(path) as temporary:
            temporary.write_text(laid_out(kept) + "\n", encoding="utf-8")
        passed = time.monotonic() - begun
        rest = (len(left) - number) * passed / number / 60
        name = f"{one.settings.METHOD}, {one.names[0]}, seed {seed}"
        print(f"{number}/{len(left)}: {name}; {passed / 60:.0f} minutes gone, {rest:.0f} to go", flush=True)


def main(words: Sequence[str]) -> None:
    """Train, judge, and write docs/results/ablations.json."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("rows", nargs="*", help="methods (avgn) and tables of methods (avgn:table3); all without any")
    told.add_argument("--seeds", type=int, default=3, help="so many, from 0 on")
    told.add_argument("--dataset", default="music")
    told.add_argument("--limit", type=int, default=0, help="at most so many clips of each split and subset; 0: all")
    said = told.parse_args(words)
    settings, store = start(Settings, {"dataset": said.dataset, "limit": said.limit})
    wanted = trainings(settings, settings.device, store.origin, said.rows)
    about = {"dataset": store.name, "origin": store.origin, "preset": settings.preset, "limit": said.limit}
    about |= {"divisor": DIVISOR, "processor": processor()}
    path = project_root() / ABLATED
    kept = earlier(path, about)
    collect(kept, store, wanted, said.seeds, path)
    print(f"{shown(path)}: {sum(map(len, kept['methods'].values()))} rows on {store.name}, {about['processor']}")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AvnbError as error:
        sys.exit(f"{type(error).__name__}: {error}")
