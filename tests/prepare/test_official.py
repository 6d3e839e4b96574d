"""The official annotation files give the counts that are known of them; skipped where the files are not at hand."""

from collections import Counter
from pathlib import Path

import pytest

from avnb.data.benchmarks import benchmark
from avnb.prepare.annotation_files import read_table
from avnb.prepare.datasets import _vggsound as vggsound
from avnb.prepare.datasets import (
    flickr_soundnet,
    music,
    vggsound_duet,
    vggsound_instruments,
    vggsound_music,
    vggsound_single,
    voxceleb2,
)
from avnb.prepare.plan import Job, Options, Plan

pytestmark = pytest.mark.smoke

OFFICIAL = Path(__file__).parents[3] / "shared" / "annotations"


def official(*names: str) -> list[Path]:
    for name in names:
        if not (OFFICIAL / name).exists():
            pytest.skip(f"the official file {name} is not in ../shared/annotations")
    return [OFFICIAL / name for name in names]


@pytest.fixture
def planned(tmp_path):
    """A function that plans a data set for a folder with only the named (empty) videos: its plan and its jobs."""

    def plan(module, files: list[Path], *videos: str, **options) -> tuple[Plan, list[Job]]:
        (tmp_path / "media").mkdir(exist_ok=True)
        for name in videos or ("nothing.mp4",):
            path = tmp_path / "media" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        made = Plan()
        return made, list(module.plan(Options(tmp_path / "media", tuple(files), **options), made))

    return plan


def test_dsol_boxes_of_solos():
    notes = music.read(official("dsol/solotest.json"))
    boxes = Counter(thing.label for things in notes.things.values() for thing in things)
    assert len(notes.things) == 12_356
    assert notes.empty == 1_116
    assert len({video for video, _ in notes.things}) == 27
    assert boxes == {"acoustic_guitar": 3695, "cello": 2312, "accordion": 2113, "saxophone": 1403, "trumpet": 1114,
                     "flute": 918, "violin": 801}  # fmt: skip
    assert notes.dropped == []
    areas = [(t.xyxy[2] - t.xyxy[0]) * (t.xyxy[3] - t.xyxy[1]) for things in notes.things.values() for t in things]
    assert sum(areas) / len(areas) == pytest.approx(0.33, abs=0.005)


def test_dsol_boxes_of_duets():
    notes = music.read(official("dsol/duettest.json"))
    sizes = Counter(len(things) for things in notes.things.values())
    boxes = Counter(thing.label for things in notes.things.values() for thing in things)
    assert sizes == {2: 4751, 1: 5533}
    assert notes.empty == 1_228
    assert len({video for video, _ in notes.things}) == 16
    assert boxes == {"acoustic_guitar": 7156, "flute": 2074, "saxophone": 1766, "cello": 1709, "violin": 1366,
                     "trumpet": 964}  # fmt: skip


def test_classes_and_lists_of_music():
    names = ("MUSIC_solo_videos.json", "MUSIC_duet_videos.json", "solo_training_1.txt", "solo_training_2.txt",
             "solo_validation.txt", "solo_testing.txt", "duet_pairs_train.txt", "duet_pairs_val.txt",
             "solo_pairs.txt")  # fmt: skip
    notes = music.read(official(*(f"dsol/{name}" for name in names)))
    assert Counter(notes.kinds.values()) == {"solo": 536, "duet": 149}
    solos = Counter(classes[0] for classes in notes.classes.values() if len(classes) == 1)
    assert solos == {"accordion": 60, "cello": 57, "acoustic_guitar": 56, "erhu": 53, "violin": 53, "tuba": 51,
                     "xylophone": 49, "flute": 48, "trumpet": 43, "clarinet": 41, "saxophone": 25}  # fmt: skip
    splits = Counter((notes.kinds[video], split) for video, split in notes.splits.items())
    assert splits == {("solo", "train"): 440, ("solo", "val"): 22, ("solo", "test"): 27, ("duet", "train"): 124,
                      ("duet", "val"): 17}  # fmt: skip


def test_a_whole_plan_of_music(planned):
    files = official("dsol/solotest.json", "dsol/duettest.json", "dsol/MUSIC_solo_videos.json", "dsol/solo_testing.txt")
    plan, jobs = planned(music, files, "4Oy5VmaacaI_0_1000.mp4", "HnUOaSfTA6c.webm")
    cuts = {job.id: len(job.cuts) for job in jobs}
    assert cuts == {"4Oy5VmaacaI": 597, "HnUOaSfTA6c": 1044}  # of 600 and 1,116 frames, those with a box
    assert len(plan.missing) == 536 - 1 + 15
    assert all(cut.labels == ("cello",) for job in jobs if job.id == "4Oy5VmaacaI" for cut in job.cuts)


def test_avgn_copies_are_dsol_boxes():
    """Every box of AVGN's copies is one of DSOL's, read as x, y, width, height."""
    copies = music.read(official("avgn/music_solo.json", "avgn/music_duet.json"))
    boxes = music.read(official("dsol/solotest.json", "dsol/duettest.json"))
    kinds = Counter(copies.kinds[video] for video, _ in copies.things)
    assert kinds == {"solo": 2124, "duet": 1020}
    for frame, things in copies.things.items():
        assert set(things) <= set(boxes.things[frame])
    assert sum(len(things) for things in copies.things.values()) == 2124 + 2040


def test_avgn_frame_lists_name_the_copies_frames():
    lists = official("avgn/music_solo_test.csv", "avgn/music_duet_test.csv")
    notes = music.read([*official("avgn/music_solo.json", "avgn/music_duet.json"), *lists])
    assert {kind: len(frames) for kind, frames in notes.chosen.items()} == {"solo": 2124, "duet": 1020}
    assert len(notes.things) == 2124 + 1020


def test_lists_of_mix_and_localize():
    names = ("music_solo_train.csv", "music_solo_val.csv", "music_solo_test.csv")
    notes = music.read(official(*(f"mix_and_localize/{name}" for name in names)))
    assert Counter(notes.splits.values()) == {"train": 404, "val": 18, "test": 24}
    assert set(notes.classes) == set(notes.splits)


def test_vggss():
    lists = vggsound.read(official("lvs/vggss.json"))
    assert len(lists.boxes) == 5158
    assert len(set(lists.classes.values())) == 221
    assert len(lists.dropped) == 18
    assert sum(len(things) for things in lists.boxes.values()) == 5941 - 18
    assert {clip for clip, things in lists.boxes.items() if not things} == {"M1P1xla8rg0_000000", "MKC9LvRivTM_000030"}


def test_heard_and_unheard_clips_of_vggss(planned):
    files = official("lvs/vggss.json", "lvs/vggss_heard_test.csv", "lvs/vggss_unheard_test.csv", "lvs/vggss_test.csv")
    lists = vggsound.read(files)
    assert Counter(lists.subsets.values()) == {"heard": 2564, "unheard": 2575}
    assert len(lists.test) == 5158
    plan, jobs = planned(vggsound_single, files, "zpWuikVorYg_32.mp4", "RgyqhpOJFM4_30000_40000.mkv")
    assert {job.id: job.cuts[0].subset for job in jobs} == {
        "zpWuikVorYg_000032": "heard", "RgyqhpOJFM4_000030": "unheard",
    }  # fmt: skip
    assert len(plan.classes) == 221


def test_the_list_of_110_heard_classes_holds_no_test_clip(planned):
    files = official("lvs/vggss.json", "lvs/vggss_heard.txt")
    assert len(vggsound.read(files).train) == 59_468
    plan, _ = planned(vggsound_single, files)
    assert not any("published training list" in remark for remark in plan.remarks)
    assert "59,468 training clips have no class and are left out: add vggsound.csv" in plan.remarks


def test_a_leaking_list_is_counted(planned, tmp_path):
    """vggss_144k.txt, which holds 3,709 of the test clips, is not here: a list with as many of them stands for it."""
    boxes = official("lvs/vggss.json")
    clips = sorted(vggsound.read(boxes).boxes)[:3709]
    (tmp_path / "vggss_144k.txt").write_text("\n".join([*clips, "aaaaaaaaaaa_000000"]))
    plan, _ = planned(vggsound_single, [*boxes, tmp_path / "vggss_144k.txt"])
    assert any("3,709 of the 5,158 test clips are in the published training list" in remark for remark in plan.remarks)


def test_vggsound_music(planned):
    files = official("lvs/vggss.json", "vggsound_music/vggmusic_eval_ss.csv", "vggsound_music/vggmusic_train.txt")
    plan, _ = planned(vggsound_music, files)
    assert len(plan.missing) == 1199 + 38_704
    unjudged = sorted(clip for clip, why in plan.dropped if "no box is left" in why)
    assert unjudged == ["M1P1xla8rg0_000000", "MKC9LvRivTM_000030"]  # the other two of the 1,201
    from_boxes, _ = planned(vggsound_music, files[:1])  # the test set can be told from the boxes alone
    assert set(from_boxes.missing) <= set(plan.missing)
    assert len(from_boxes.missing) == 1199
    labels = {vggsound.instrument(label) for label in vggsound.read(files[2:]).train.values()}
    assert labels == set(benchmark("vggsound-music").classes)


def test_vggsound_instruments(planned):
    files = official(
        "avgn/vgginstruments_train.txt", "avgn/vgginstruments_test.csv", "avgn/vgginstruments_multi_test.csv"
    )
    lists = vggsound.read(files)
    assert (len(lists.train), len(lists.test)) == (33_934, 446)
    assert set(lists.train.values()) == set(benchmark("vggsound-instruments").classes)
    assert set(lists.train.values()) - set(lists.test.values()) == {"erhu"}
    plan, _ = planned(vggsound_instruments, files)
    assert len(plan.missing) == 33_934 + 446
    assert "whether test clips are in the training list cannot be checked: their names are hidden" in plan.remarks


def test_vggsound_lists_of_avgn_spell_the_classes_of_vggss():
    boxes, single = official("lvs/vggss.json", "avgn/vggsound_single_test.csv")
    classes = vggsound.read([boxes]).classes
    rows = read_table(single)
    assert len(rows) == 5158
    assert all(vggsound.underscored(classes[clip]) == label for clip, label in rows)


def test_pairs_of_vggsound_duet():
    pairs = vggsound_duet.read(Options(Path(), tuple(official("avgn/vggsound_duet_test.csv"))))
    assert len(pairs) == 5158
    assert len({second for _, second in pairs}) == 3255
    classes = vggsound.read(official("lvs/vggss.json")).classes
    assert sum(classes[first] == classes[second] for first, second in pairs) == 22


def test_flickr(planned):
    plan, _ = planned(flickr_soundnet, official("lvs/flickr_test.csv"), "10000130166.mp4")
    assert len(plan.missing) == 249  # without their XML files, which are not here
    assert all(name.endswith(".xml") for name in plan.missing)


def test_voxceleb2(planned):
    files = official("mix_and_localize/voxceleb2_test.csv")
    plan, jobs = planned(voxceleb2, files, "id08801/x9PPkJvjPz4_1000.520_1005.620.mp4", "3IYjs1y8vjQ.mp4")
    assert len(plan.missing) + len(jobs) == 1000
    assert {job.id: job.cuts[0].time for job in jobs} == {
        "x9PPkJvjPz4_1000.520_1005.620": None, "3IYjs1y8vjQ_74.920_80.020": pytest.approx(77.47),
    }  # fmt: skip
    assert "1,000 test clips have no face place: add faces.csv or masks of your detector" in plan.remarks
