"""The command ``avnb-prepare``: from downloaded videos and official annotations to a prepared folder.

Every data set plans (datasets/), every plan is carried out here: in worker processes, resumable, and with a report of
what was left out and why. data/README.md has the command for each data set.
"""

import argparse
import importlib
import json
import math
import os
import shlex
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from heapq import merge as in_order
from itertools import zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any

from avnb.data.benchmarks import BENCHMARKS
from avnb.data.folder import read_info, write_dataset
from avnb.data.scratch import enough_space
from avnb.errors import DataError, answer, printable
from avnb.paths import is_inside, shown, whole_file
from avnb.prepare.datasets import IMPORTERS
from avnb.prepare.job_queue import Queue
from avnb.prepare.journal import Journal, key_of, only_one
from avnb.prepare.media_folder import walk
from avnb.prepare.plan import SIDE, Job, Options, Plan
from avnb.prepare.workers import Request, Result, do_all

FAULTS = {
    "broken": "broken files",
    "again": "not decoded this time (the next call tries again)",
    "failed": "failed by a mistake of avnb's own, not of the file (please report it; the next call tries again)",
}
NAMED = 50  # of each kind in the printed report; report.txt in the folder names all


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after a sentence on standard error that says what is wrong and what to do."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    command = shlex.join(["avnb-prepare", *arguments])

    def work(said: argparse.Namespace) -> str:
        if said.importer == "merge":
            return merge(said.parts, said.out, command)
        options = Options(
            videos=said.videos, annotations=tuple(said.annotations), every=said.every, keep_leaked=said.keep_leaked,
            seed=said.seed, rate=said.rate or _rate(said.importer), seconds=said.seconds or _seconds(said.importer),
            limit=said.limit,
        )  # fmt: skip
        return prepare(said.importer, options, said.out, said.workers, said.shard, command)

    return answer(_parser(), arguments, work)


def prepare(
    name: str,
    options: Options,
    out: Path,
    workers: int = 0,
    shard: tuple[int, int] = (1, 1),
    command: str = "",
    progress: bool = True,
) -> str:
    """Make the prepared folder ``out`` of data set ``name`` and return the report.

    A second call does what is missing: files that are new, have changed, or were deleted from ``out``. ``shard`` (I, N)
    does the I-th of N disjoint parts. Raises DataError where nothing can be made. Introduced in data/README.md.
    """
    from tqdm import tqdm

    out, plan = Path(out), Plan()
    with enough_space():
        jobs = Queue(_part(_limited(_planned(name, options, plan), options.limit), shard))
        if not jobs.planned:
            raise DataError(_nothing(name, plan, options, shard))
        _check_places(options, out)
        _check_owner(out, name, shard)
        with only_one(out):
            _claim(out, name, shard, command)
            with closing(Journal(out)) as journal:
                journal.clear()
                with tqdm(total=jobs.total, desc=name, unit="file", disable=not progress) as bar:
                    _carry_out(jobs, plan, options, out, workers, journal, command, bar)
                return _finish(name, plan, options, out, journal, jobs)


def _planned(name: str, options: Options, plan: Plan) -> Iterator[Job]:
    """Yield the jobs of a data set; when the last has been, ``plan`` has its classes, published or found."""
    named: set[str] = set()
    for job in importlib.import_module(f"avnb.prepare.datasets.{IMPORTERS[name]}").plan(options, plan):
        plan.jobs += 1
        for one in (job.id, *(cut.id for cut in job.cuts)):
            if not is_inside(one):
                raise DataError(f'A clip of {Path(job.source).name} is called "{one}", which cannot be a file\'s name.')
        for cut in job.cuts:
            named.update(cut.labels, (thing.label for thing in cut.things))
        yield job
    plan.classes = plan.classes or tuple(sorted(named))


def _check_places(options: Options, out: Path) -> None:
    """Raise DataError where a call would take its own output for input, or the output is no folder."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{shown(out)} is a file; --out is the folder to be made.")
    videos, target = Path(options.videos).resolve(), out.resolve()
    if target == videos or target.is_relative_to(videos):
        raise DataError(
            f"{shown(out)} lies in {shown(Path(options.videos))}, so that the next call would take what this one makes "
            "for input; name a folder beside it with --out."
        )


def _limited(jobs: Iterator[Job], limit: int) -> Iterator[Job]:
    """Yield the first ``limit`` jobs of every split and subset, 0 for all."""
    taken: Counter[tuple[str, str]] = Counter()
    for job in jobs:
        kind = (job.cuts[0].split, job.cuts[0].subset)
        taken[kind] += 1
        if not limit or taken[kind] <= limit:
            yield job


def _part(jobs: Iterator[Job], shard: tuple[int, int]) -> Iterator[Job]:
    """Yield the jobs of part I of N: by the recording's name, so that every machine draws the same line."""
    number, parts = shard
    return (job for job in jobs if zlib.crc32(job.video.encode()) % parts == number - 1)


def _carry_out(
    jobs: Queue, plan: Plan, options: Options, out: Path, workers: int, journal: Journal, command: str, bar: Any
) -> None:
    """Do the jobs that are not done, and write each down in the journal."""
    written = 0
    asked = {"folder": str(out.resolve()), "rate": options.rate, "seconds": options.seconds}

    def todo() -> Iterator[tuple[tuple[bytes, Job], Request]]:
        for place, job in jobs:
            key = key_of(job, options.rate, options.seconds)
            jobs.set_key(place, key)
            bar.total = jobs.total
            if journal.stands(key):
                bar.initial += 1
                bar.update()
                continue
            (out / "dataset.json").unlink(missing_ok=True)
            yield (key, job), {"job": asdict(job)} | asked

    def keep(what: tuple[bytes, Job], result: Result) -> None:
        nonlocal written
        if "full" in result:
            raise DataError(
                f"Cannot write to {shown(out)}: the disk is full. Free some space, then continue with: {command}"
            )
        key, job = what
        journal.add(key, {"name": job.id, "source": job.source} | result)
        written += len(result["rows"])
        bar.set_postfix_str(f"{written:,} clips", refresh=False)
        bar.update()

    if plan.make is None:
        do_all(todo(), workers or os.cpu_count() or 1, journal.scratch.resolve(), keep)
        return
    for what, _ in todo():
        scratch = journal.scratch / "0"
        scratch.mkdir(parents=True, exist_ok=True)
        keep(what, plan.make(what[1], out, scratch))


def merge(parts: Sequence[Path], out: Path, command: str = "") -> str:
    """Put the parts that ``--shard`` made together in the folder ``out`` (hard links where they can be, else copies).

    The result is what one machine would have made of it all. Raises DataError where the parts do not belong together.
    """
    out = Path(out)
    infos = [read_info(part) for part in parts]
    first = infos[0]
    if strangers := [info for info in infos if (info.classes, info.note) != (first.classes, first.note)]:
        raise DataError(
            f"{shown(strangers[0].folder)} and {shown(first.folder)} are not parts of one data set: the classes or the "
            "note of dataset.json differ."
        )
    called = first.name if all(info.name == first.name for info in infos) else out.name  # a user's own: as its folder
    if (out / "dataset.json").exists():
        raise DataError(f"{shown(out)} is a benchmark already; merge into a new folder.")
    clips: Counter[int] = Counter()  # of each part
    before = ("", 0)
    for audio, number, _ in _lines(parts):
        if audio == before[0] and number != before[1]:
            raise DataError(f"{audio} is in two of the parts; each of --shard 1/N to N/N belongs in once.")
        if audio < before[0]:
            raise DataError(
                f"The rows of {shown(parts[number])} are not in the order in which avnb-prepare writes them."
            )
        before = (audio, number)
        clips[number] += 1
    _claim(out, "merge", (1, 1), command)
    for part in parts:
        for kind in ("frames", "audio", "masks"):
            if (Path(part) / kind).is_dir():
                for name in walk(part, kind):
                    _link(Path(part) / name, out / name)
    rows = (json.loads(line) for _, _, line in _lines(parts))
    origins: Counter[str] = Counter()
    for number, info in enumerate(infos):
        origins.update(info.origins or {info.origin: clips[number]})
    both = origins if len(origins) == 2 else None
    write_dataset(out, called, first.classes, "stand-in" if "stand-in" in origins else "real", first.note, rows, both)
    shutil.rmtree(out / ".prepare")
    return f"{clips.total():,} clips of {len(parts)} parts in {shown(out)}"


def _lines(parts: Sequence[Path]) -> Iterator[tuple[str, int, str]]:
    """Yield the sound file, the part's number and the line of every clip, by the names of the sound files."""

    def of(number: int) -> Iterator[tuple[str, int, str]]:
        path = Path(parts[number]) / "metadata.jsonl"
        try:
            with open(path, encoding="utf-8") as file:
                for line in file:
                    yield json.loads(line)["audio"], number, line
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{shown(path)} cannot be read ({error!r}); prepare that part again.") from None

    return in_order(*map(of, range(len(parts))), key=itemgetter(0, 1))


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without links
        with whole_file(target) as temporary:
            shutil.copyfile(source, temporary)


def _claim(out: Path, name: str, shard: tuple[int, int], command: str) -> None:
    """Write down whose folder this is; raise DataError where it is another's."""
    mine = _check_owner(out, name, shard)
    with whole_file(out / ".prepare" / "command.json") as temporary:
        temporary.write_text(json.dumps(mine | {"command": command}) + "\n", encoding="utf-8")


def _check_owner(out: Path, name: str, shard: tuple[int, int]) -> dict[str, str]:
    """Return what a folder of this call says of itself; raise DataError where it is another's."""
    path = out / ".prepare" / "command.json"
    mine = {"data set": name, "shard": "{}/{}".format(*shard)}
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        theirs = mine
        if (out / "dataset.json").exists() or (out / "metadata.jsonl").exists():
            raise DataError(
                f"{shown(out)} is a benchmark that avnb-prepare did not make; give another --out."
            ) from None
    except (OSError, ValueError):
        theirs = mine
    if not isinstance(theirs, dict):
        theirs = mine
    if any(theirs.get(key) != value for key, value in mine.items()):
        raise DataError(
            f'{shown(out)} holds "{theirs.get("data set")}", part {theirs.get("shard")}; give another --out, or remove '
            "the folder."
        )
    return mine


def _finish(name: str, plan: Plan, options: Options, out: Path, journal: Journal, jobs: Queue) -> str:
    """Write the report, metadata.jsonl and, last, dataset.json; what stands already as it should is left alone."""
    counts: Counter[tuple[str, str]] = Counter()
    faults: dict[str, list[tuple[str, str]]] = {kind: [] for kind in FAULTS}
    dropped = list(plan.dropped)
    for key in jobs.sorted_keys():
        entry = journal.entry(key)
        if entry is None:
            raise DataError(f"{shown(journal.path)} was changed while it was being written; call again.")
        counts.update((row["split"], row["subset"]) for row in entry["rows"])
        dropped += [(what, why) for what, why in entry["dropped"]]
        for kind, listed in faults.items():
            if kind in entry:
                listed.append((Path(entry["source"]).name, entry[kind]))
    record = BENCHMARKS.get(name)
    info = {
        "name": name if record else out.name,
        "classes": list(plan.classes),
        "origin": plan.origin,
        "note": f"{plan.note} Frames' shorter side {SIDE} pixels at most, sound at {options.rate:,} Hz. Prepared by "
        f"avnb-prepare {name}.",
    }
    full = _report(name, plan, counts, faults, dropped, None)
    with whole_file(out / "report.txt") as temporary:
        temporary.write_text(full + "\n", encoding="utf-8")
    if not counts:
        raise DataError(f"Not one clip could be made.\n{_report(name, plan, counts, faults, dropped, NAMED)}")

    def rows() -> Iterator[dict[str, Any]]:
        return (row for key in jobs.sorted_keys() for row in journal.entry(key)["rows"])

    if not _stands(out, info, rows()):
        write = [info[key] for key in ("name", "classes", "origin", "note")]
        write_dataset(_unfinished(out), *write, rows())
    journal.close_up(jobs.sorted_keys)
    return _report(name, plan, counts, faults, dropped, NAMED)


def _unfinished(out: Path) -> Path:
    (out / "dataset.json").unlink(missing_ok=True)
    return out


def _stands(out: Path, info: dict[str, Any], rows: Iterator[dict[str, Any]]) -> bool:
    """Tell whether dataset.json and metadata.jsonl say just this already: a new date would have all decoded anew."""
    try:
        if json.loads((out / "dataset.json").read_text(encoding="utf-8")) != info:
            return False
        with open(out / "metadata.jsonl", encoding="utf-8") as file:
            return all(line == (row and json.dumps(row) + "\n") for line, row in zip_longest(file, rows))
    except (OSError, ValueError):
        return False


def _report(
    name: str,
    plan: Plan,
    counts: Counter[tuple[str, str]],
    faults: dict[str, list[tuple[str, str]]],
    dropped: list[tuple[str, str]],
    named: int | None,
) -> str:
    """Say what was written, what was missing, broken or left out, and why."""
    lines = [f"{name}: {counts.total():,} clips, {len(plan.classes):,} classes"]
    lines += [f"  {split} {subset}: {n:,}" for (split, subset), n in sorted(counts.items())]
    lines += [f"  {remark}" for remark in plan.remarks]

    def name_all(title: str, items: Sequence[str]) -> None:
        if items:
            lines.append(f"{title}: {len(items):,}")
            lines.extend(f"  {item}" for item in items[:named])
            if named is not None and len(items) > named:
                lines.append(f"  ... and {len(items) - named:,} more, in report.txt")

    name_all("listed, but there is no file", sorted(plan.missing))
    for kind, title in FAULTS.items():
        name_all(title, [f"{what}: {why}" for what, why in sorted(faults[kind])])
    name_all("left out, or not as its file has it", [f"{what}: {why}" for what, why in sorted(dropped)])
    name_all("passed over", [f"{what}: {why}" for what, why in sorted(plan.passed)])
    return printable("\n".join(lines))  # names may hold anything, half a character too


def _nothing(name: str, plan: Plan, options: Options, shard: tuple[int, int]) -> str:
    if plan.jobs:
        return f"Part {shard[0]} of {shard[1]} has no files: there are {plan.jobs:,} in all. Use fewer parts."
    example = f', such as "{sorted(plan.missing)[0]}",' if plan.missing else ""
    reasons = Counter(why for _, why in plan.dropped)
    why = f" {len(plan.dropped):,} were left out: {reasons.most_common(1)[0][0]}." if reasons else ""
    return (
        f"{shown(Path(options.videos))} has none of the files of {name}: {len(plan.missing):,} are listed{example} and "
        f"not found.{why} data/README.md shows the names and the layout."
    )


def _rate(name: str) -> int:
    """Return the benchmark's rate of sound in Hz; where papers disagree 22,050, from which the others can be had."""
    record = BENCHMARKS.get(name)
    return (record.rate if record else None) or 22050


def _seconds(name: str) -> float:
    record = BENCHMARKS.get(name)
    return (record.seconds if record else None) or 3.0


def _shard(text: str) -> tuple[int, int]:
    try:
        number, parts = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, as in 1/4") from None
    if not 1 <= number <= parts:
        raise argparse.ArgumentTypeError(f"{text!r}: the parts of {parts} are 1/{parts} to {parts}/{parts}")
    return number, parts


def _at_least(low: float, kind: type = int) -> Any:
    def check(text: str) -> Any:
        value = kind(text)
        if not (math.isfinite(value) and value >= low):
            raise argparse.ArgumentTypeError(f"{text} is less than {low}")
        return value

    check.__name__ = "number"
    return check


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="avnb-prepare",
        description="Make a prepared folder of downloaded videos, or frames and sounds, and official annotations. "
        "Interrupted, it goes on where it was when called again.",
    )
    commands = parser.add_subparsers(dest="importer", required=True, metavar="DATASET")
    for name in IMPORTERS:
        module = IMPORTERS[name]
        summary = BENCHMARKS[name].title if name in BENCHMARKS else module.replace("_", " ")
        command = commands.add_parser(name, help=summary)
        command.add_argument("--videos", type=Path, required=True, help="folder of videos, or of frames/ and audio/; "
                             "for composed data sets the prepared folder of solos")  # fmt: skip
        command.add_argument("--annotations", type=Path, nargs="+", default=[], help="official files, or their folder")
        command.add_argument("--out", type=Path, required=True, help="the prepared folder, such as data/music")
        command.add_argument("--workers", type=_at_least(0), default=0, help="processes; 0: one a core")
        command.add_argument("--limit", type=_at_least(0), default=0, help="files of each split and subset; 0: all")
        command.add_argument("--every", type=_at_least(0.05, float), default=1.0, help="seconds from one training clip "
                             "to the next, where a file gives several")  # fmt: skip
        command.add_argument("--rate", type=_at_least(0), default=0, help="Hz of the sound; 0: the benchmark's")
        command.add_argument("--seconds", type=_at_least(0, float), default=0, help="of sound around a frame; 0: the "
                             "benchmark's")  # fmt: skip
        command.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help="part I of N; see merge")
        command.add_argument("--seed", type=_at_least(0), default=0, help="of composed data sets")
        command.add_argument("--keep-leaked", action="store_true", help="train on test clips that the published "
                             "training lists contain")  # fmt: skip
    command = commands.add_parser("merge", help="put the parts that --shard made together")
    command.add_argument("parts", type=Path, nargs="+")
    command.add_argument("--out", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
