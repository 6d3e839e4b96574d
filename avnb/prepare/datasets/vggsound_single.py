"""VGGSound-Single (VGG-SS): 5,158 boxed test clips of 221 classes, and VGGSound's clips to train on.

Annotations: ``vggss.json`` (corners in 0..1; 18 broken boxes, two frames left without one); to train
``vggsound.csv``, alone or with the list of a paper (``vggss_144k.txt``, ``vggss_heard.txt``), which has no classes.
With ``vggss_heard_test.csv`` and ``vggss_unheard_test.csv`` the test clips get these two subsets.
"""

from collections.abc import Iterator

from avnb.prepare.annotation_files import annotation_files
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.media_folder import list_media
from avnb.prepare.plan import Job, Options, Plan


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the test clips and the training clips of the lists, test clips that are among these left out."""
    lists = vggsound.read(annotation_files(options))
    vggsound.need(lists.boxes, "vggss.json")
    clips = vggsound.Clips(list_media(options.videos, made))
    spelled = {vggsound.underscored(label): label for label in lists.classes.values()}
    made.note = "VGGSound, with the boxes of VGG-SS."
    made.dropped += lists.dropped
    train = {
        clip: lists.classes.get(clip) or spelled.get(label, label)
        for clip, label in vggsound.without_leaks(lists, options, made).items()
    }
    made.classes = tuple(sorted({lists.classes[clip] for clip in lists.boxes} | {c for c in train.values() if c}))
    for clip, things in sorted(lists.boxes.items()):
        yield from vggsound.test_jobs(made, clips, clip, lists.subsets.get(clip, "test"), lists.classes[clip], things)
    yield from vggsound.train_jobs(made, clips, train, lists.boxes)
