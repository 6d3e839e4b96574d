"""avnb-judge: anybody's localization maps judged under every protocol, beside the rows that need no model."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from avnb.errors import SettingsError, answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after a sentence on standard error that says what is wrong and what to do."""
    return answer(_parser(), arguments, _judge)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="avnb-judge",
        description="Judge localization maps that any code has made under every protocol and threshold rule, beside a "
        "centre square, one square a frame, the whole image and the oracle.",
    )
    parser.add_argument(
        "maps", type=Path,
        help="a folder of NAME.npy or NAME.png (of a class: NAME/CLASS.npy), or a .npz or .safetensors with these keys",
    )  # fmt: skip
    parser.add_argument("--benchmark", required=True, help="a benchmark of the papers, or a folder of data/")
    parser.add_argument(
        "--annotations", type=Path, nargs="+", default=[],
        help="the official files (vggss.json ...): no videos are needed; without, data/BENCHMARK is read",
    )  # fmt: skip
    parser.add_argument("--trial", default="", help="test, heard, solo, duet, ...: by default the benchmark's first")
    parser.add_argument("--rules", nargs="+", default=[], help='such as top_half "min_max(0.4)" truth_area')
    parser.add_argument("--name", default="", help="of the method, in the table; by default the maps' file name")
    parser.add_argument("--out", type=Path, nargs="+", default=[], help="files to write: .json, .csv, .tex")
    return parser


def _judge(said: argparse.Namespace) -> str:
    """Judge, write the files, and return the table and what is to be known of it."""
    from avnb.config import did_you_mean
    from avnb.evaluation.given_maps import judge_maps
    from avnb.evaluation.row_files import as_text, check_suffix, write_rows
    from avnb.evaluation.trials import trials_of
    from avnb.evaluation.truths import truth_in_annotations, truth_in_store
    from avnb.paths import shown

    for path in said.out:
        check_suffix(path)
    if said.annotations:
        truth = truth_in_annotations(said.benchmark, said.annotations, said.trial)
    else:
        from avnb.data.build import open_store
        from avnb.data.store import ClipShape
        from avnb.datasets import locate

        store = open_store(locate(said.benchmark).folder, ClipShape())
        trials = {trial.key: trial for trial in trials_of(store) if trial.judged}
        found = [trial for key, trial in trials.items() if said.trial in ("", key, trial.subset)]
        if not found:
            raise SettingsError(
                f'"{store.name}" has no trial "{said.trial}".{did_you_mean(said.trial, trials)} It has: '
                f"{', '.join(trials) or 'none with ground truth'}."
            )
        truth = truth_in_store(store, found[0])
    verdict = judge_maps(said.maps, truth, rules=said.rules, name=said.name)
    about = {"benchmark": truth.benchmark, "origin": truth.origin, "trial": truth.trial.key, "report": verdict.report}
    about["counts"] = verdict.counts.as_dict()
    for path in said.out:
        write_rows(path, verdict.rows, about)
    written = [f"written: {', '.join(shown(path) for path in said.out)}"] if said.out else []
    return "\n".join([*verdict.report, "", as_text(verdict.rows), *written])


if __name__ == "__main__":
    sys.exit(main())
