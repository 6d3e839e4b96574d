"""Method x benchmark -> rows: judged by doubles that see everything, nothing, or what they are told to."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import avnb.evaluation.chunks
import avnb.evaluation.localization
import avnb.evaluation.without_model
from avnb.data.clips import Batch
from avnb.data.mixing import make_batch
from avnb.data.store import Store
from avnb.errors import DataError, SettingsError
from avnb.evaluation.chunks import chunks
from avnb.evaluation.localization import evaluate, judge
from avnb.evaluation.rows import pick
from avnb.evaluation.trials import Trial, published_rule, trials_of
from avnb.metrics.localization import average_precision, piap, upsample
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.models.base import Method, Query
from avnb.training.runs import Run, find_runs

SETTINGS = AVGNSettings(preset="quick", dim=16, device="cpu").resolve("cpu")
SOLO = Trial("solo")
DUET = Trial("duet", 2, "side_by_side", "fraction_of_max(0.5)")
TRIALS = {
    "solo": SOLO,
    "duet": DUET,
    "one frame": Trial("duet", 2, "one_frame"),
    "trio": Trial("trio", 3, "side_by_side"),
}
every_trial = pytest.mark.parametrize("trial", TRIALS.values(), ids=TRIALS)
PROTOCOL = {"method", "benchmark", "subset", "sources", "geometry", "classes", "protocol", "threshold_rule", "clips",
            "origin"}  # fmt: skip


class Seer(Method):
    """Shows the truth of every class it is asked for (and nothing of a class that is not there).

    It recognizes what sounds, but for the classes in ``deaf_to``. ``batch`` is the one that evaluate has just made.
    """

    def __init__(self, deaf_to: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.settings, self.deaf_to = SETTINGS, list(deaf_to)
        self.trunk = nn.Identity()
        self.batch: Batch | None = None
        self.calls = 0

    def localize(self, query: Query) -> Tensor:
        self.calls += 1
        there = (query.classes[:, :, None] == self.batch.source_classes[:, None]).float()
        return torch.einsum("b n s, b s h w -> b n h w", there, self.batch.truth)

    def recognize(self, mixture: Tensor) -> Tensor:
        probabilities = 0.9 * self.batch.labels + 0.05
        probabilities[:, self.deaf_to] = 0
        return probabilities


class Guesser(Method):
    """Shows noise at a quarter of the size and knows no classes."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = SETTINGS
        self.trunk = nn.Identity()
        self.noise = torch.Generator().manual_seed(1)

    def localize(self, query: Query) -> Tensor:
        height, width = query.frames.shape[-2] // 4, query.frames.shape[-1] // 4
        return torch.rand(len(query.frames), query.sources, height, width, generator=self.noise)


@pytest.fixture
def seer(monkeypatch) -> Callable[..., Seer]:
    """A function that makes a Seer and shows it every batch with its truth, which no method is ever given."""

    def make(*deaf_to: int) -> Seer:
        method = Seer(deaf_to)

        def shown(*arguments: Any, **options: Any) -> Batch:
            method.batch = make_batch(*arguments, **options, truth=True)
            return method.batch

        monkeypatch.setattr(avnb.evaluation.localization, "make_batch", shown)
        return method

    return make


def judged(method: Method, store: Store, trial: Trial, **options: Any) -> dict[tuple[str, str], dict[str, Any]]:
    rows, _ = evaluate(method, store, trial, progress=False, **options)
    return {(row["method"], row["classes"]): row for row in rows}


def altered(store: Store, **arrays: np.ndarray) -> Store:
    """A copy of the store of which some arrays are others."""
    other = copy.copy(store)
    for name, array in arrays.items():
        setattr(other, name, array)
    return other


# ----------------------------------------------------------------------------------------------------------- the rows


@every_trial
def test_rows_say_the_whole_protocol(seer, tiny_store, trial):
    sure = {"Precision@0.5", "F1@0.5", "max-F1@0.5"}
    scores = {"solo": {"AP", "PIAP", "IoU@0.1", "IoU@0.3", "IoU@0.5", "AUC"} | sure}.get(
        trial.subset, {"CAP", "PIAP", "CIoU@0.1", "CIoU@0.3", "CIoU@0.5", "AUC", "IIoU", "IAUC"}
    )
    rows, _ = evaluate(seer(), tiny_store, trial, progress=False)
    assert [(row["method"], row["classes"]) for row in rows] == [
        ("avgn", "oracle"), ("avgn", "predicted"), ("centre", "none"), ("whole_image", "none"), ("random", "none"),
        ("oracle", "none"), *([("tile_centre", "none"), ("tile_each", "best_pairing")] if trial.tiles[1] > 1 else []),
    ]  # fmt: skip
    for row in rows:
        assert set(row) == PROTOCOL | scores | ({"trained"} if row["method"] == "avgn" else set())
        assert row["method"] != "avgn" or row["trained"] == f"{SETTINGS.epochs} epochs"
        assert {name: row[name] for name in ("benchmark", "subset", "sources", "geometry", "clips", "origin")} == {
            "benchmark": "tiny", "subset": trial.subset, "sources": trial.sources, "geometry": trial.geometry,
            "clips": 8, "origin": "real",
        }  # fmt: skip
        assert row["threshold_rule"] == trial.threshold_rule
        assert all(0 <= row[name] <= 100 for name in scores)


@every_trial
def test_method_that_shows_the_truth_reaches_the_oracle(seer, tiny_store, trial):
    rows = judged(seer(), tiny_store, trial)
    for name in {"AP", "CAP", "PIAP"} & set(rows["avgn", "oracle"]):
        assert rows["avgn", "oracle"][name] == rows["oracle", "none"][name] == 100


@every_trial
def test_rows_without_a_model_are_the_same_whatever_the_method(seer, tiny_store, trial):
    one, other = judged(seer(), tiny_store, trial), judged(Guesser(), tiny_store, trial)
    trivial = [key for key in one if key[0] != "avgn"]
    assert len(trivial) == (6 if trial.tiles[1] > 1 else 4)
    assert [one[key] for key in trivial] == [other[key] for key in trivial]


def test_rows_without_a_model_are_made_once_for_a_store_and_a_trial(tiny_store, monkeypatch):
    trial = replace(DUET, limit=2)
    first = judged(Guesser(), tiny_store, trial)
    monkeypatch.setattr(avnb.evaluation.without_model, "score", None)  # would be called, and is not
    again = judged(Guesser(), tiny_store, trial)
    assert all(again[key] == row for key, row in first.items())
    again["centre", "none"]["CAP"] = -1.0
    assert judged(Guesser(), tiny_store, trial)["centre", "none"] == first["centre", "none"]


def test_a_gpu_is_given_more_at_once_than_a_cpu():
    assert [part.stop for part in chunks(300, "cpu")][:2] == [12, 24]
    assert [part.stop for part in chunks(300, "cuda")] == [256, 300]
    assert [part.stop for part in chunks(0, "cpu")] == []


@pytest.mark.parametrize("trial", [SOLO, DUET], ids=["solo", "duet"])
def test_rows_are_what_a_plain_loop_computes(tiny_store, trial):
    from sklearn.metrics import average_precision_score

    rows, shown = evaluate(Guesser(), tiny_store, trial, progress=False)
    ap, overlap = [], []
    for maps, clips, classes in zip(shown["maps"], shown["mixtures"], shown["classes"], strict=True):
        size = (64, 64 * trial.sources)
        large = nn.functional.interpolate(maps[None], size=size, mode="bilinear")[0].numpy()
        for n in range(trial.sources):
            own = tiny_store.read_truth(clips[n : n + 1].numpy(), classes[None, n : n + 1].numpy())[0, 0].numpy() > 0
            truth = np.zeros(size, bool)
            truth[:, 64 * n : 64 * (n + 1)] = own
            ordered = np.sort(large[n].flatten())
            found = large[n] >= ordered[len(ordered) // 2] if trial is SOLO else large[n] > 0.5 * ordered[-1]
            ap.append(average_precision_score(truth.flatten(), large[n].flatten()))
            overlap.append((found & truth).sum() / (found | truth).sum())
    image_iou = np.reshape(overlap, (8, -1)).mean(axis=1)
    curve = [np.mean(image_iou >= at / 20) for at in range(21)]
    row, mean = rows[0], "AP" if trial is SOLO else "CAP"
    assert row[mean] == pytest.approx(100 * np.mean(ap), abs=0.006)  # rounded to two places
    rate = "IoU@0.1" if trial is SOLO else "CIoU@0.1"
    assert row[rate] == pytest.approx(100 * np.mean(image_iou >= 0.1), abs=0.006)
    assert row["AUC"] == pytest.approx(100 * sum(a + b for a, b in pairwise(curve)) / 40, abs=0.006)


def test_trained_or_not_a_method_is_judged_twice_alike_and_left_as_it_was(tiny_store):
    torch.manual_seed(0)
    method = AVGN(SETTINGS, 4)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert judged(method, tiny_store, DUET) == judged(method, tiny_store, DUET)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())


class Careful(Guesser):
    """Is as sure of each clip as its map is high, from -1 to 1."""

    MAP_RANGE = (-1.0, 1.0)
    CLASSES = ("none",)

    def localize(self, query: Query) -> Tensor:
        maps = super().localize(query)
        return maps * 2 * torch.rand(len(maps), 1, 1, 1, generator=self.noise) - 1


def test_precision_and_f1_of_one_source_are_what_a_plain_loop_counts(tiny_store, monkeypatch):
    """SLAVC's count: said where the top quarter's mean is over 0.5 of the range, right where the IoU is reached."""
    for module in (avnb.evaluation.localization, avnb.evaluation.without_model):
        monkeypatch.setattr(module, "headline_iou", lambda benchmark, subset: 0.1)
    rows, shown = evaluate(Careful(), tiny_store, SOLO, progress=False)
    truth = make_batch(tiny_store, shown["mixtures"].numpy(), SOLO.recipe, truth=True).truth[:, 0].numpy() > 0
    large = nn.functional.interpolate(shown["maps"], size=(64, 64), mode="bilinear")[:, 0].numpy()
    said, overlap = [], []
    for scores, place in zip(large, truth, strict=True):
        ordered = np.sort(scores.flatten())
        said.append((ordered[-len(ordered) // 4 :].mean() + 1) / 2)
        region = scores >= ordered[len(ordered) // 2]
        overlap.append((region & place).sum() / (region | place).sum())

    def f1(least: float) -> float:
        right = sum(how_sure >= least and iou >= 0.1 for how_sure, iou in zip(said, overlap, strict=True))
        wrong = sum(how_sure >= least and iou < 0.1 for how_sure, iou in zip(said, overlap, strict=True))
        unsaid = sum(how_sure < least for how_sure in said)
        precision = right / (right + wrong) if right + wrong else 1.0
        recall = right / (right + unsaid) if right + unsaid else 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    row = rows[0]
    assert 0 < sum(how_sure >= 0.5 for how_sure in said) < len(said)  # some are said, some are not
    assert row["Precision@0.1"] == pytest.approx(100 * np.mean([iou > 0.1 for iou in overlap]), abs=0.006)
    assert row["F1@0.1"] == pytest.approx(100 * f1(0.5), abs=0.006)
    assert row["max-F1@0.1"] == pytest.approx(
        100 * max(f1(least) for least in said), abs=0.006
    )  # 8 clips: each is tried
    assert row["PIAP"] == row["AP"]


def test_who_has_no_confidence_always_speaks(tiny_store):
    rows = judged(Guesser(), tiny_store, replace(SOLO, threshold_rule="fraction_of_max(0.5)"), classes="oracle")
    for row in rows.values():
        right = row["IoU@0.5"] / 100
        assert row["F1@0.5"] == row["max-F1@0.5"] == pytest.approx(100 * 2 * right / (1 + right), abs=0.02)


@pytest.mark.parametrize("trial", [DUET, TRIALS["trio"]], ids=["duet", "trio"])
def test_one_tile_each_beats_a_square_in_every_tile(tiny_store, trial):
    """Both rank a tile's own pixels alike; the square in every tile has the other tiles' among them."""
    rows = judged(Guesser(), tiny_store, trial, classes="oracle")
    assert rows["tile_centre", "none"]["CAP"] < rows["tile_each", "best_pairing"]["CAP"]


# ----------------------------------------------------------------------------------------- classes, asked and predicted


@every_trial
def test_perfect_recognizer_scores_predicted_what_it_scores_asked(seer, tiny_store, trial):
    rows = judged(seer(), tiny_store, trial)
    assert rows["avgn", "predicted"] == rows["avgn", "oracle"] | {"classes": "predicted"}


@every_trial
def test_class_that_is_not_named_scores_nothing(seer, tiny_store, trial):
    """The Seer does not hear the first class; its other maps are perfect."""
    _, shown = evaluate(seer(), tiny_store, trial, progress=False)
    named = (shown["classes"] != 0).double().mean().item()
    assert 0 < named < 1
    rows = judged(seer(0), tiny_store, trial)
    assert rows["avgn", "predicted"]["AP" if trial.sources == 1 else "CAP"] == pytest.approx(100 * named, abs=0.006)
    assert rows["avgn", "oracle"] == judged(seer(), tiny_store, trial)["avgn", "oracle"]


def test_piap_of_predicted_classes_judges_the_maps_of_these_classes(seer, tiny_store):
    """In place of the class it does not hear the Seer shows an empty map."""
    method = seer(0)
    rows, expected = judged(method, tiny_store, DUET), []
    for b in range(8):
        maps = method.batch.truth[b].clone()
        maps[method.batch.source_classes[b] == 0] = 0
        expected.append(piap(maps[None], method.batch.truth[b : b + 1]).item())
    assert rows["avgn", "predicted"]["PIAP"] == pytest.approx(100 * np.mean(expected), abs=0.006)
    assert rows["avgn", "predicted"]["PIAP"] < rows["avgn", "oracle"]["PIAP"]


def test_maps_are_made_once_where_the_predicted_classes_are_the_true_ones(seer, tiny_store):
    method = seer()
    evaluate(method, tiny_store, DUET, progress=False)
    assert method.calls == 1


def test_method_without_classes_has_no_predicted_row(tiny_store):
    assert ("avgn", "predicted") not in judged(Guesser(), tiny_store, DUET)


@pytest.mark.parametrize("how", ["oracle", "predicted"])
def test_one_way_to_choose_classes_may_be_named_alone(seer, tiny_store, how):
    rows = judged(seer(), tiny_store, SOLO, classes=how)
    assert [key for key in rows if key[0] == "avgn"] == [("avgn", how)]


def test_unknown_way_to_choose_classes_is_a_sentence(tiny_store):
    with pytest.raises(SettingsError, match='classes = "orcale": avgn can be judged with "oracle", "predicted"'):
        evaluate(Guesser(), tiny_store, SOLO, classes="orcale", progress=False)


class Nameless(Guesser):
    """Shows noise whose maps have no names."""

    CLASSES = ("best_pairing",)


def test_nameless_maps_are_paired_with_the_sources_that_suit_them_best(tiny_store):
    rows, shown = evaluate(Nameless(), tiny_store, DUET, progress=False)
    own = next(row for row in rows if row["method"] == "avgn")
    assert own["classes"] == "best_pairing"
    truth = make_batch(tiny_store, shown["mixtures"].numpy(), DUET.recipe, truth=True).truth
    maps = upsample(shown["maps"], truth.shape[-2:])
    straight, crossed = (
        average_precision(order.flatten(0, 1), truth.flatten(0, 1)).reshape(-1, 2).mean(1)
        for order in (maps, maps.flip(1))
    )
    assert (straight >= crossed - 1e-6).all()
    assert own["CAP"] == pytest.approx(100 * straight.mean().item(), abs=0.006)


# -------------------------------------------------------------------------------------------------------- the mixtures


@every_trial
def test_mixtures_are_the_same_every_time(tiny_store, trial):
    first = trial.mixtures(tiny_store)
    assert np.array_equal(first, trial.mixtures(tiny_store))
    assert set(np.unique(first)) <= set(tiny_store.select("test"))


def test_sources_of_a_mixture_are_of_different_classes(tiny_store):
    labels = tiny_store.labels[TRIALS["trio"].mixtures(tiny_store)]
    assert (labels.sum(axis=1) <= 1).all()
    assert (labels.sum(axis=(1, 2)) == 3).all()


@pytest.mark.parametrize(("limit", "clips"), [(1, 1), (3, 3), (8, 8), (100, 8)])
def test_limit_draws_so_many_clips_evenly(tiny_store, limit, clips):
    chosen = Trial("solo", limit=limit).mixtures(tiny_store)[:, 0]
    everything = tiny_store.select("test", "solo")
    assert len(set(chosen)) == clips
    assert chosen[0] == everything[0]
    assert clips == 1 or chosen[-1] == everything[-1]


@pytest.mark.parametrize("chunk", [1, 3, 8])
@pytest.mark.parametrize("trial", [SOLO, DUET], ids=["solo", "duet"])
def test_how_many_are_judged_at_once_does_not_matter(seer, tiny_store, monkeypatch, trial, chunk):
    rows, shown = evaluate(seer(2), tiny_store, trial, progress=False)
    monkeypatch.setattr(avnb.evaluation.chunks, "ON_CPU", chunk)
    for kept in ("_without_model", "_rankings"):
        monkeypatch.setattr(avnb.evaluation.without_model, kept, WeakKeyDictionary())
    again, shown_again = evaluate(seer(2), tiny_store, trial, progress=False)
    assert rows == again
    assert all(torch.equal(shown[name], shown_again[name]) for name in ("maps", "classes", "mixtures"))


def test_clips_without_ground_truth_are_not_judged_nor_mixed_in(tiny_store):
    """Two of the eight test solos lose their objects' places."""
    lost = tiny_store.select("test", "solo")[[0, 5]]
    objects = np.array(tiny_store.objects)
    for clip in lost:
        objects["sounding"][tiny_store.offsets[clip] : tiny_store.offsets[clip + 1]] = False
    store = altered(tiny_store, objects=objects)
    for trial in (SOLO, DUET):
        mixtures = trial.mixtures(store)
        assert len(mixtures) == 6
        assert not np.isin(mixtures, lost).any()


def test_clips_with_two_sounding_classes_are_not_mixed_in(tiny_store):
    labels = np.array(tiny_store.labels)
    odd = tiny_store.select("test", "solo")[2]
    labels[odd, :2] = True
    assert not np.isin(DUET.mixtures(altered(tiny_store, labels=labels)), odd).any()


def test_trial_without_clips_is_a_sentence(tiny_store):
    with pytest.raises(DataError, match='"tiny" has no test clips of 3 classes with a box or a mask for "duet"; it'):
        Trial("duet", 3, "one_frame").mixtures(tiny_store)


def test_heatmaps_know_their_clips_and_classes(seer, tiny_store):
    _, shown = evaluate(seer(), tiny_store, DUET, progress=False)
    assert {name: tuple(value.shape) for name, value in shown.items()} == {
        "maps": (8, 2, 64, 128), "classes": (8, 2), "mixtures": (8, 2),
    }  # fmt: skip
    heard = tiny_store.labels[shown["mixtures"].numpy()]
    assert np.array_equal(heard.argmax(axis=2), shown["classes"].numpy())


# -------------------------------------------------------------------------------------------------- other geometries


def test_frames_of_their_own_give_a_row_per_mixture(seer, tiny_store):
    trial = replace(DUET, geometry="separate")
    rows, shown = evaluate(seer(0), tiny_store, trial, progress=False)
    assert shown["maps"].shape == (8, 2, 64, 64)
    assert shown["classes"].shape == (8, 2)
    row = {(row["method"], row["classes"]): row for row in rows}
    assert row["avgn", "oracle"]["CAP"] == 100
    named = (shown["classes"] != 0).double().mean().item()
    assert row["avgn", "predicted"]["CAP"] == pytest.approx(100 * named, abs=0.006)
    assert "PIAP" not in row["avgn", "oracle"]  # the maps are of different pictures


def test_two_of_four_in_a_grid_are_judged(seer, tiny_store):
    trial = Trial("synthetic", 2, "grid")
    rows, shown = evaluate(seer(), tiny_store, trial, progress=False)
    assert shown["mixtures"].shape == (8, 4)
    assert shown["classes"].shape == (8, 2)
    assert rows[0]["CAP"] == rows[0]["PIAP"] == 100


# ----------------------------------------------------------------------------------------- which trials, which rules


def test_trials_are_what_the_test_clips_allow(tiny_store):
    assert trials_of(tiny_store, 5) == [
        Trial("solo", limit=5), Trial("duet", 2, "side_by_side", limit=5), Trial("trio", 3, "side_by_side", limit=5),
        Trial("duet", 2, "one_frame", limit=5),
    ]  # fmt: skip


def test_two_classes_make_no_trio(tiny_store):
    clips = np.array(tiny_store.clips)
    clips["split"][tiny_store.labels[:, 2:].any(axis=1)] = 0  # what has the last two classes is training
    store = altered(tiny_store, clips=clips)
    found = trials_of(store)
    assert [(trial.subset, trial.geometry) for trial in found if trial.geometry != "one_frame"] == [
        ("solo", "single"), ("duet", "side_by_side"),
    ]  # fmt: skip
    for trial in found:
        trial.mixtures(store)


def test_clips_without_places_are_asked_about_and_not_judged(seer, tiny_store):
    objects = np.array(tiny_store.objects)
    objects["sounding"] = False
    store = altered(tiny_store, objects=objects)
    found = trials_of(store)
    assert [(trial.key, trial.judged) for trial in found] == [(trial.key, False) for trial in trials_of(tiny_store)]
    rows, shown = evaluate(seer(), store, found[0], progress=False)
    assert rows == []
    assert shown["maps"].shape[:2] == (8, 1)


def test_threshold_rule_is_the_papers_where_it_names_one():
    assert published_rule("music", "duet", "dsol") == "fraction_of_max(0.2)"
    assert published_rule("music", "duet", "nobody") == "top_half"
    assert published_rule("my_own", "solo", "dsol") == "top_half"


# --------------------------------------------------------------------------------------------------- what a run keeps


def test_judging_writes_what_it_returns(seer, tiny_store, workspace):
    run, method = Run.of(SETTINGS, "tiny"), seer()
    rows = judge(method, tiny_store, run, [SOLO, DUET], progress=False)
    said = json.loads((run.folder / "metrics.json").read_text())
    assert said == {"origin": "real", "settings": SETTINGS.as_dict(), "rows": rows}
    assert [row["subset"] for row in rows] == ["solo"] * 7 + ["duet"] * 9
    assert [row["subset"] for row in rows if row["method"] == "named"] == ["solo", "duet"]  # the clips are real
    assert [found.folder for found in find_runs("avgn")] == [run.folder]
    maps = run.load_maps()
    classes, truth = maps["duet-side_by_side/classes"], method.batch.truth
    assert torch.equal(classes, method.batch.source_classes)
    assert average_precision(maps["duet-side_by_side/maps"].float().flatten(0, 1), truth.flatten(0, 1)).mean() == 1


def test_retrieval_is_written_beside_what_is_judged_where_papers_print_it(seer, tiny_store, workspace):
    method = seer()
    method.embed = lambda batch: {name: torch.rand(len(batch), 1, 4) for name in ("audio", "visual")}
    store = altered(tiny_store, name="vggsound-music", subsets=["duet", "test"])  # in the place of its solos
    trials = trials_of(store)
    rows = judge(method, store, run := Run.of(SETTINGS, "vggsound-music"), trials, progress=False)
    written = json.loads((run.folder / "metrics.json").read_text())["rows"]
    assert written[: len(rows)] == rows
    assert [(row["method"], row["subset"], row["gallery"]) for row in written[len(rows) :]] == [
        ("avgn", "test", 8), ("random", "test", 8),
    ]  # fmt: skip
    assert all("IR-Acc" in row for row in written[len(rows) :])


def test_what_training_leaves_stands_in_the_rows_of_single_sources_alone(seer, tiny_store):
    method = seer()
    method.learnt = lambda: {"NMI": 0.75}
    for trial, expected in ((SOLO, {0.75}), (DUET, {None})):
        rows, _ = evaluate(method, tiny_store, trial, progress=False)
        assert {row.get("NMI") for row in rows if row["method"] == "avgn"} == expected
        assert not any("NMI" in row for row in rows if row["method"] != "avgn")


def test_rows_are_picked_by_what_they_say(seer, tiny_store):
    rows, _ = evaluate(seer(), tiny_store, SOLO, progress=False)
    picked = pick(rows, method=("avgn", "oracle"), classes=("oracle", "none"))
    assert [(row["method"], row["classes"]) for row in picked] == [("avgn", "oracle"), ("oracle", "none")]
