"""Every importer from small real videos and rows of the official annotations to a judged batch, in both its layouts.

In each picture a coloured square lies where the annotation says. The method that is judged looks for the colour: it
scores all but 100 where boxes and pixels agree, and next to nothing where they do not.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from films import BLUE, RED, film, number_in, picture, recording, still
from PIL import Image
from torch import Tensor, nn

from avnb.data.build import open_store
from avnb.data.mixing import make_batch
from avnb.data.store import ClipShape, Store
from avnb.evaluation.localization import evaluate
from avnb.evaluation.trials import Trial
from avnb.models.avgn import AVGNSettings
from avnb.models.base import Method, Query
from avnb.prepare import command as prepare
from avnb.prepare.cut import attempt

pytestmark = pytest.mark.smoke

LEFT, RIGHT = (0.125, 0.25, 0.5, 0.75), (0.625, 0.5, 0.875, 0.875)  # on multiples of 1/8: whole pixels everywhere
COLOURS = {
    "playing cello": RED, "elk bugling": BLUE, "people coughing": (40, 200, 60), "playing bass drum": (230, 220, 30),
}  # fmt: skip
VIDEOS = {"solo": "4Oy5VmaacaI", "duet": "HnUOaSfTA6c", "train": "2gk-IN35s5I"}
layouts = pytest.mark.parametrize("layout", ["videos", "frames"])


class Painter(Method):
    """Shows where the colour of a class is."""

    CLASSES = ("oracle",)

    def __init__(self, colours: dict[int, tuple[int, int, int]]) -> None:
        super().__init__()
        self.settings = AVGNSettings(preset="quick", dim=16, device="cpu").resolve("cpu")
        self.trunk, self.colours = nn.Identity(), colours

    def localize(self, query: Query) -> Tensor:
        asked = torch.tensor([[self.colours[k] for k in row] for row in query.classes.tolist()]).float()
        distance = (query.frames[:, None].float() - asked[..., None, None]).abs().amax(dim=2)
        return (distance < 60).float()  # JPEG and the codecs change colours a little


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do the jobs here, one after the other: worker processes have tests of their own."""

    def do_all(requests: Any, workers: int, scratch: Path, keep: Callable) -> None:
        for what, request in requests:
            keep(what, attempt(json.loads(json.dumps(request | {"scratch": str(scratch)}))))

    monkeypatch.setattr(prepare, "do_all", do_all)


@pytest.fixture
def run(workspace: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """Run ``avnb-prepare NAME --videos media --out data/NAME`` with more arguments; return what it printed."""

    def call(name: str, *arguments: Any) -> str:
        command = [name, "--videos", workspace / "media", "--out", workspace / "data" / name, *arguments]
        code = prepare.main([str(part) for part in command])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return call


def opened(workspace: Path, name: str) -> Store:
    return open_store(workspace / "data" / name, ClipShape(64, 8000, 1.0), progress=False)


def judged(store: Store, trial: Trial, colours: dict[str, tuple[int, int, int]]) -> dict[str, Any]:
    """Judge the painter on a trial, one batch long, and return its row."""
    painter = Painter({store.classes.index(label): colour for label, colour in colours.items()})
    rows, _ = evaluate(painter, store, trial, progress=False)
    return rows[0]


def rows_of(workspace: Path, name: str) -> dict[str, dict]:
    lines = (workspace / "data" / name / "metadata.jsonl").read_text().splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def write_lines(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def width_and_height(box: tuple) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


# MUSIC


def dsol(frames: dict[str, list[tuple[int, tuple]]]) -> dict:
    """Boxes as DSOL writes them: x, y, width, height."""
    return {
        key: {
            "bbox": [{"category_id": k, "box": [0, 0, 1, 1], "normbox": width_and_height(box)} for k, box in boxes],
            "wdith": 128,
            "height": 96,
        }
        for key, boxes in frames.items()
    }  # fmt: skip


@layouts
def test_music(workspace, run, layout):
    media, duet = workspace / "media", [(LEFT, RED), (RIGHT, BLUE)]
    numbers = (30, 37, 44)
    if layout == "videos":
        film(media / f"solo/cello/{VIDEOS['solo']}_0_1000.mp4", [(LEFT, RED)], 2, 29.97)
        film(media / f"duet/{VIDEOS['duet']}.webm", duet, 2, 25)
        film(media / f"solo/flute/{VIDEOS['train']}.mp4", (), 3, 30)
    else:  # AVGN's frames and sounds; DSOL's frames of the duet
        for number in numbers:
            still(media / f"frames/{VIDEOS['solo']}_001_{number:05d}.jpg", [(LEFT, RED)], number)
            still(media / f"duet/{VIDEOS['duet']}_0_1000/frame_001/{number:05d}.jpg", duet, number)
        for number in range(0, 90, 7):
            still(media / f"frames/{VIDEOS['train']}_{number // 30:03d}_{number:05d}.jpg", (), number)
        for kind, seconds in (("solo", 2), ("train", 3)):
            recording(media / f"audio/{VIDEOS[kind]}.wav", seconds)
        recording(media / f"duet/{VIDEOS['duet']}_0_1000.flac")
    solos = dsol({f"{VIDEOS['solo']}_0_1000/frame_001/{n:05d}.jpg": [(1, LEFT)] for n in numbers})
    solos[f"{VIDEOS['solo']}_0_1000/frame_001/00051.jpg"] = {"bbox": [], "wdith": 128, "height": 96}
    duets = dsol({f"{VIDEOS['duet']}_0_1000/frame_001/{n:05d}.jpg": [(1, LEFT), (3, RIGHT)] for n in numbers})
    files = [
        write_json(workspace / "solotest.json", solos), write_json(workspace / "duettest.json", duets),
        write_json(workspace / "MUSIC_solo_videos.json",
                   {"version": 1.0, "videos": {"cello": [VIDEOS["solo"]], "flute": [VIDEOS["train"], "gone_-gone_"]}}),
    ]  # fmt: skip
    report = run("music", "--annotations", *files, "--seconds", 1)
    assert "1 annotated frames have no box" in report
    assert "gone_-gone_" in report
    assert "train solo: 3" in report
    store = opened(workspace, "music")
    assert judged(store, Trial("solo"), {"cello": RED})["AP"] > 98
    row = judged(store, Trial("duet", 2, "one_frame"), {"cello": RED, "acoustic_guitar": BLUE})
    assert row["clips"] == 3
    assert row["CAP"] > 95
    assert rows_of(workspace, "music")[f"{VIDEOS['duet']}_001_00037"]["labels"] == ["cello", "acoustic_guitar"]


def test_music_of_mix_and_localize_has_a_sound_file_a_second(workspace, run):
    media = workspace / "media/solo/trumpet/nKc4srJBgYU"
    for frame in range(8):  # four a second
        still(media / f"frames/{frame:05d}.jpg", [(LEFT, RED)], frame)
    for second in range(2):
        recording(media / f"audio/audio_clips/{second:05d}.wav", 1)
    boxes = dsol({f"nKc4srJBgYU_0_1000/frame_{n // 30:03d}/{n:05d}.jpg": [(10, LEFT)] for n in (0, 7, 44)})
    run("music", "--annotations", write_json(workspace / "solotest.json", boxes), "--seconds", 0.5)
    rows = rows_of(workspace, "music")
    found = {k: number_in(np.asarray(Image.open(workspace / "data/music" / r["file_name"]))) for k, r in rows.items()}
    assert found == {"nKc4srJBgYU_000_00000": 0, "nKc4srJBgYU_000_00007": 1, "nKc4srJBgYU_001_00044": 6}
    assert {row["audio"] for row in rows.values()} == {f"audio/nKc4srJBgYU_{second:05d}.flac" for second in (0, 1)}
    assert judged(opened(workspace, "music"), Trial("solo"), {"trumpet": RED})["AP"] > 98


def test_avgn_copies_of_the_boxes_are_read_as_width_and_height_too(workspace, run):
    for kind in ("solo", "duet"):
        film(workspace / f"media/{VIDEOS[kind]}.mp4", [(LEFT, RED), (RIGHT, BLUE)], 2)
    solo = [{"file": f"{VIDEOS['solo']}_001_00030", "class": "cello", "bbox": width_and_height(LEFT)}]
    duet = [{
        "file": f"{VIDEOS['duet']}_001_{number:05d}", "class_src1": "cello", "bbox_src1": width_and_height(LEFT),
        "class_src2": "acoustic_guitar", "bbox_src2": width_and_height(RIGHT),
    } for number in (30, 37)]  # fmt: skip
    run(
        "music", "--annotations", write_json(workspace / "music_solo.json", solo),
        write_json(workspace / "music_duet.json", duet),
        write_lines(workspace / "music_duet_test.csv", f"{VIDEOS['duet']}_001_00030"),
    )  # fmt: skip
    store = opened(workspace, "music")
    assert judged(store, Trial("solo"), {"cello": RED})["AP"] > 98
    row = judged(store, Trial("duet", 2, "one_frame"), {"cello": RED, "acoustic_guitar": BLUE})
    assert row["clips"] == 1  # the frame that music_duet_test.csv lists
    assert row["CAP"] > 95


def test_lists_say_the_splits_of_music(workspace, run):
    for video in ("aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc", "ddddddddddd"):
        film(workspace / f"media/cello/{video}.mp4", (), 1)

    def line(video):
        return f"{video}_0_1000.flac {video}_0_1000.mp4"

    report = run(
        "music", "--annotations", write_lines(workspace / "solo_training_1.txt", line("a" * 11), line("b" * 11)),
        write_lines(workspace / "solo_validation.txt", line("ccccccccccc"), line("bbbbbbbbbbb")),
        write_lines(workspace / "solo_testing.txt", line("bbbbbbbbbbb")),
    )  # fmt: skip
    splits = {row["video"]: row["split"] for row in rows_of(workspace, "music").values()}
    assert splits == {"aaaaaaaaaaa": "train", "bbbbbbbbbbb": "test", "ccccccccccc": "val"}
    assert "ddddddddddd: in none of the split lists" in report


# VGGSound


def vgg_film(media: Path, clip: str, layout: str, squares: list, seconds: float = 2, suffix: str = ".mp4") -> None:
    if layout == "videos":
        film(media / f"{clip}{suffix}", squares, seconds)
    else:
        still(media / f"frames/{clip}.jpg", squares)
        recording(media / f"audio/{clip}.wav", seconds)


SINGLE = [
    {"file": "RgyqhpOJFM4_000030", "class": "playing cello", "bbox": [list(LEFT)]},
    {"file": "zpWuikVorYg_000032", "class": "elk bugling", "bbox": [list(RIGHT), [0.5, 0.3, -2.882e16, 0.9]]},
    {"file": "gEvCUcZ6w88_000030", "class": "female speech, woman speaking", "bbox": [[0.4, 0.6, -2.88e16, 0.9]]},
]  # fmt: skip


@layouts
def test_vggsound_single(workspace, run, layout):
    media = workspace / "media"
    vgg_film(media, "RgyqhpOJFM4_000030", layout, [(LEFT, RED)], suffix=".webm")
    vgg_film(media, "zpWuikVorYg_000032", layout, [(RIGHT, BLUE)])
    vgg_film(media, "gEvCUcZ6w88_000030", layout, [])
    vgg_film(media, "aaaaaaaaaaa_000007", layout, [])
    files = [
        write_json(workspace / "vggss.json", SINGLE),
        write_lines(workspace / "vggss_144k.txt", "RgyqhpOJFM4_000030", "aaaaaaaaaaa_000007", "bbbbbbbbbbb_000000"),
        write_lines(workspace / "vggsound.csv", 'aaaaaaaaaaa,7,"female speech, woman speaking",train'),
    ]
    report = run("vggsound-single", "--annotations", *files, "--seconds", 1)
    assert "1 of the 3 test clips are in the published training list; they are not trained on" in report
    assert "zpWuikVorYg_000032: box: corner outside the frame (x1 = -2.882e+16)" in report
    assert "gEvCUcZ6w88_000030: no box is left" in report
    assert "1 training clips have no class" in report
    store = opened(workspace, "vggsound-single")
    assert store.classes == ("elk bugling", "female speech, woman speaking", "playing cello")
    assert judged(store, Trial("test"), {"playing cello": RED, "elk bugling": BLUE})["AP"] > 95
    assert rows_of(workspace, "vggsound-single")["aaaaaaaaaaa_000007"]["labels"] == ["female speech, woman speaking"]


def test_leaked_test_clips_can_be_kept(workspace, run):
    vgg_film(workspace / "media", "RgyqhpOJFM4_000030", "videos", [(LEFT, RED)])
    files = [
        write_json(workspace / "vggss.json", SINGLE[:1]),
        write_lines(workspace / "vggss_144k.txt", "RgyqhpOJFM4_000030"),
    ]
    report = run("vggsound-single", "--annotations", *files, "--keep-leaked")
    assert "1 of the 1 test clips are in the published training list and are trained on" in report
    splits = {name: row["split"] for name, row in rows_of(workspace, "vggsound-single").items()}
    assert splits == {"RgyqhpOJFM4_000030": "test", "RgyqhpOJFM4_000030_train": "train"}


def test_whole_videos_are_cut_at_the_clip(workspace, run):
    film(workspace / "media/RgyqhpOJFM4.mp4", [(LEFT, RED)], 12)
    films = [{"file": "RgyqhpOJFM4_000003", "class": "playing cello", "bbox": [list(LEFT)]}]
    run("vggsound-single", "--annotations", write_json(workspace / "vggss.json", films))
    row = rows_of(workspace, "vggsound-single")["RgyqhpOJFM4_000003"]
    folder = workspace / "data/vggsound-single"
    assert number_in(np.asarray(Image.open(folder / row["file_name"]))) == (3 + 5) * 30
    samples, rate = soundfile.read(folder / row["audio"])
    assert len(samples) == 3 * rate
    loudness = np.abs(samples).max()  # the tone's loudness is a tenth of the second: 9.5 s at the end of the 3 s
    assert 0.92 < loudness < 0.98


@layouts
def test_vggsound_music(workspace, run, layout):
    media = workspace / "media"
    vgg_film(media, "RgyqhpOJFM4_000030", layout, [(LEFT, RED)])
    vgg_film(media, "aaaaaaaaaaa_000007", layout, [])
    files = [
        write_json(workspace / "vggss.json", SINGLE[:2]),
        write_lines(
            workspace / "vggmusic_eval_ss.csv", "source_1,source_2,class_1,class_2,sep_type",
            "RgyqhpOJFM4_000030,HU7oqkJeItQ_000000,cello,ukulele,Easy",
        ),
        write_lines(workspace / "vggmusic_train.txt", "aaaaaaaaaaa_000007,violin", "ccccccccccc_000000,harp"),
    ]  # fmt: skip
    report = run("vggsound-music", "--annotations", *files, "--seconds", 1)
    assert "test test: 1" in report
    assert "ccccccccccc_000000" in report
    store = opened(workspace, "vggsound-music")
    assert len(store.classes) == 49
    assert judged(store, Trial("test"), {"cello": RED})["AP"] > 95


@layouts
@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".png"])
def test_vggsound_instruments(workspace, run, layout, suffix):
    media, masks = workspace / "media", workspace / "masks"
    masks.mkdir()
    for name, box, colour in (("sample0000", LEFT, RED), ("sample0001", RIGHT, BLUE)):
        vgg_film(media, name, layout, [(box, colour)])
        mask = (np.abs(picture(0, [(box, (255, 0, 0))]).astype(int) - [255, 0, 0]).sum(axis=2) == 0).astype(np.uint8)
        if suffix == ".pkl":
            (masks / f"{name}.pkl").write_bytes(pickle.dumps(mask))
        elif suffix == ".npy":
            np.save(masks / f"{name}.npy", mask)
        else:
            Image.fromarray(mask * 255).save(masks / f"{name}.png")
    vgg_film(media, "--G-wKyj6JQ_000030", layout, [])
    files = [
        write_lines(
            workspace / "vgginstruments_test.csv", "sample0000,accordion", "sample0001,banjo", "sample0002,harp"
        ),
        write_lines(workspace / "vgginstruments_train.txt", "--G-wKyj6JQ_000030,harpsichord"),
        masks,
    ]
    report = run("vggsound-instruments", "--annotations", *files, "--seconds", 1)
    assert "mask of sample0002" in report
    store = opened(workspace, "vggsound-instruments")
    colours = {"accordion": RED, "banjo": BLUE}
    assert judged(store, Trial("solo"), colours)["AP"] > 95
    assert judged(store, Trial("duet", 2, "side_by_side"), colours)["CAP"] > 95


# The others


def flickr_xml(path: Path, boxes: list[list[int]]) -> Path:
    """Annotations as the data set has them: a node an annotator, and in each box a first child that says nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ("xmin", "ymin", "xmax", "ymax")
    corners = ["".join(f"<{n}>{v}</{n}>" for n, v in zip(names, box, strict=True)) for box in boxes]
    nodes = [f"<annotator{k}><bbox><id>{k}</id>{box}</bbox></annotator{k}>" for k, box in enumerate(corners)]
    path.write_text(f"<annotation><filename>{path.stem}.jpg</filename>{''.join(nodes)}</annotation>")
    return path


@layouts
def test_flickr_soundnet(workspace, run, layout):
    media = workspace / "media"
    box = [round(256 * corner) for corner in LEFT]
    for name, squares in (("10000130166", [(LEFT, RED)]), ("10007936344", ()), ("10008553263", ())):
        vgg_film(media, name, layout, squares)
    flickr_xml(workspace / "xml/10000130166.xml", [box, box, [*box[:3], 224]])
    files = [
        workspace / "xml",
        write_lines(workspace / "flickr_test.csv", "10000130166,20"),
        write_lines(workspace / "flickr_144k.txt", "10000130166", "10007936344", "10008553263"),
    ]
    report = run("flickr-soundnet", "--annotations", *files, "--seconds", 1)
    assert "1 of the 1 test clips are in the training list; they are not trained on" in report
    store = opened(workspace, "flickr-soundnet")
    assert store.count() == {("test", "test"): 1, ("train", "solo"): 2}
    truth = store.read_truth(store.select("test"), np.array([[0]]))[0, 0]
    assert truth[30, 20] == 1  # all three annotators
    assert truth[52, 20] == 0.5  # the third alone, who drew a taller box
    assert truth[60, 20] == 0
    trial = Trial("test", threshold_rule="fraction_of_max(0.5)")
    assert judged(store, trial, {"sounding object": RED})["IoU@0.5"] == 100  # 1 / 1.125: a quarter more at half weight
    if layout == "videos":
        frame = np.asarray(Image.open(workspace / "data/flickr-soundnet/frames/10000130166.jpg"))
        assert number_in(frame) == 20


@layouts
@pytest.mark.parametrize("truth", ["boxes", "masks"])
def test_voxceleb2(workspace, run, layout, truth):
    media, name = workspace / "media", "x9PPkJvjPz4_1.520_3.520"
    if layout == "videos":
        film(media / f"dev/id08801/{name}.mp4", [(LEFT, RED)], 2)
        film(media / "dev/id07554/3IYjs1y8vjQ/00001.mp4", (), 2)
    else:
        for k in range(3):
            still(media / f"id08801/{name}/frames/{k:05d}.jpg", [(LEFT, RED)], k)
        recording(media / f"id08801/{name}/audio.wav", 2)
        film(media / "id07554/3IYjs1y8vjQ/00001.mp4", (), 2)
    if truth == "boxes":
        places = write_lines(workspace / "faces.csv", "clip,x0,y0,x1,y1", f"{name}," + ",".join(map(str, LEFT)))
    else:
        places = workspace / "masks"
        places.mkdir()
        Image.fromarray((picture(0, [(LEFT, (255, 0, 0))])[..., 0] == 255).astype(np.uint8)).save(
            places / f"{name}.png"
        )
    lists = write_lines(workspace / "voxceleb2_test.csv", f"./data/VoxCeleb/VoxCeleb2/id08801/{name}")
    run("voxceleb2", "--annotations", lists, places, "--seconds", 1)
    store = opened(workspace, "voxceleb2")
    assert store.classes == ("id07554", "id08801")
    assert judged(store, Trial("solo"), {"id08801": RED})["AP"] > 95
    if layout == "frames":
        frame = workspace / f"data/voxceleb2/frames/{name}.jpg"
        assert number_in(np.asarray(Image.open(frame))) == 1  # the middle one


def test_voxceleb2_is_cut_from_whole_videos(workspace, run):
    film(workspace / "media/x9PPkJvjPz4.mp4", [(LEFT, RED)], 4)
    lists = write_lines(workspace / "voxceleb2_test.csv", "./data/id08801/x9PPkJvjPz4_1.500_2.500")
    report = run("voxceleb2", "--annotations", lists, "--seconds", 1)
    assert "1 test clips have no face place" in report
    frame = Image.open(workspace / "data/voxceleb2/frames/x9PPkJvjPz4_1.500_2.500.jpg")
    assert number_in(np.asarray(frame)) == 60


@layouts
def test_audioset_instrument(workspace, run, layout):
    media, squares = workspace / "media", [(LEFT, RED), (RIGHT, BLUE)]
    if layout == "videos":
        film(media / "--G-wKyj6JQ_30000_40000.mp4", squares, 3)
        film(media / "banjo/2gk-IN35s5I.mp4", (), 2)
    else:
        for second in range(3):
            still(media / f"frames/--G-wKyj6JQ/{second}.jpg", squares, 30 * second)
        recording(media / "audio/--G-wKyj6JQ.wav", 3)
        still(media / "frames/2gk-IN35s5I/0.jpg")
        recording(media / "audio/banjo/2gk-IN35s5I.wav", 2)
    boxes = {
        "--G-wKyj6JQ/0": {"bbox": [{"category": 1, "normbox": width_and_height(LEFT)}]},
        "--G-wKyj6JQ/1": {
            "bbox": [{"category": k, "normbox": width_and_height(b)} for k, b in ((1, LEFT), (3, RIGHT))]
        },
        "--G-wKyj6JQ/2": {"bbox": []},
    }
    report = run("audioset-instrument", "--annotations", write_json(workspace / "audioset_box.json", boxes))
    assert "1 annotated frames have no box" in report
    store = opened(workspace, "audioset-instrument")
    colours = {"cello": RED, "guitar": BLUE}
    assert judged(store, Trial("solo"), colours)["AP"] > 95
    assert judged(store, Trial("multi", 2, "one_frame"), colours)["CAP"] > 95
    assert ("train", "solo") in store.count()
    for second in (0, 1):
        frame = workspace / f"data/audioset-instrument/frames/--G-wKyj6JQ_00{second}.jpg"
        assert number_in(np.asarray(Image.open(frame))) == 30 * second


@layouts
def test_kinetics400(workspace, run, layout):
    media = workspace / "media"
    for name in ("train/playing cello/RgyqhpOJFM4_000010_000020", "val/zumba/HnUOaSfTA6c_000000_000010"):
        if layout == "videos":
            film(media / f"{name}.mp4", (), 2)
        else:
            still(media / f"frames/{name}.jpg")
            recording(media / f"audio/{name}.wav")
    run("kinetics400")
    store = opened(workspace, "kinetics400")
    assert store.count() == {("train", "solo"): 1, ("val", "solo"): 1}
    assert store.classes == ("playing cello", "zumba")
    batch = make_batch(store, store.select("train")[:, None], Trial("solo").recipe)
    assert Painter({0: RED}).localize(Query(batch.frames, batch.mixture, batch.source_classes)).shape == (1, 1, 64, 64)


def test_kinetics_classes_can_come_from_its_list(workspace, run):
    film(workspace / "media/RgyqhpOJFM4_000010_000020.mp4", (), 1)
    rows = (
        "label,youtube_id,time_start,time_end,split",
        "playing cello,RgyqhpOJFM4,10,20,validate",
        "zumba,gonegonegon,0,10,train",
    )
    report = run("kinetics400", "--annotations", write_lines(workspace / "val.csv", *rows))
    assert "val solo: 1" in report
    assert "gonegonegon_000000" in report


@layouts
def test_folder_of_ones_own(workspace, run, layout):
    media = workspace / "media"
    for label in ("my band", "schöner Klang"):
        for k in range(10):
            if layout == "videos":
                film(media / label / f"take {k}.mp4", (), 1)
            else:
                still(media / "frames" / label / f"take {k}.jpg")
                recording(media / "audio" / label / f"take {k}.wav", 1)
    run("folder", "--every", 0.5)
    store = opened(workspace, "folder")
    count = 2 if layout == "videos" else 1
    assert store.count() == {("test", "solo"): 2 * count, ("train", "solo"): 18 * count}
    assert store.classes == ("my band", "schöner Klang")
    batch = make_batch(store, store.select("test")[:, None], Trial("solo").recipe)
    assert batch.labels.sum(dim=0).tolist() == [count, count]


# What methods are judged on and not trained


def rows_under(store: Store, trial: Trial, colours: dict[str, tuple[int, int, int]]) -> dict[tuple[str, str], dict]:
    """Judge the painter; return the rows by method and protocol."""
    painter = Painter({store.classes.index(label): colour for label, colour in colours.items()})
    return {(row["method"], row["protocol"]): row for row in evaluate(painter, store, trial, progress=False)[0]}


@layouts
def test_vggsound_extended_says_of_whom_nothing_is_seen(workspace, run, layout):
    media = workspace / "media"
    vgg_film(media, "RgyqhpOJFM4_000030", layout, [(LEFT, RED)])
    vgg_film(media, "zpWuikVorYg_000032", layout, [(RIGHT, BLUE)])
    silent = write_lines(
        workspace / "vggss_test_plus_silent.csv",
        "zpWuikVorYg_000032,RgyqhpOJFM4_000030,non-sounding",
        "zpWuikVorYg_000032,aaaaaaaaaaa_000007,non-sounding",
        "gone________0_000030,RgyqhpOJFM4_000030,non-sounding",
    )
    report = run("vggsound-extended", "--annotations", write_json(workspace / "vggss.json", SINGLE), silent,
                 "--seconds", 1)  # fmt: skip
    assert "zpWuikVorYg_000032_with_aaaaaaaaaaa_000007: the class of its sound is not known" in report
    assert "gone________0_000030" in report
    store = opened(workspace, "vggsound-extended")
    assert store.count() == {("test", "test"): 2, ("test", "silent"): 1}
    pair = rows_of(workspace, "vggsound-extended")["zpWuikVorYg_000032_with_RgyqhpOJFM4_000030"]
    assert (pair["objects"], pair["labels"]) == ([], ["playing cello"])
    colours = {label: COLOURS[label] for label in ("playing cello", "elk bugling")}
    rows = rows_under(store, Trial("test", threshold_rule="min_max(0.5)"), colours)
    assert rows["avgn", "statements"]["LocAcc"] == 100
    assert rows["avgn", "statements"]["max-F1"] == 100  # nothing red where the cello is not seen: nothing is said
    assert rows["centre", "statements"]["max-F1"] < 100
    assert (rows["oracle", "statements"]["max-F1"], rows["oracle", "statements"]["clips"]) == (100, 3)


@layouts
def test_flickr_extended(workspace, run, layout):
    box = [round(256 * corner) for corner in LEFT]
    vgg_film(workspace / "media", "10000130166", layout, [(LEFT, RED)])
    vgg_film(workspace / "media", "10007936344", layout, ())
    flickr_xml(workspace / "xml/10000130166.xml", [box, box, box])
    files = [
        workspace / "xml", write_lines(workspace / "flickr_test.csv", "10000130166,20"),
        write_lines(workspace / "flickr_test_plus_silent.csv", "10007936344,10000130166,non-sounding",
                    "10000130166,99999999999,non-sounding"),
    ]  # fmt: skip
    assert "99999999999" in run("flickr-extended", "--annotations", *files, "--seconds", 1)
    store = opened(workspace, "flickr-extended")
    assert store.count() == {("test", "test"): 1, ("test", "silent"): 1}
    rows = rows_under(store, Trial("test", threshold_rule="min_max(0.5)"), {"sounding object": RED})
    assert (rows["avgn", "statements"]["LocAcc"], rows["avgn", "statements"]["max-F1"]) == (100, 100)


def test_is3_counts_a_picture_where_both_of_its_sounds_are_found(workspace, run):
    boxes = {"cat": (LEFT, RED), "bus": (RIGHT, BLUE)}
    records = []
    for picture_name, shown in (("cat_bus_1", ("cat", "bus")), ("cat_bus_2", ("cat",))):
        for label, (box, _) in boxes.items():
            name = f"{picture_name}_{label}"
            still(workspace / f"media/visual_frames/{name}.jpg", [boxes[one] for one in shown])
            recording(workspace / f"media/audio_wav/{name}.wav")
            records.append({"image": f"/set/visual_frames/{name}.jpg", "audio": f"/set/audio_wav/{name}.wav",
                            "gt_box": [224 * corner for corner in box]})  # fmt: skip
    records.append({"image": "a_1_cat.jpg", "audio": "a_1_cat.wav", "gt_box": [9, 9, 9, 20]})
    report = run("is3", "--annotations", write_json(workspace / "synthetic3240_bbox.json", records), "--seconds", 1)
    assert "a_1_cat: box: no width or no height" in report
    colours = {label: colour for label, (_, colour) in boxes.items()}
    rows = rows_under(opened(workspace, "is3"), Trial("test", threshold_rule="min_max(0.5)"), colours)
    row = rows["avgn", "frame-wise"]
    assert (row["IoU@0.5"], row["IIoU"]) == (75, 50)  # the bus of the second picture is not there to be seen
    assert rows["centre", "frame-wise"]["IIoU"] == 0
    assert rows["oracle", "frame-wise"]["IIoU"] == 100


def avsbench(workspace: Path, layout: str, table: str, head: str, line: str, folder: str, masked: dict) -> list[Path]:
    """Write a video of five seconds, its table, and masks of the frames that ``masked`` names with their boxes."""
    media, masks = workspace / "media", workspace / "gt_masks"
    squares = [(LEFT, RED)]
    if layout == "videos":
        film(media / f"raw_videos/{folder}clip.mp4", squares, 5)
    else:
        for number in range(1, 6):
            infix = ".mp4" if "video_id" in head else ""
            still(media / f"visual_frames/{folder}clip/clip{infix}_{number}.png", squares)
        recording(media / f"audio_wav/{folder}clip.wav", 5)
    masks.mkdir()
    for number, box in masked.items():
        mask = np.abs(picture(0, [(box, (255, 0, 0))] if box else ()).astype(int) - [255, 0, 0]).sum(axis=2) == 0
        Image.fromarray(mask.astype(np.uint8) * 255).save(masks / f"clip_{number}.png")
    return [write_lines(workspace / table, head, line), masks]


@layouts
def test_avsbench_s4_has_a_mask_a_second(workspace, run, layout):
    about = "s4_meta_data.csv", "name,start,category,split", "clip,0,playing_violin,test", "test/playing_violin/"
    files = avsbench(workspace, layout, *about, dict.fromkeys(range(1, 5), LEFT))
    report = run("avsbench-s4", "--annotations", *files, "--seconds", 1)
    assert "mask of clip_5" in report
    store = opened(workspace, "avsbench-s4")
    assert (store.count(), store.classes) == ({("test", "solo"): 4}, ("playing_violin",))
    assert judged(store, Trial("solo"), {"playing_violin": RED})["AP"] > 95
    if layout == "videos":
        frame = np.asarray(Image.open(workspace / "data/avsbench-s4/frames/clip_2.jpg"))
        assert number_in(frame) == pytest.approx(30 * (2 - 1 / 16), abs=1)


@layouts
def test_avsbench_ms3_frames_without_anything_that_sounds_are_silent(workspace, run, layout):
    about = "ms3_meta_data.csv", "video_id,split", "clip,test", ""
    files = avsbench(workspace, layout, *about, {1: LEFT, 2: None, 3: LEFT, 4: LEFT, 5: None})
    run("avsbench-ms3", "--annotations", *files, "--seconds", 1)
    store = opened(workspace, "avsbench-ms3")
    assert store.count() == {("test", "test"): 3, ("test", "silent"): 2}
    rows = rows_under(store, Trial("test", threshold_rule="min_max(0.5)"), {"sounding object": RED})
    assert rows["avgn", "frame-wise"]["IoU@0.5"] == 100
    assert rows["avgn", "statements"]["clips"] == 5


# Composed of prepared solos


def prepare_solos(workspace: Path, run: Callable[..., str]) -> None:
    boxes, clips = [LEFT, RIGHT], ["RgyqhpOJFM4", "zpWuikVorYg", "gEvCUcZ6w88", "JIemsK_0lXc"]
    classes = ["playing cello", "elk bugling", "people coughing", "playing bass drum"]
    records = []
    for k, (clip, label) in enumerate(zip(clips, classes, strict=True)):
        film(workspace / f"media/{clip}_000030.mp4", [(boxes[k % 2], COLOURS[label])], 2, pitch=300 + 100 * k)
        records.append({"file": f"{clip}_000030", "class": label, "bbox": [list(boxes[k % 2])]})
    run("vggsound-single", "--annotations", write_json(workspace / "vggss.json", records), "--seconds", 1)


@pytest.mark.parametrize("listed", [True, False])
def test_vggsound_duet(workspace, run, listed):
    prepare_solos(workspace, run)
    extra = []
    if listed:
        extra = ["--annotations", write_lines(
            workspace / "vggsound_duet_test.csv",
            "RgyqhpOJFM4_000030,playing_cello,zpWuikVorYg_000030,elk_bugling",
            "zpWuikVorYg_000030,elk_bugling,gEvCUcZ6w88_000030,people_coughing",
            "gEvCUcZ6w88_000030,people_coughing,gone________0_000030,harp",
        )]  # fmt: skip
    report = run("vggsound-duet", "--videos", workspace / "data/vggsound-single", *extra, "--seconds", 1)
    assert f"test duet: {2 if listed else 4}" in report
    assert ("gone________0_000030" in report) == listed
    store = opened(workspace, "vggsound-duet")
    assert judged(store, Trial("duet", 2, "one_frame"), COLOURS)["CAP"] > 90  # the store squeezes 448 pixels into 64
    frame = Image.open(workspace / "data/vggsound-duet/frames/RgyqhpOJFM4_000030.jpg")
    assert frame.size == (448, 224)


def test_music_synthetic(workspace, run):
    media, labels = workspace / "media", ["cello", "acoustic_guitar", "flute", "violin", "trumpet"]
    kinds, colours = [1, 3, 12, 11, 10], [*COLOURS.values(), (200, 60, 220)]
    boxes = {}
    for k, (label, colour) in enumerate(zip(labels, colours, strict=True)):
        video = f"{k}" * 11
        film(media / f"solo/{label}/{video}.mp4", [(LEFT if k % 2 else RIGHT, colour)], 2)
        boxes |= dsol({f"{video}_0_1000/frame_001/00030.jpg": [(kinds[k], LEFT if k % 2 else RIGHT)]})
    run("music", "--annotations", write_json(workspace / "solotest.json", boxes), "--seconds", 1)
    arguments = ("music-synthetic", "--videos", workspace / "data/music", "--seconds", 1, "--seed", 3)
    assert "test synthetic: 5" in run(*arguments)
    store = opened(workspace, "music-synthetic")
    assert judged(store, Trial("synthetic", 2, "one_frame"), dict(zip(labels, colours, strict=True)))["CAP"] > 90
    rows = rows_of(workspace, "music-synthetic")
    for row in rows.values():
        assert sum(thing["sounding"] for thing in row["objects"]) == 2
        assert len({thing["label"] for thing in row["objects"]}) == 4
    run(
        *arguments[:1],
        "--videos",
        workspace / "data/music",
        "--seconds",
        1,
        "--seed",
        3,
        "--out",
        workspace / "data/again",
    )
    assert rows == rows_of(workspace, "again")
