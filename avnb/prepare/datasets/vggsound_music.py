"""VGGSound-Music: the VGG-SS clips whose class begins with "playing", 1,201 of 49 classes.

Annotations: ``vggss.json`` for the boxes, ``vggmusic_eval_ss.csv`` for the test clips (without it: every VGG-SS clip
whose class begins with "playing", which are the same), ``vggmusic_train.txt`` to train.
"""

from collections.abc import Iterator

from avnb.data.benchmarks import benchmark
from avnb.prepare.annotation_files import annotation_files
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.media_folder import list_media
from avnb.prepare.plan import Job, Options, Plan, Thing

CLASSES = benchmark("vggsound-music").classes


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the boxed test clips and the training clips of DeepAVFusion's list, whose names OneAVM's classes are."""
    lists = vggsound.read(annotation_files(options))
    vggsound.need(lists.boxes, "vggss.json")
    clips = vggsound.Clips(list_media(options.videos, made))
    made.classes = CLASSES
    made.note = "VGGSound-Music: the classes of VGG-SS that begin with 'playing', with its boxes."
    test = {clip for clip in lists.boxes if lists.classes[clip].startswith("playing ")}
    if lists.test:
        test &= lists.test.keys()
        made.dropped += [(clip, "is not in vggss.json") for clip in sorted(lists.test.keys() - lists.boxes.keys())]
    made.dropped += [(clip, why) for clip, why in lists.dropped if clip in test]
    lists.test = dict.fromkeys(test, "")
    for clip in sorted(test):
        label = vggsound.instrument(lists.classes[clip])
        things = [Thing(label, thing.xyxy) for thing in lists.boxes[clip]]
        yield from vggsound.test_jobs(made, clips, clip, "test", label, things)
    train = {
        clip: vggsound.instrument(label or lists.classes.get(clip, ""))
        for clip, label in vggsound.without_leaks(lists, options, made).items()
    }
    strange = {clip for clip, label in train.items() if label and label not in CLASSES}
    if strange:
        made.remarks.append(f"{len(strange):,} training clips are of other classes and are left out")
    known = {clip: label for clip, label in train.items() if clip not in strange}
    yield from vggsound.train_jobs(made, clips, known, test)
