"""VGGSound-Single (VGG-SS): 5,158 boxed test clips of 221 classes, and VGGSound's clips to train on.

Annotations: ``vggss.json`` (corners in 0..1; 18 broken boxes, two frames left without one); to train
``vggsound.csv``, alone or with the list of a paper (``vggss_144k.txt``, ``vggss_heard.txt``), which has no classes.
With ``vggss_heard_test.csv`` and ``vggss_unheard_test.csv`` the test clips get these two subsets.
"""

from avnb.data.importers import vggsound
from avnb.data.importers.annotations import annotation_files
from avnb.data.importers.listing import list_media
from avnb.data.importers.plan import Options, Plan


def plan(options: Options) -> Plan:
    """Plan the test clips and the training clips of the lists, test clips that are among these left out."""
    lists = vggsound.read(annotation_files(options))
    vggsound.need(lists.boxes, "vggss.json")
    clips = vggsound.Clips(list_media(options.videos))
    spelled = {vggsound.underscored(label): label for label in lists.classes.values()}
    made = Plan((), dropped=lists.dropped, note="VGGSound, with the boxes of VGG-SS.")
    for clip, things in sorted(lists.boxes.items()):
        vggsound.add_test(made, clips, clip, lists.subsets.get(clip, "test"), lists.classes[clip], things)
    train = {
        clip: lists.classes.get(clip) or spelled.get(label, label)
        for clip, label in vggsound.without_leaks(lists, options, made).items()
    }
    vggsound.add_train(made, clips, train, lists.boxes)
    made.classes = tuple(sorted({lists.classes[clip] for clip in lists.boxes} | {c for c in train.values() if c}))
    return made
