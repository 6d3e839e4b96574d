"""Steps shared by AVSBench's two sets: five frames of a video, at its seconds' ends, and a mask for each.

Videos of five seconds may lie as ``raw_videos/.../NAME.mp4``, or as the released code expects them:
``visual_frames/.../NAME_K.png`` (or ``NAME.mp4_K.png``) and ``audio_wav/.../NAME.wav``. Masks are
``gt_masks/.../NAME_K.png``, K from 1 to 5; the sets' tables say which video is of which split.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from avnb.data.scratch import Names
from avnb.errors import DataError
from avnb.prepare.annotation_files import annotation_files, must, read_table, unread
from avnb.prepare.mask_files import MASKS
from avnb.prepare.media_folder import Media, by_name, list_media
from avnb.prepare.plan import Cut, Job, Options, Plan

FRAMES = 5  # of a video, one a second
END = 1 / 16  # seconds before a second's end, at which the released code takes its frame
MASK_FOLDER = "gt_masks"


def read(options: Options, table: str, columns: tuple[str, ...]) -> tuple[list[dict[str, str]], dict[str, Path]]:
    """Return the rows of a set's table, of its ``columns``, and the masks by name; raise DataError for other files."""
    rows: list[dict[str, str]] = []
    masks: dict[str, Path] = {}
    for path in annotation_files(options):
        if path.suffix in MASKS:
            masks[path.stem] = path
        elif path.suffix == ".csv":
            heading, *lines = must(read_table(path), path, "videos")
            if missing := [name for name in columns if name not in heading]:
                raise DataError(f"{path.name} has no column {missing[0]}; {table} has {', '.join(columns)}.")
            places = [heading.index(name) for name in columns]
            rows += [dict(zip(columns, (cells[k] for k in places), strict=True)) for cells in lines]
        else:
            raise unread(path, (table, MASK_FOLDER))
    return rows, masks


class Videos:
    """The files of a set's videos in a folder, in either layout."""

    def __init__(self, options: Options, made: Plan) -> None:
        self.media: Media = list_media(options.videos, made)
        pictures = ((stem, path) for stem, path in self.media.pictures.pairs() if MASK_FOLDER not in stem.split("/"))
        self.pictures = Names((stem.rsplit("/", 1)[-1], path) for stem, path in pictures)
        self.films, self.sounds = by_name(self.media.videos), by_name(self.media.sounds)

    def job(self, name: str, cuts: Mapping[int, Cut], made: Plan) -> Iterator[Job]:
        """Yield the job of a video's cuts, by the number of their frames, or note what is missing."""
        if name in self.films:
            timed = tuple(replace(cut, time=number - END) for number, cut in cuts.items())
            yield Job(name, self.media.path(self.films[name]), name, timed)
            return
        if name not in self.sounds:
            made.missing.append(name)
            return
        found = []
        for number, cut in cuts.items():
            picture = self.pictures.get(f"{name}_{number}") or self.pictures.get(f"{name}.mp4_{number}")
            if picture is None:
                made.missing.append(f"frame {name}_{number}")
            else:
                found.append(replace(cut, time=number - END, picture=self.media.path(picture)))
        if found:
            yield Job(name, self.media.path(self.sounds[name]), name, tuple(found))
