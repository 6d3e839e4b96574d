"""Extended VGG-SS (SLAVC): VGG-SS's test clips, and as many pictures whose sound is of something that is not seen.

Annotations: ``vggss.json`` and ``vggss_test_plus_silent.csv`` (SLAVC; rows of a picture, a sound and "non-sounding").
A pair is of the subset "silent" and has no place; its class is the one that sounds. Where vggss.json does not say it,
``vggsound.csv`` does. What to train on is prepared as vggsound-single.
"""

from collections.abc import Iterator

from avnb.data.benchmarks import SILENT
from avnb.prepare.annotation_files import annotation_files
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.media_folder import list_media
from avnb.prepare.plan import Cut, Job, Options, Plan


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the boxed clips, and the pairs in which nothing of the picture sounds."""
    files = annotation_files(options)
    silent = [path for path in files if path.suffix == ".csv" and "silent" in path.stem]
    vggsound.need(silent, "vggss_test_plus_silent.csv")
    lists = vggsound.read(path for path in files if path not in silent)
    vggsound.need(lists.boxes, "vggss.json")
    clips = vggsound.Clips(list_media(options.videos, made))
    made.note = "Extended VGG-SS: VGG-SS, and pairs of pictures and sounds of which nothing is seen."
    made.dropped += lists.dropped
    named = {clip: label for clip, label in lists.classes.items() if label}
    pairs = dict.fromkeys(pair for path in silent for pair in vggsound.read_silent(path))
    heard = {named[sound] for _, sound in pairs if sound in named}
    made.classes = tuple(sorted({named[clip] for clip in lists.boxes} | heard))
    for clip, things in sorted(lists.boxes.items()):
        yield from vggsound.test_jobs(made, clips, clip, "test", named[clip], things)
    for picture, sound in sorted(pairs):
        name = f"{picture}_with_{sound}"
        if sound not in named:
            made.dropped.append((name, "the class of its sound is not known; add vggsound.csv"))
        else:
            yield from clips.pair(picture, sound, Cut(name, "test", SILENT, (named[sound],)), made)
