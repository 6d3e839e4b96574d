"""avnb-localize: what sounds in a film, when and where, from the command line."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from avnb.errors import answer


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 after a sentence on standard error that says what is wrong and what to do."""
    return answer(_parser(), arguments, _localize)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="avnb-localize",
        description="Find what sounds in a film, or in a photo with a sound file, and where it is: an MP4 with each "
        "source's heat, a CSV of time, class, box and score, a picture of who sounds when, and a last line that "
        "says it in words.",
    )
    parser.add_argument("film", type=Path, help="a video or a photo")
    parser.add_argument("--sound", default="", help="a sound file, for a photo or a film without sound")
    parser.add_argument("--method", default="avgn", help="a method whose weights come with avnb, a run's folder, "
                        'hf://user/name, or "named": any of ImageNet\'s names among --classes')  # fmt: skip
    parser.add_argument("--dataset", default="", help="ask your own finished run of the method on this data set")
    parser.add_argument("--classes", default="", help="look for these, divided by commas; else the method chooses")
    parser.add_argument("--sources", type=int, default=2, help="at most so many sources, where the method chooses")
    parser.add_argument("--per-second", type=float, default=4.0, help="pictures a second that the method looks at")
    parser.add_argument("--truth", type=Path, default=None, help="a CSV of class,start,stop,x0,y0,x1,y1: say whether "
                        "what is shown follows what truly sounds")  # fmt: skip
    parser.add_argument("--out", type=Path, default=None, help="folder of the results; else outputs/videos")
    parser.add_argument("--no-video", action="store_true", help="no MP4")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the last line")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps")
    return parser


def _localize(said: argparse.Namespace) -> str:
    from avnb.paths import shown
    from avnb.training.trained import load
    from avnb.video.changes import change_test, read_soundings
    from avnb.video.localize import localize_video
    from avnb.video.summary import as_json, sentence

    truth = read_soundings(said.truth) if said.truth else []
    method = load(said.method, said.dataset, said.device)
    result = localize_video(
        said.film, method, sound=said.sound, classes=[name.strip() for name in said.classes.split(",") if name.strip()],
        sources=said.sources, per_second=said.per_second, folder=said.out, film=not said.no_video,
    )  # fmt: skip
    places = (result.overlay, result.table, result.timeline, *result.tracks.values())
    files = [path for path in places if path is not None]
    changes = change_test(result.rows, result.size, truth) if truth else {}
    if said.json:
        judged = {"changes": {name: asdict(found) for name, found in changes.items()}} if changes else {}
        return json.dumps({
            "film": str(said.film), "method": method.settings.METHOD, "size": result.size, "notes": result.notes,
            "files": [str(path) for path in files], **as_json(result.rows), **judged,
        })  # fmt: skip
    height, width = result.size
    notes = [f"note: {note}" for note in result.notes]
    followed = [f"{name}: {found.sentence()}" for name, found in changes.items()]
    return "\n".join([*notes, *(shown(path) for path in files), *followed, sentence(result.rows, width, height)])


if __name__ == "__main__":
    sys.exit(main())
