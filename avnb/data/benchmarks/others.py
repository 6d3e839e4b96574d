"""The records of pictures without classes, generated ones, talking faces, AVSBench, AudioSet and Kinetics."""

from avnb.data.benchmarks.record import Benchmark, Protocol

_AUDIOSET_INSTRUMENT = """
    banjo cello drum guitar harp harmonica piano saxophone trombone violin flute accordion horn
"""

FLICKR_SOUNDNET = Benchmark(
    name="flickr-soundnet",
    title="Flickr-SoundNet",
    classes=None,
    protocols=(Protocol("test", 1, "single", 0.5, 250, "consensus", ("ez_vsl",), ("Flickr-SoundNet",)),),
    rate=11025,
    seconds=3.0,
    papers=("ez_vsl",),
    training_classes=False,
    note="""
        No class labels exist. Up to three annotators draw boxes on 256 x 256 images: their sum, halved and
        clipped at 1, is the truth. EZ-VSL's list has 249 of the 250 images, so one image is 0.40 points.
        Predicting the whole image was reported to score 60.8.
    """,
)

FLICKR_EXTENDED = Benchmark(
    name="flickr-extended",
    title="Extended Flickr-SoundNet",
    classes=None,
    protocols=(Protocol("test", 1, "single", 0.5, 250, "consensus", (), ()),),
    rate=None,
    seconds=3.0,
    papers=(),
    trained_on="flickr-soundnet",
    training_classes=False,
    note="""
        No class labels exist. SLAVC's 250 pairs of a picture and a sound of something else are the subset "silent": a
        method that states something about them is wrong. Printed in SLAVC's README: AP 51.6, max-F1 59.1, LocAcc 83.6,
        with a flag (--relative_prediction) that its scripts omit; its log swaps the fields of best AP and best F1.
    """,
)

IS3 = Benchmark(
    name="is3",
    title="IS3",
    classes=None,
    protocols=(
        Protocol("test", 1, "single", 0.5, 6480, "box", (), (), together=True),
        Protocol("duet", 2, "one_frame", 0.5, 3240, "box", (), ()),
    ),
    rate=None,
    seconds=None,
    papers=(),
    trained_on="vggsound-single",
    training_classes=False,
    note="""
        Interactive localization (SSLalign): 3,240 generated pictures of two objects, each asked for by its own sound.
        The classes come with the prepared folder. IIoU counts a picture where both are found; a centre square, which
        shows the same for both, has 6.0 there and 31.8 where sounds are counted one by one. Nothing is trained on it.
    """,
)

AVSBENCH_S4 = Benchmark(
    name="avsbench-s4",
    title="AVSBench S4",
    classes=None,
    protocols=(Protocol("solo", 1, "single", 0.5, 3700, "mask", (), ()),),
    rate=16000,
    seconds=None,
    papers=(),
    note="""
        One source a video, five frames of each; the 23 classes come with the prepared folder. Of training videos only
        the first frame has a mask. The released code takes F's highest threshold batch by batch, so that its number
        depends on the batch size; here there is one for the whole set.
    """,
)

AVSBENCH_MS3 = Benchmark(
    name="avsbench-ms3",
    title="AVSBench MS3",
    classes=None,
    protocols=(Protocol("test", 1, "single", 0.5, 320, "mask", (), ()),),
    rate=16000,
    seconds=None,
    papers=(),
    training_classes=False,
    note="""
        Several sources a video and one mask for all of them, without class labels: a map of all that sounds is judged.
        Frames whose mask is empty are the subset "silent".
    """,
)

VOXCELEB2 = Benchmark(
    name="voxceleb2",
    title="VoxCeleb2",
    classes=None,
    protocols=(
        Protocol("solo", 1, "single", 0.3, 1000, "mask", ("mix_and_localize",), ("VoxCeleb2",)),
        Protocol("duet", 2, "side_by_side", 0.1, 1000, "mask", ("mix_and_localize",), ("VoxCeleb2-Multi",)),
    ),
    rate=16000,
    seconds=0.96,
    papers=("mix_and_localize",),
    training_classes=False,
    note="""
        Speakers, not classes: the identities come with the prepared folder. The face masks, from an unnamed
        detector, and the pairs were not released.
    """,
)

AUDIOSET_INSTRUMENT = Benchmark(
    name="audioset-instrument",
    title="AudioSet-instrument",
    classes=tuple(_AUDIOSET_INSTRUMENT.split()),
    protocols=(
        Protocol("solo", 1, "single", 0.5, None, "box", ("dsol",), ("AudioSet-instrument-solo",)),
        Protocol("multi", 2, "one_frame", 0.3, None, "box", ("dsol",), ("AudioSet-instrument-multi",), also=("NSA",)),
    ),
    rate=16000,
    seconds=1.0,
    papers=("dsol",),
    note="""
        The paper has 15 classes, code and boxes 13, without names: ours are inferred, the detector's 15 in
        their order without oboe and trumpet. Boxes exist for 4,503 frames of 566 videos, 203 of them with two
        or three classes; those with three are judged apart. The rule is the one of the paper's text.
    """,
)

KINETICS400 = Benchmark(
    name="kinetics400",
    title="Kinetics-400",
    classes=None,
    protocols=(),
    rate=8000,
    seconds=3.0,
    papers=("one_avm",),
    note="""
        Only trained on: OneAVM pre-trains on 187k clips and tests on VGGSound-Music. The 400 classes are human
        actions, name no sounding object, and come with the prepared folder. There are no boxes.
    """,
)
