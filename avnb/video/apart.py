"""A video's sound taken apart: what belongs to each source, as a file each."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avnb.models.base import Separates
from avnb.paths import file_name, whole_file
from avnb.video.boxes import Box, hottest_boxes
from avnb.video.reader import windows

if TYPE_CHECKING:
    from avnb.video.asker import Asker, Moment, Told


def write_sources(asker: "Asker", moments: "Sequence[Moment]", stem: Path, progress: "bool | Told") -> dict[str, Path]:
    """Write what of the sound belongs to each source, where the method separates; else nothing.

    The method is shown the picture cut to the source's box, and hears windows that overlap by half and are faded into
    each other. A method with one map for all has as sources the places that are hottest on the mean of its maps.
    """
    import soundfile

    from avnb.video.asker import progress_bar

    if not isinstance(asker.method, Separates):
        return {}
    rate = asker.method.rate
    length = round(rate * asker.shape.seconds) // 2 * 2  # so that half a window is whole samples
    still: list[Box] = []
    if asker.places:
        mean = np.mean([one.maps[0] for one in moments], axis=0)
        still = hottest_boxes(mean, asker.shown_size, asker.places)
    names = [f"place {number + 1}" for number in range(len(still))] or asker.names
    tracks = {name: stem.with_name(f"{stem.name}-{file_name(name.replace(' ', '_'), 60)}.wav") for name in names}
    fade = np.hanning(length + 1)[:-1].astype(np.float32)  # two halves of a window apart, they add up to 1
    waiting = np.zeros((len(tracks), length // 2), np.float32)
    with ExitStack() as stack:
        files = [
            stack.enter_context(soundfile.SoundFile(stack.enter_context(whole_file(path)), "w", rate, 1, format="WAV"))
            for path in tracks.values()
        ]
        done = stack.enter_context(progress_bar(progress, "separate", asker.lasts))
        for number, (seconds, window) in enumerate(windows(asker.heard, asker.shape.rate, length / rate)):
            nearest = min(moments, key=lambda one: abs(one.seconds - seconds))
            boxes = still or [hottest_boxes(heat, asker.shown_size)[0] for heat in nearest.maps]
            found = asker.cut_out(nearest.picture, boxes, window)[:, :length] * fade
            waiting += found[:, : length // 2]
            if number:  # the first half of the first window lies before the sound
                for file, part in zip(files, waiting, strict=True):
                    file.write(part)
            waiting = found[:, length // 2 :]
            done(min(seconds, asker.lasts))
    return tracks
