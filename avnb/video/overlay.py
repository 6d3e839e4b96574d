"""Maps laid over every picture of a film: between two moments they pass from one to the other, but never over a cut."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from avnb.video.asker import Asker, Moment
from avnb.video.heat import HeatVideo
from avnb.video.reader import small_picture
from avnb.video.shots import change

if TYPE_CHECKING:
    import av


def lay_over(asker: Asker, moments: Iterator[Moment], track: Path, path: Path, mark: str) -> None:
    """Write the MP4 with the sound of ``track``; ``mark`` is what `avnb.video.heat.mark_of` finds in it."""
    from avnb.viewing.colours import class_colours

    colours = class_colours(asker.known if asker.class_aware else asker.names)
    before = after = next(moments, None)
    over = False  # whether a cut between the two lies behind
    with HeatVideo(path, asker.picture, track, mark, asker.names, [colours[name] for name in asker.names]) as video:
        for seconds, frame in asker.pictures():
            while after is not None and after.seconds <= seconds:
                before, after, over = after, next(moments, None), False
            if after is None or after.shot == before.shot:
                share = 0.0 if after is None else (seconds - before.seconds) / (after.seconds - before.seconds)
            else:
                over = over or _resembles(asker, frame, before, after)
                share = float(over)
            following = before if after is None else after
            video.add(
                seconds,
                frame,
                (1 - share) * before.maps + share * following.maps,
                (1 - share) * asker.strengths(before) + share * asker.strengths(following),
            )


def _resembles(asker: Asker, frame: "av.VideoFrame", before: Moment, after: Moment) -> bool:
    """Tell whether a picture between two shots is of the second."""
    picture = small_picture(frame, *asker.shown_size)
    return change(picture, after.picture) < change(before.picture, picture)
