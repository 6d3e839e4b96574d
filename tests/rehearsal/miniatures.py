"""Miniatures of what the users of every benchmark hold: videos and annotation files as they are distributed.

Pictures and sounds are the stand-in's, so that methods can learn from them; names, folders and rows are the official
ones. Every film stands still and lasts three seconds. ``MINIATURES`` says how each is written and prepared.
"""

import io
import json
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, pairwise, product
from pathlib import Path
from types import MappingProxyType
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image

from avnb.prepare.datasets.music import CATEGORIES
from avnb.standin.build import box_of
from avnb.standin.pictures import scene
from avnb.standin.sounds import melody

SIDE, SECONDS, PER_SECOND = 128, 3, 5  # pixels, length and pictures a second of a film
RATE = 22_050  # Hz
TRAIN, HELD = 4, 2  # clips of a class for training, and as many for validation and for testing
FOUR = ("accordion", "cello", "flute", "trumpet")  # what is drawn and heard, whatever a benchmark calls it
MORE = ("acoustic_guitar", "saxophone", "tuba", "violin")

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in 0..1


@dataclass(frozen=True)
class Film:
    """A video and what is true of it: ``boxes`` and ``masks`` of what sounds, in the order of ``sounding``."""

    data: bytes
    sounding: tuple[str, ...]
    boxes: tuple[Box, ...]
    mask: np.ndarray
    frame: np.ndarray

    def write(self, path: Path) -> Path:
        """Write the video."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.data)
        return path


@cache
def film(take: int, *sounding: str) -> Film:
    """Return a film of instruments that play; another ``take`` is another picture and another tune."""
    generator = np.random.default_rng([2026, take, *(ord(letter) for letter in "+".join(sounding))])
    picture_rng, *sound_rngs = generator.spawn(1 + len(sounding))
    frame, mask = scene(sounding, (), picture_rng, SIDE)
    sound = sum(melody(name, rng, SECONDS, RATE) for name, rng in zip(sounding, sound_rngs, strict=True))
    sound = (0.9 * sound / np.abs(sound).max()).astype(np.float32)
    boxes = tuple(tuple(box_of(mask == k)) for k in range(1, 1 + len(sounding)))
    return Film(_encoded(frame, sound), sounding, boxes, mask, frame)


def _encoded(frame: np.ndarray, sound: np.ndarray) -> bytes:
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as file:
        pictures = file.add_stream("libx264", rate=PER_SECOND, options={"crf": "18", "preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = SIDE, SIDE, "yuv420p"
        pictures.codec_context.thread_count = 1
        track = file.add_stream("aac", rate=RATE, layout="mono")
        heard = av.AudioFrame.from_ndarray(sound[None], "fltp", "mono")
        heard.rate, heard.pts, heard.time_base = RATE, 0, Fraction(1, RATE)
        file.mux([*track.encode(heard), *track.encode(None)])
        for number in range(SECONDS * PER_SECOND):
            picture = av.VideoFrame.from_ndarray(frame, "rgb24")
            picture.pts, picture.time_base = number, Fraction(1, PER_SECOND)
            file.mux(pictures.encode(picture))
        file.mux(pictures.encode(None))
    return data.getvalue()


@dataclass(frozen=True)
class Miniature:
    """How a user's copy of a benchmark is written, and with which arguments it is prepared into ``data/NAME``.

    ``write`` fills an empty folder and returns the arguments that follow ``avnb-prepare IMPORTER``; ``composed_of``
    names the miniature whose prepared folder it is made from, ``trained_on`` the one that stands beside it to train on.
    """

    importer: str
    write: Callable[[Path], list[Any]]
    composed_of: str = ""
    trained_on: str = ""

    @property
    def needs(self) -> str:
        """The miniature that is prepared before it, "" where there is none."""
        return self.composed_of or self.trained_on


def _id(tag: str, number: int) -> str:
    """Return a name as YouTube gives them, of eleven letters and digits."""
    return f"{tag}{number:0{11 - len(tag)}d}"


def _json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def _lines(path: Path, lines: Sequence[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _width_and_height(box: Box) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def _takes(split: str) -> range:
    """Return the takes of a split's films of each class: no two splits share one."""
    return {"train": range(TRAIN), "val": range(10, 10 + HELD), "test": range(20, 20 + HELD)}[split]


# MUSIC


def music(folder: Path) -> list[Any]:
    """Solos and duets in folders of their classes; DSOL's boxes, classes and lists."""
    number_of = {label: number for number, label in CATEGORIES.items()}
    classes: dict[str, dict[str, list[str]]] = {"solo": {}, "duet": {}}
    listed: dict[tuple[str, str], list[str]] = {}
    boxes: dict[str, dict[str, Any]] = {"solo": {}, "duet": {}}
    count = 0
    for kind, groups in (("solo", [(name,) for name in FOUR]), ("duet", list(combinations(FOUR, 2)))):
        for group in groups:
            for split in ("train", "val", "test"):
                for take in _takes(split)[: None if kind == "solo" else 2]:
                    count += 1
                    made, video = film(take, *group), _id("music", count)
                    made.write(folder / "videos" / kind / " ".join(group) / f"{video}.mp4")
                    classes[kind].setdefault(" ".join(group), []).append(video)
                    listed.setdefault((kind, split), []).append(f"{video}_0_1000.flac {video}_0_1000.mp4")
                    if split == "test":
                        boxes[kind][f"{video}_0_1000/frame_001/00037.jpg"] = {
                            "bbox": [
                                {"category_id": number_of[label], "box": [0, 0, 1, 1],
                                 "normbox": _width_and_height(box)}
                                for label, box in zip(group, made.boxes, strict=True)
                            ],
                            "wdith": SIDE, "height": SIDE,
                        }  # fmt: skip
    files = [
        _json(folder / "solotest.json", boxes["solo"]), _json(folder / "duettest.json", boxes["duet"]),
        *(_json(folder / f"MUSIC_{kind}_videos.json", {"version": 1.0, "videos": classes[kind]}) for kind in classes),
        _lines(folder / "solo_training_1.txt", listed["solo", "train"]),
        _lines(folder / "solo_validation.txt", listed["solo", "val"]),
        _lines(folder / "solo_testing.txt", listed["solo", "test"]),
        _lines(folder / "duet_pairs_train.txt", listed["duet", "train"]),
        _lines(folder / "duet_pairs_val.txt", listed["duet", "val"]),
    ]  # fmt: skip
    return ["--videos", folder / "videos", "--every", SECONDS, "--annotations", *files]


def nothing_more(_folder: Path) -> list[Any]:
    """What is composed of another prepared folder needs nothing but it."""
    return []


# VGGSound

VGG_HEARD = {
    "playing accordion": "accordion", "playing cello": "cello", "people coughing": "flute", "elk bugling": "trumpet",
}  # fmt: skip
VGG_UNHEARD = {
    "playing acoustic guitar": "acoustic_guitar", "female singing": "saxophone", "train horning": "tuba",
    "playing violin, fiddle": "violin",
}  # fmt: skip


def _vgg_names(classes: Mapping[str, str], tag: str) -> Iterator[tuple[str, str, str, int]]:
    """Yield a clip's name as VGGSound has it, its class, its split and the take that is filmed."""
    takes = [(label, split, take) for label in classes for split in ("train", "test") for take in _takes(split)]
    for count, (label, split, take) in enumerate(takes, start=1):
        yield f"{_id(tag, count)}_{30 + take:06d}", label, split, take


def _vgg_clips(folder: Path, classes: Mapping[str, str], tag: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Write clips; return the training clips' classes and VGG-SS's records, of one to three boxes, of the others."""
    train, records = {}, []
    for clip, label, split, take in _vgg_names(classes, tag):
        made = film(take, classes[label])
        made.write(folder / "videos" / f"{clip}.mp4")
        if split == "train":
            train[clip] = label
        else:
            records.append({"file": clip, "class": label, "bbox": _in_parts(made.boxes[0], 1 + len(records) % 3)})
    return train, records


def _in_parts(box: Box, count: int) -> list[list[float]]:
    """Return a box cut into ``count`` from top to bottom: some frames of VGG-SS have several boxes."""
    x0, y0, x1, y1 = box
    edges = np.linspace(y0, y1, count + 1).tolist()
    return [[x0, upper, x1, lower] for upper, lower in pairwise(edges)]


def _vggsound_csv(folder: Path, train: Mapping[str, str], records: Sequence[Mapping[str, Any]]) -> Path:
    classes = [(clip, label, "train") for clip, label in train.items()]
    classes += [(record["file"], record["class"], "test") for record in records]
    rows = [f'{clip[:11]},{int(clip[12:])},"{label}",{split}' for clip, label, split in classes]
    return _lines(folder / "vggsound.csv", rows)


def vggsound_single(folder: Path) -> list[Any]:
    """VGG-SS's boxes, VGGSound's classes, and EZ-VSL's list, which holds a test clip too."""
    train, records = _vgg_clips(folder, VGG_HEARD, "single")
    files = [
        _json(folder / "vggss.json", records), _vggsound_csv(folder, train, records),
        _lines(folder / "vggss_144k.txt", [*train, records[0]["file"]]),
    ]  # fmt: skip
    return ["--videos", folder / "videos", "--annotations", *files]


def vggsound_heard(folder: Path) -> list[Any]:
    """The same, with the lists of clips whose classes are, and are not, among the training clips'."""
    train, heard = _vgg_clips(folder, VGG_HEARD, "heard")
    _, unheard = _vgg_clips(folder, VGG_UNHEARD, "unheard")
    files = [
        _json(folder / "vggss.json", heard + unheard), _vggsound_csv(folder, train, heard + unheard),
        _lines(folder / "vggss_heard.txt", list(train)),
        _lines(folder / "vggss_heard_test.csv", [record["file"] for record in heard]),
        _lines(folder / "vggss_unheard_test.csv", [record["file"] for record in unheard]),
    ]  # fmt: skip
    return ["--videos", folder / "videos", "--annotations", *files]


def vggsound_music(folder: Path) -> list[Any]:
    """VGG-SS's boxes, the pairs that are separated, and DeepAVFusion's training list."""
    names = {f"playing {name.replace('_', ' ')}": name for name in (*FOUR, "acoustic_guitar")}
    train, records = _vgg_clips(folder, names, "vggmus")
    pairs = [(one["file"], two["file"]) for one, two in zip(records, records[HELD:] + records[:HELD], strict=True)]
    files = [
        _json(folder / "vggss.json", records),
        _lines(folder / "vggmusic_eval_ss.csv",
               ["source_1,source_2,class_1,class_2,sep_type", *(f"{one},{two},a,b,Easy" for one, two in pairs)]),
        _lines(folder / "vggmusic_train.txt",
               [f"{clip},{label.removeprefix('playing ').replace(' ', '_')}" for clip, label in train.items()]),
    ]  # fmt: skip
    return ["--videos", folder / "videos", "--annotations", *files]


def vggsound_instruments(folder: Path) -> list[Any]:
    """AVGN's lists, and test clips without a name of their own, with pickled masks."""
    names = (*FOUR, "violin")
    train, test, masks = [], [], folder / "masks"
    masks.mkdir()
    for label in names:
        for take in _takes("train"):
            clip = f"{_id('vggins', len(train))}_000030"
            film(take, label).write(folder / "videos" / f"{clip}.mp4")
            train.append(f"{clip},{label}")
        for take in _takes("test"):
            clip, made = f"sample{len(test):04d}", film(take, label)
            made.write(folder / "videos" / f"{clip}.mp4")
            (masks / f"{clip}.pkl").write_bytes(pickle.dumps((made.mask == 1).astype(np.uint8)))
            test.append(f"{clip},{label}")
    files = [_lines(folder / "vgginstruments_train.txt", train), _lines(folder / "vgginstruments_test.csv", test)]
    return ["--videos", folder / "videos", "--annotations", *files, masks]


def vggsound_duet(folder: Path) -> list[Any]:
    """AVGN's list of pairs, one of them of one class."""
    clips = [
        f"{clip},{label.replace(' ', '_')}"
        for clip, label, split, _ in _vgg_names(VGG_HEARD, "single")
        if split == "test"
    ]
    pairs = [f"{clip},{clips[(k + HELD) % len(clips)]}" for k, clip in enumerate(clips)]
    pairs[0] = f"{clips[0]},{clips[1]}"
    return ["--annotations", _lines(folder / "vggsound_duet_test.csv", pairs)]


# The others


def flickr_soundnet(folder: Path) -> list[Any]:
    """Three annotators' boxes in XML, the list of test clips, and a list to train on, which holds one of them."""
    (folder / "Annotations").mkdir()
    train, test = [], []
    for drawn in FOUR:
        for split, clips in (("train", train), ("test", test)):
            for take in _takes(split):
                clip = str(10_000_000_000 + 100 * FOUR.index(drawn) + take)
                made = film(take, drawn)
                made.write(folder / "videos" / f"{clip}.mp4")
                clips.append(clip)
                if split == "test":
                    _write_xml(folder / "Annotations" / f"{clip}.xml", made.boxes[0])
    files = [
        folder / "Annotations", _lines(folder / "flickr_test.csv", [f"{clip},7" for clip in test]),
        _lines(folder / "flickr_144k.txt", [*train, test[0]]),
    ]  # fmt: skip
    return ["--videos", folder / "videos", "--annotations", *files]


def _write_xml(path: Path, box: Box) -> None:
    """Write what three annotators drew on a picture of 256 pixels: one of them a little less than the others."""
    x0, y0, x1, y1 = (round(256 * corner) for corner in box)
    nodes = [
        f"<annotator{k}><bbox><id>{k}</id><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{lower}</ymax>"
        f"</bbox></annotator{k}>"
        for k, lower in enumerate((y1, y1, max(y0 + 1, y1 - 8)))
    ]
    path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{''.join(nodes)}</annotation>")


def voxceleb2(folder: Path) -> list[Any]:
    """Speakers' clips in Mix-and-Localize's lists, other speakers' as VoxCeleb2 is distributed, and faces' places."""
    lists: dict[str, list[str]] = {"test": [], "val": []}
    faces = ["clip,x0,y0,x1,y1"]
    speakers = 0
    for split in ("train", "val", "test"):
        for drawn in FOUR:
            speakers += 1
            speaker = f"id{speakers:05d}"
            for number, take in enumerate(_takes(split)):
                made, video = film(take, drawn), _id(f"v{speakers:02d}", number)
                if split == "train":
                    made.write(folder / "videos" / "dev" / speaker / video / "00001.mp4")
                    continue
                clip = f"{video}_1.520_4.520"
                made.write(folder / "videos" / speaker / f"{clip}.mp4")
                lists[split].append(f"./data/VoxCeleb/VoxCeleb2/{speaker}/{clip}")
                faces.append(",".join([clip, *map(str, made.boxes[0])]))
    files = [
        *(_lines(folder / f"voxceleb2_{split}.csv", lines) for split, lines in lists.items()),
        _lines(folder / "faces.csv", faces),
    ]
    return ["--videos", folder / "videos", "--annotations", *files]


def audioset_instrument(folder: Path) -> list[Any]:
    """DSOL's boxes of a second of each test clip, of one class or two; clips to train on in folders of classes."""
    drawn_as = {"accordion": "accordion", "cello": "cello", "flute": "flute", "horn": "trumpet"}
    numbers = {"cello": 1, "flute": 10, "accordion": 11, "horn": 12}
    boxes, count = {}, 0
    for label, drawn in drawn_as.items():
        for take in _takes("train"):
            count += 1
            film(take, drawn).write(folder / "videos" / label / f"{_id('audset', count)}.mp4")
    groups = [(label,) for label in drawn_as] + list(combinations(drawn_as, 2))
    for group in groups:
        for take in _takes("test"):
            count += 1
            made, video = film(take, *(drawn_as[label] for label in group)), _id("audset", count)
            made.write(folder / "videos" / f"{video}_30000_40000.mp4")
            boxes[f"{video}/1"] = {
                "bbox": [
                    {"category": numbers[label], "normbox": _width_and_height(box)}
                    for label, box in zip(group, made.boxes, strict=True)
                ]
            }
    files = [_json(folder / "audioset_box.json", boxes)]
    return ["--videos", folder / "videos", "--every", SECONDS, "--annotations", *files]


def kinetics400(folder: Path) -> list[Any]:
    """Clips in folders of splits and of classes."""
    names = ("playing accordion", "playing cello", "zumba", "yoga")
    for label, drawn in zip(names, FOUR, strict=True):
        for split in ("train", "val"):
            for take in _takes(split):
                name = f"{_id('kin', 100 * FOUR.index(drawn) + take)}_000010_000020.mp4"
                film(take, drawn).write(folder / "videos" / split / label / name)
    return ["--videos", folder / "videos"]


def own_folder(folder: Path) -> list[Any]:
    """A user's own videos, without boxes."""
    names = ("my band", "schöner Klang", "street", "Oma's choir")
    for label, drawn in zip(names, FOUR, strict=True):
        for split in ("train", "test"):
            for take in _takes(split):
                film(take, drawn).write(folder / "videos" / split / label / f"take {take}.mp4")
    return ["--videos", folder / "videos", "--every", SECONDS]


# What methods are judged on


def vggsound_extended(folder: Path) -> list[Any]:
    """VGG-SS's boxes, and SLAVC's pairs: each test clip's picture with the next class's sound."""
    _, records = _vgg_clips(folder, VGG_HEARD, "single")
    clips = [record["file"] for record in records]
    pairs = [f"{clip},{clips[(k + HELD) % len(clips)]},non-sounding" for k, clip in enumerate(clips)]
    files = [_json(folder / "vggss.json", records), _lines(folder / "vggss_test_plus_silent.csv", pairs)]
    return ["--videos", folder / "videos", "--annotations", *files]


def flickr_extended(folder: Path) -> list[Any]:
    """The annotators' boxes and the test list, and SLAVC's pairs of pictures and sounds of other clips."""
    *arguments, xml, test, _train = flickr_soundnet(folder)
    clips = [line.partition(",")[0] for line in test.read_text().split()]
    pairs = [f"{clip},{clips[k - HELD]},non-sounding" for k, clip in enumerate(clips)]
    return [*arguments, xml, test, _lines(folder / "flickr_test_plus_silent.csv", pairs)]


def is3(folder: Path) -> list[Any]:
    """Pictures of two things, twice each, with the sound of the one and of the other; boxes in pixels of 224."""
    records = []
    for number, (first, second) in enumerate(combinations(FOUR, 2)):
        made, name = film(number, first, second), f"{first}_{second}_{number}"
        for box, label in zip(made.boxes, (first, second), strict=True):
            paths = [folder / "IS3" / kind / f"{name}_{label}" for kind in ("visual_frames", "audio_wav")]
            image, audio = paths[0].with_suffix(".jpg"), paths[1].with_suffix(".wav")
            for path in (image, audio):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(made.frame).save(image, quality=95)
            sound(number, label, audio)
            records.append({"image": str(image), "audio": str(audio), "gt_box": [224 * corner for corner in box]})
    return ["--videos", folder / "IS3", "--annotations", _json(folder / "synthetic3240_bbox.json", records)]


def sound(take: int, label: str, path: Path, seconds: float = SECONDS) -> None:
    """Write a tune of one instrument."""
    tune = melody(label, np.random.default_rng([2026, take]), seconds, RATE)
    soundfile.write(path, (0.9 * tune / np.abs(tune).max()).astype(np.float32), RATE)


def avsbench_s4(folder: Path) -> list[Any]:
    """Frames, sounds and masks in folders of splits and classes, of training videos one mask, and their table."""
    rows = ["name,start,category,split"]
    names = {"playing_accordion": "accordion", "playing_cello": "cello", "female_singing": "flute", "race_car": "tuba"}
    kept = {"train": 2, "val": 1, "test": 1}  # videos of a class: of the last two, five clips each
    takes = [(label, split, take) for label in names for split, few in kept.items() for take in _takes(split)[:few]]
    for count, (label, split, take) in enumerate(takes):
        name, made = f"{_id('s4', count)}_0_5000", film(take, names[label])
        _second_by_second(folder / "s4_data", f"{split}/{label}", name, made, 1 if split == "train" else 5, take)
        rows.append(f"{name},0,{label},{split}")
    files = [_lines(folder / "s4_meta_data.csv", rows), folder / "s4_data" / "gt_masks"]
    return ["--videos", folder / "s4_data", "--annotations", *files]


def avsbench_ms3(folder: Path) -> list[Any]:
    """Frames and sounds of two instruments, and masks of both, the last of every video empty; and their table."""
    rows = ["video_id,split"]
    for count, (group, split) in enumerate(product(list(combinations(FOUR, 2))[:4], ("train", "val", "test"))):
        name, made = f"{_id('ms3', count)}", film(count, *group)
        _second_by_second(folder / "ms3_data", split, name, made, 4, count, several=True)
        empty = Image.fromarray(np.zeros((SIDE, SIDE), np.uint8))
        empty.save(folder / "ms3_data" / "gt_masks" / split / name / f"{name}_5.png")
        rows.append(f"{name},{split}")
    files = [_lines(folder / "ms3_meta_data.csv", rows), folder / "ms3_data" / "gt_masks"]
    return ["--videos", folder / "ms3_data", "--annotations", *files]


def _second_by_second(
    folder: Path, within: str, name: str, made: Film, masks: int, take: int, several: bool = False
) -> None:
    """Write a film as AVSBench's released code expects it: five frames, a sound, and the first so many masks."""
    frames = folder / "visual_frames" / (name if several else f"{within}/{name}")
    places, sounds = folder / "gt_masks" / within / name, folder / "audio_wav" / within
    for one in (frames, places, sounds):
        one.mkdir(parents=True, exist_ok=True)
    shown = Image.fromarray(made.frame)
    for number in range(1, 6):
        shown.save(frames / f"{name}{'.mp4' if several else ''}_{number}.png")
    for number in range(1, masks + 1):
        Image.fromarray((made.mask > 0).astype(np.uint8) * 255).save(places / f"{name}_{number}.png")
    sound(take, made.sounding[0], sounds / f"{name}.wav", 5)


MINIATURES: Mapping[str, Miniature] = MappingProxyType(
    {
        "music": Miniature("music", music),
        "music-synthetic": Miniature("music-synthetic", nothing_more, "music"),
        "vggsound-single": Miniature("vggsound-single", vggsound_single),
        "vggsound-heard": Miniature("vggsound-single", vggsound_heard),
        "vggsound-music": Miniature("vggsound-music", vggsound_music),
        "vggsound-instruments": Miniature("vggsound-instruments", vggsound_instruments),
        "vggsound-duet": Miniature("vggsound-duet", vggsound_duet, "vggsound-single"),
        "vggsound-extended": Miniature("vggsound-extended", vggsound_extended, trained_on="vggsound-single"),
        "flickr-soundnet": Miniature("flickr-soundnet", flickr_soundnet),
        "flickr-extended": Miniature("flickr-extended", flickr_extended, trained_on="flickr-soundnet"),
        "is3": Miniature("is3", is3, trained_on="vggsound-single"),
        "avsbench-s4": Miniature("avsbench-s4", avsbench_s4),
        "avsbench-ms3": Miniature("avsbench-ms3", avsbench_ms3),
        "voxceleb2": Miniature("voxceleb2", voxceleb2),
        "audioset-instrument": Miniature("audioset-instrument", audioset_instrument),
        "kinetics400": Miniature("kinetics400", kinetics400),
        "mine": Miniature("folder", own_folder),
    }
)
