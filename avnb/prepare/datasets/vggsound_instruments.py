"""VGGSound-Instruments: 37 classes; 446 test frames with masks, called sampleNNNN, and AVGN's training list.

Annotations: ``vgginstruments_train.txt`` and ``vgginstruments_test.csv`` (AVGN; ``vgginstruments_multi_test.csv`` holds
the same clips in pairs), and the folder of the masks, called as the clips are: pickled arrays (read without running
anything in them), .npy or .png. The test clips' names hide their videos, so that whether one of them is in the
training list cannot be checked.
"""

from collections.abc import Iterator

from avnb.data.benchmarks import benchmark
from avnb.prepare.annotation_files import annotation_files
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.mask_files import MASKS
from avnb.prepare.media_folder import list_media
from avnb.prepare.plan import Cut, Job, Options, Plan, Thing

CLASSES = benchmark("vggsound-instruments").classes


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the masked test clips, and the training clips of the list."""
    files = annotation_files(options)
    masks = {path.stem: path for path in files if path.suffix in MASKS}
    lists = vggsound.read(path for path in files if path.suffix not in MASKS)
    vggsound.need(lists.test or lists.train, "vgginstruments_test.csv and vgginstruments_train.txt")
    clips = vggsound.Clips(list_media(options.videos, made))
    made.classes, made.note = CLASSES, "VGGSound-Instruments; the test clips have masks."
    made.dropped += lists.dropped
    for clip, label in sorted(lists.test.items()):
        if label not in CLASSES:
            made.dropped.append((clip, f"{label!r} is none of the {len(CLASSES)} classes"))
        elif clip not in masks:
            made.missing.append(f"mask of {clip}")
        else:
            mask = str(masks[clip].absolute())
            yield from clips.job(clip, Cut(clip, "test", "solo", (label,), (Thing(label),), mask=mask), made)
    train = vggsound.without_leaks(lists, options, made)
    strange = {clip for clip, label in train.items() if label and label not in CLASSES}
    if strange:  # DeepAVFusion's list of the same name has bassoon for xylophone
        made.remarks.append(f"{len(strange):,} training clips are of other classes and are left out")
    known = {clip: label for clip, label in train.items() if clip not in strange}
    yield from vggsound.train_jobs(made, clips, known, lists.test)
    if lists.test and lists.train:
        made.remarks.append("whether test clips are in the training list cannot be checked: their names are hidden")
