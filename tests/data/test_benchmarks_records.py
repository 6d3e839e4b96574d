"""The records of the papers' benchmarks: complete, as the papers say, and in step with the lists that are published."""

import csv
import json
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from avnb import papers
from avnb.data.benchmarks import BENCHMARKS, Geometry, Protocol, benchmark, printed_as
from avnb.errors import SettingsError
from avnb.metrics.localization import threshold_rule

ANNOTATIONS = Path(__file__).parents[3] / "shared" / "annotations"
PROTOCOLS = [(record, protocol) for record in BENCHMARKS.values() for protocol in record.protocols]


def published_list(name: str) -> Path:
    if not (path := ANNOTATIONS / name).exists():
        pytest.skip(f"the published list shared/annotations/{name} is not here")
    return path


def column(name: str, index: int) -> list[str]:
    with open(published_list(name), newline="") as file:
        return [line[index] for line in csv.reader(file)]


def protocol(name: str, subset: str) -> Protocol:
    return benchmark(name).protocol(subset)


JUDGED_ON = {"vggsound-extended", "flickr-extended", "is3", "avsbench-s4", "avsbench-ms3"}  # in no table of the papers


def test_every_benchmark_that_the_papers_name_has_a_record():
    assert set(BENCHMARKS) - JUDGED_ON == {
        "music",
        "music-synthetic",
        "vggsound-instruments",
        "vggsound-music",
        "vggsound-single",
        "vggsound-duet",
        "flickr-soundnet",
        "voxceleb2",
        "audioset-instrument",
        "kinetics400",
    }
    assert {p.subset for p in benchmark("music").protocols} == {"solo", "duet", "synthetic"}
    assert {p.subset for p in benchmark("audioset-instrument").protocols} == {"solo", "multi"}


def test_unknown_name_is_a_sentence_that_names_the_nearest_and_all():
    with pytest.raises(
        SettingsError, match=r'No benchmark is called "vggsound-musik"\. Did you mean "vggsound-music"\?'
    ):
        benchmark("vggsound-musik")
    with pytest.raises(SettingsError, match=r"There are: music, .*, kinetics400\.$"):
        benchmark("imagenet")


def test_unknown_subset_is_a_sentence_that_names_the_subsets():
    with pytest.raises(
        SettingsError, match=r'MUSIC has no subset "duets"\. Did you mean "duet"\? It has: solo, duet, syn'
    ):
        benchmark("music").protocol("duets")
    with pytest.raises(SettingsError, match="The papers only train on it"):
        benchmark("kinetics400").protocol("test")


@pytest.mark.parametrize(
    ("name", "count"),
    [("music", 11), ("vggsound-instruments", 37), ("vggsound-music", 49), ("audioset-instrument", 13)],
)
def test_classes_are_as_many_as_published(name, count):
    assert len(benchmark(name).classes) == len(set(benchmark(name).classes)) == count


@pytest.mark.parametrize("name", ["music", "vggsound-instruments", "vggsound-music"])
def test_classes_are_in_alphabetical_order(name):
    assert list(benchmark(name).classes) == sorted(benchmark(name).classes)


def test_a_record_without_classes_says_why():
    assert all("class" in record.note for record in BENCHMARKS.values() if record.classes is None)


def test_music_classes_are_those_of_the_published_list():
    videos = json.loads(published_list("dsol/MUSIC_solo_videos.json").read_text())["videos"]
    assert tuple(sorted(name.replace(" ", "_") for name in videos)) == benchmark("music").classes


def test_vggsound_instruments_classes_are_those_of_the_training_list():
    assert tuple(sorted(set(column("avgn/vgginstruments_train.txt", 1)))) == benchmark("vggsound-instruments").classes


def test_vggsound_music_classes_are_those_of_the_training_list():
    assert tuple(sorted(set(column("vggsound_music/vggmusic_train.txt", 1)))) == benchmark("vggsound-music").classes


def test_every_test_class_of_vggsound_music_is_known():
    tested = column("vggsound_music/vggmusic_eval_ss.csv", 2)[1:]  # here with VGGSound's second names: "violin,_fiddle"
    assert {name.partition(",")[0] for name in tested} == set(benchmark("vggsound-music").classes)


@pytest.mark.parametrize(
    ("name", "subset", "listed"),
    [
        ("vggsound-instruments", "solo", "avgn/vgginstruments_test.csv"),
        ("vggsound-instruments", "duet", "avgn/vgginstruments_multi_test.csv"),
        ("vggsound-single", "test", "avgn/vggsound_single_test.csv"),
        ("vggsound-single", "heard", "lvs/vggss_heard_test.csv"),
        ("vggsound-single", "unheard", "lvs/vggss_unheard_test.csv"),
        ("vggsound-duet", "duet", "avgn/vggsound_duet_test.csv"),
        ("voxceleb2", "solo", "mix_and_localize/voxceleb2_test.csv"),
    ],
)
def test_test_size_is_the_length_of_the_published_list(name, subset, listed):
    assert protocol(name, subset).clips == len(column(listed, 0))


def test_flickr_list_lacks_one_of_the_250_images():
    assert protocol("flickr-soundnet", "test").clips == len(column("lvs/flickr_test.csv", 0)) + 1


def test_vggsound_music_tests_the_listed_pairs():
    pairs = column("vggsound_music/vggmusic_eval_ss.csv", 0)[1:]  # the first line is a header
    assert protocol("vggsound-music", "test").clips == len(pairs)


def test_dsol_duet_test_list_is_the_published_test_size():
    assert protocol("music", "duet").clips == len(set(column("dsol/duet_pairs_val.txt", 0)))


@pytest.mark.parametrize(
    ("name", "subset", "iou_at"),
    [  # AVGN, section 4.1 ("For the threshold of IoU"); Mix-and-Localize, Tables 1 and 2; DSOL, Tables 1 and 2
        ("music", "solo", 0.5),
        ("music", "duet", 0.3),
        ("music", "synthetic", 0.3),
        ("vggsound-instruments", "solo", 0.3),
        ("vggsound-instruments", "duet", 0.1),
        ("vggsound-single", "test", 0.5),
        ("vggsound-duet", "duet", 0.3),
        ("flickr-soundnet", "test", 0.5),
        ("voxceleb2", "solo", 0.3),
        ("voxceleb2", "duet", 0.1),
        ("audioset-instrument", "solo", 0.5),
        ("audioset-instrument", "multi", 0.3),
    ],
)
def test_iou_threshold_is_the_papers(name, subset, iou_at):
    assert protocol(name, subset).iou_at == iou_at


def test_dsol_cuts_solos_duets_and_synthetic_scenes_differently():
    rules = {p.subset: p.threshold_rules["dsol"] for p in benchmark("music").protocols}
    assert rules == {
        "solo": "fraction_of_max(0.1)",
        "duet": "fraction_of_max(0.2)",
        "synthetic": "fraction_of_max(0.5)",
    }


def test_mix_and_localize_cuts_at_the_same_height_everywhere():
    assert {p.threshold_rules["mix_and_localize"] for _, p in PROTOCOLS if "mix_and_localize" in p.threshold_rules} == {
        "min_max(0.4)"
    }


def test_geometry_is_the_papers():
    assert {f"{record.name} {p.subset}": p.geometry for record, p in PROTOCOLS if p.sources > 1} == {
        "music duet": "one_frame",
        "music synthetic": "grid",
        "music-synthetic synthetic": "grid",
        "vggsound-instruments duet": "side_by_side",
        "vggsound-single duet": "side_by_side",
        "vggsound-single trio": "side_by_side",
        "vggsound-duet duet": "side_by_side",
        "voxceleb2 duet": "side_by_side",
        "audioset-instrument multi": "one_frame",
        "is3 duet": "one_frame",
    }


@pytest.mark.parametrize(("record", "judged"), PROTOCOLS, ids=[f"{r.name}-{p.subset}" for r, p in PROTOCOLS])
def test_protocol_is_whole(record, judged):
    assert judged.geometry in get_args(Geometry)
    assert (judged.geometry == "single") == (judged.sources == 1)
    assert judged.truth in ("box", "mask", "consensus")
    assert judged.threshold_rules.keys() <= set(record.papers)
    assert all(threshold_rule(rule) for rule in judged.threshold_rules.values())


def test_every_paper_named_in_a_record_has_tables():
    assert {name for record in BENCHMARKS.values() for name in record.papers} == {
        paper.__name__.rpartition(".")[2] for paper in papers.PAPERS
    }


def test_headline_metric_of_a_protocol_is_a_column_of_its_tables():
    for record, judged in PROTOCOLS:
        if record.name in JUDGED_ON:
            assert judged.published_as == ()
            continue
        metric = f"{'IoU' if judged.sources == 1 else 'CIoU'}@{judged.iou_at:g}"
        rows = [r for t in papers.all_tables() for name in judged.published_as for r in t.benchmarks.get(name, ())]
        assert rows, judged.published_as
        stated = {m for r in rows for m in r.values if re.match(r"C?IoU@", m)}
        assert stated <= {metric}, judged.published_as


def test_every_published_number_stands_in_a_column_that_a_run_can_fill():
    """A column is a benchmark as a paper prints it and a metric; a protocol of some record has to have both."""
    columns = Counter(
        (table.source, label, metric)
        for table in papers.all_tables()
        for label, rows in table.benchmarks.items()
        for row in rows
        for metric, value in row.values.items()
        if value is not None
    )
    separated = {record.separated_as for record in BENCHMARKS.values()}
    empty = {
        (source, label, metric): numbers
        for (source, label, metric), numbers in columns.items()
        if not any(metric in judged.metrics for _, judged in printed_as(label))
        and not (metric in ("SDR", "SAR") and label in separated)
    }
    assert columns.total() == 815
    assert not empty, f"{sum(empty.values())} of {columns.total()} numbers"


def test_no_record_names_a_table_or_a_metric_that_no_paper_prints():
    printed = {
        (label, metric)
        for table in papers.all_tables()
        for label, rows in table.benchmarks.items()
        for row in rows
        for metric in row.values
    }
    for record, judged in PROTOCOLS:
        for metric in judged.also:
            assert any((label, metric) in printed for label in judged.published_as), (record.name, metric)
    assert all((record.separated_as, "SDR") in printed for record in BENCHMARKS.values() if record.separated_as)


def test_what_is_trained_elsewhere_names_a_benchmark_with_training_clips():
    named = {record.name: record.trained_on for record in BENCHMARKS.values() if record.trained_on}
    assert named == {"music-synthetic": "music", "vggsound-duet": "vggsound-single",
                     "vggsound-extended": "vggsound-single", "flickr-extended": "flickr-soundnet",
                     "is3": "vggsound-single"}  # fmt: skip
    assert not any(BENCHMARKS[name].trained_on for name in named.values())


def test_sound_is_stated_where_one_paper_uses_a_benchmark():
    for record in BENCHMARKS.values():
        if len(record.papers) == 1:
            assert record.rate, record.name
            assert record.seconds, record.name
