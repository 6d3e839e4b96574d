"""Extended Flickr-SoundNet (SLAVC): the 250 boxed test clips, and 250 pictures whose sound is another clip's.

Annotations: the folder of XML files, ``flickr_test.csv``, and ``flickr_test_plus_silent.csv`` (rows of a picture, a
sound and "non-sounding"). A pair is of the subset "silent" and has no place. What to train on is prepared as
flickr-soundnet.
"""

from collections.abc import Iterator
from dataclasses import replace

from avnb.data.benchmarks import SILENT
from avnb.prepare.annotation_files import annotation_files
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.datasets import flickr_soundnet
from avnb.prepare.media_folder import by_name, list_media
from avnb.prepare.plan import Cut, Job, Options, Plan


def plan(options: Options, made: Plan) -> Iterator[Job]:
    """Plan the boxed clips, and the pairs in which nothing of the picture sounds."""
    files = annotation_files(options)
    silent = [path for path in files if path.suffix == ".csv" and "silent" in path.stem]
    vggsound.need(silent, "flickr_test_plus_silent.csv")
    boxed = replace(options, annotations=tuple(path for path in files if path not in silent))
    for job in flickr_soundnet.plan(boxed, made):
        if job.cuts[0].split == "test":
            yield job
    made.note = "Extended Flickr-SoundNet: its boxed clips, and pairs of pictures and sounds of which nothing is seen."
    media = list_media(options.videos)
    videos, pictures, sounds = by_name(media.videos), by_name(media.pictures), by_name(media.sounds)
    for picture, sound in sorted({pair for path in silent for pair in vggsound.read_silent(path)}):
        seen, heard = pictures.get(picture) or videos.get(picture), sounds.get(sound) or videos.get(sound)
        if seen is None or heard is None:
            made.missing.append(picture if seen is None else sound)
            continue
        name = f"{picture}_with_{sound}"
        cut = Cut(name, "test", SILENT, (flickr_soundnet.CLASS,), picture=media.path(seen))
        yield Job(name, media.path(heard), picture, (cut,))
