"""DSOL's equations against loops in float64, its clusters and their names, its two stages and what a resumed run keeps.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 10.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from tiny_methods import CLASSES, TinySound, TinyTrunk, dot, in_doubles, random_mixtures, sigmoid, softmax
from torch import Tensor, nn

from avnb.data.clips import Batch, Recipe
from avnb.errors import SettingsError
from avnb.models import dsol
from avnb.models.base import Query
from avnb.models.dsol import (
    CLASSIFY,
    DSOL,
    LOCALIZE,
    MATCH,
    DSOLSettings,
    divergence,
    name_clusters,
    with_neighbours,
)
from avnb.networks import presets
from avnb.training.fit import _cycle, fit
from avnb.training.runs import Run, load_weights
from avnb.viewing import plots

TOLERANCE = 1e-9
DIM = 6


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small DSOL with the given settings, in a stage, with a dictionary of its own."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(phase: int = LOCALIZE, classes: int = CLASSES, **options) -> DSOL:
        torch.manual_seed(3)
        method = DSOL(DSOLSettings(preset="quick", device="cpu", dim=DIM, **options).resolve("cpu"), classes)
        method.enter(phase)
        generator = torch.Generator().manual_seed(1)
        for network in (method, method.teacher):
            for name, bias in (("dictionary", 0.5), ("centres", 0.0)):
                entries = getattr(network, name)
                entries.copy_(torch.rand(entries.shape, generator=generator) + bias)
            generator.manual_seed(1)
            assigned = torch.arange(method.clusters) % classes
            network.named.copy_(nn.functional.one_hot(assigned, classes).T)
        return method

    return make


def random_batch(batch: int = 4, sources: int = 1, height: int = 32, width: int = 48) -> Batch:
    return random_mixtures(batch, sources, height, width)


# ------------------------------------------------------------------------------------- the equations, written as loops


def length(a: list[float]) -> float:
    return math.sqrt(dot(a, a))


def seen_and_areas(method: DSOL, batch: Batch) -> tuple[list, list]:
    """f(v) as [clip][position][channel], and the sounding area l of each clip, [clip][position] (eq. 1)."""
    heard, seen = method.hear(batch.mixture), method.see(batch.frames, batch.features)
    audio = method.project_audio(heard).tolist()
    visual = method.project_visual(seen).flatten(2).transpose(1, 2).tolist()
    areas = [
        [sigmoid(method.scale.item() * dot(a, p) / (length(a) * length(p))) for p in picture]
        for a, picture in zip(audio, visual, strict=True)
    ]
    return seen.flatten(2).transpose(1, 2).tolist(), areas


def plain_class_maps(method: DSOL, batch: Batch) -> list:
    """Eqs. 4 and 5: s as [clip][cluster][position]."""
    entries = method.dictionary.tolist()
    if method.settings.equal_entries:
        mean = sum(length(d) for d in entries) / len(entries)
        entries = [[mean * x / length(d) for x in d] for d in entries]
    seen, areas = seen_and_areas(method, batch)
    maps = [[[dot(d, position) for position in picture] for d in entries] for picture in seen]
    if method.settings.affine:
        w, b = method.map_scale.item(), method.map_shift.item()
        maps = [[[w * value + b for value in row] for row in picture] for picture in maps]
    if method.settings.product:
        maps = [
            [[m * loud for m, loud in zip(row, area, strict=True)] for row in picture]
            for picture, area in zip(maps, areas, strict=True)
        ]
    return maps


def plain_divergence(first: list[float], second: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(first, second, strict=True))


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.999])
def test_objects_are_eq_2_written_as_loops(build, threshold):
    method, batch = in_doubles(build(mask_threshold=threshold), random_batch())
    seen, areas = seen_and_areas(method, batch)
    found = method.find_objects(batch).tolist()
    for picture, area, row in zip(seen, areas, found, strict=True):
        mask = [loud > threshold or loud == max(area) for loud in area]
        for channel, value in enumerate(row):
            kept = [position[channel] for position, on in zip(picture, mask, strict=True) if on]
            assert value == pytest.approx(sum(kept) / len(picture), abs=TOLERANCE)


def test_every_object_has_a_position_where_nothing_passes_the_threshold(build):
    method, batch = in_doubles(build(mask_threshold=1.0), random_batch())
    assert (method.find_objects(batch).abs().sum(dim=1) > 0).all()


def test_dilation_switches_on_what_a_loop_switches_on():
    mask = torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0)) < 0.2
    expected = torch.zeros_like(mask)
    for clip, row, column in mask.nonzero().tolist():
        for down, across in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)):
            if 0 <= row + down < 5 and 0 <= column + across < 7:
                expected[clip, row + down, column + across] = True
    assert torch.equal(with_neighbours(mask), expected)


@pytest.mark.parametrize("normalise", [True, False])
def test_an_object_is_of_the_cluster_whose_centre_is_nearest(build, normalise):
    method, batch = in_doubles(build(normalise=normalise), random_batch())
    objects, centres = method.find_objects(batch).tolist(), method.centres.tolist()
    for row, label in zip(objects, method.assign(batch).tolist(), strict=True):
        point = [x / length(row) for x in row] if normalise else row
        distances = [sum((x - c) ** 2 for x, c in zip(point, centre, strict=True)) for centre in centres]
        assert label == distances.index(min(distances))


def test_classification_is_the_cross_entropy_of_both_networks_on_the_teachers_clusters(build):
    method, batch = in_doubles(build(CLASSIFY, audio_examples="solos"), random_batch())
    heard, seen = method.hear(batch.mixture).tolist(), method.see(batch.frames, batch.features)
    pictures = seen.flatten(2).mean(dim=2).tolist()
    labels = method.teacher.assign(batch).tolist()
    expected = {}
    for name, layer, vectors in (
        ("class_audio", method.audio_class, heard),
        ("class_visual", method.visual_class, pictures),
    ):
        weights, biases = layer.weight.tolist(), layer.bias.tolist()
        logits = [[dot(w, vector) + b for w, b in zip(weights, biases, strict=True)] for vector in vectors]
        losses = [-math.log(softmax(row)[label]) for row, label in zip(logits, labels, strict=True)]
        expected[name] = sum(losses) / len(losses)
    terms = method.loss(batch)
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, abs=TOLERANCE)
    assert terms["total"].item() == pytest.approx(sum(expected.values()), abs=TOLERANCE)


def test_sum_of_two_solos_is_half_of_each_ones_cluster(build):
    method, batch = in_doubles(build(CLASSIFY, audio_examples="mixed"), random_batch())
    size, labels, layer = len(batch), method.teacher.assign(batch).tolist(), method.audio_class
    losses = []
    for i in range(size):
        heard = method.hear((batch.mixture[i] + batch.mixture[i - 1])[None])[0].tolist()
        logits = [dot(w, heard) + b for w, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)]
        shares = softmax(logits)
        losses.append(-0.5 * math.log(shares[labels[i]]) - 0.5 * math.log(shares[labels[i - 1]]))
    terms = method.loss(batch)
    assert terms["class_crowd"].item() == pytest.approx(sum(losses) / size, abs=TOLERANCE)
    both = terms["class_audio"] + terms["class_visual"] + terms["class_crowd"]
    assert terms["total"].item() == pytest.approx(both.item(), abs=TOLERANCE)


@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("equal_entries", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_class_maps_are_eqs_4_and_5_written_as_loops(build, product, equal_entries, affine):
    method, batch = in_doubles(
        build(MATCH, product=product, equal_entries=equal_entries, affine=affine), random_batch()
    )
    if affine:
        method.map_scale.data.fill_(0.7)
        method.map_shift.data.fill_(-0.2)
    found = method.class_maps(method.hear(batch.mixture), method.see(batch.frames, batch.features)).flatten(2).tolist()
    for clip, expected in enumerate(plain_class_maps(method, batch)):
        for row, wanted in zip(found[clip], expected, strict=True):
            assert row == pytest.approx(wanted, abs=TOLERANCE)


@pytest.mark.parametrize("direction", ["printed", "released"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_stage_two_is_eqs_6_to_8_written_as_loops(build, direction, reduction, weight):
    options = {"kl_direction": direction, "kl_reduction": reduction, "localization_weight": weight}
    method, batch = in_doubles(build(MATCH, **options), random_batch(sources=2))
    teacher = method.teacher
    layer = teacher.audio_class
    losses = []
    for vector, maps in zip(teacher.hear(batch.mixture).tolist(), plain_class_maps(method, batch), strict=True):
        p_v = softmax([sum(row) / len(row) for row in maps])  # eq. 6
        logits = [dot(w, vector) + b for w, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)]
        p_a = softmax(logits)
        losses.append(plain_divergence(p_v, p_a) if direction == "printed" else plain_divergence(p_a, p_v))  # eq. 7
    expected = sum(losses) / len(losses) / (CLASSES if reduction == "mean" else 1)
    terms = method.loss(batch)
    assert terms["match"].item() == pytest.approx(expected, abs=TOLERANCE)
    if weight:
        method.enter(LOCALIZE)
        loc = method.loss(batch)["loc"].item()  # eq. 1, which test_ots writes as loops
        assert terms["loc"].item() == pytest.approx(loc, abs=TOLERANCE)
        expected += weight * loc
    assert terms["total"].item() == pytest.approx(expected, abs=TOLERANCE)


def test_quadrants_of_a_mismatched_scene_are_each_a_mismatch(build):
    method, batch = in_doubles(build(MATCH, quadrants=True, consistency=False), random_batch(3, 2, 64, 64))
    audio = method.project_audio(method.hear(batch.mixture)).tolist()
    pictures = method.project_visual(method.see(batch.frames, batch.features))  # 4 x 4 positions
    matched, mismatched = [], []
    for i, j in itertools.product(range(3), repeat=2):
        quarters = []
        for top, left in itertools.product((0, 2), repeat=2):
            cells = pictures[j, :, top : top + 2, left : left + 2].flatten(1).T.tolist()
            cosines = [dot(audio[i], cell) / (length(audio[i]) * length(cell)) for cell in cells]
            quarters.append(max(sigmoid(method.scale.item() * cosine) for cosine in cosines))
        if i == j:
            matched.append(-math.log(max(quarters)))
        else:
            mismatched += [-math.log(1 - value) for value in quarters]
    expected = (sum(matched) / len(matched) + sum(mismatched) / len(mismatched)) / 2
    assert method.loss(batch)["loc"].item() == pytest.approx(expected, abs=TOLERANCE)


def test_divergence_is_never_negative_and_0_for_what_is_equal():
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(6, 5, generator=generator).log_softmax(dim=1) for _ in range(2))
    for direction in ("printed", "released"):
        assert divergence(one, one, direction).item() == pytest.approx(0, abs=1e-6)
        assert divergence(one, other, direction) > 0


# ---------------------------------------------------------------------------------------------------------------- maps


@pytest.mark.parametrize("sources", [1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 64), (48, 40)])
def test_there_is_a_map_for_each_asked_class_in_every_stage_whatever_the_frame(build, sources, height, width):
    batch = random_batch(2, sources, height, width)
    for phase in (LOCALIZE, CLASSIFY, MATCH):
        method = build(phase).eval()
        maps = method.localize(Query(batch.frames, batch.mixture, batch.source_classes))
        assert maps.shape == (2, sources, *method.trunk(batch.frames).shape[2:])
        assert ((maps >= 0) & (maps <= 1)).all()


def test_shown_maps_are_a_softmax_over_the_clusters_summed_to_classes(build):
    method, batch = in_doubles(build(MATCH, clusters=7, softmax_scale=2.0), random_batch())
    every = method.localize(Query(batch.frames, batch.mixture, None, batch.features))
    asked = method.localize(Query.of(batch))
    for clip, maps in enumerate(plain_class_maps(method, batch)):
        for place in range(len(maps[0])):
            shares = softmax([2 * row[place] for row in maps])
            for label in range(CLASSES):
                wanted = sum(share for k, share in enumerate(shares) if k % CLASSES == label)
                assert every[clip, label].flatten()[place].item() == pytest.approx(wanted, abs=TOLERANCE)
        assert torch.equal(asked[clip, 0], every[clip, batch.source_classes[clip, 0]])


def test_class_without_a_cluster_is_nowhere(build):
    method, batch = build(MATCH, clusters=3).eval(), random_batch()
    every = method.localize(Query(batch.frames, batch.mixture))
    assert every.shape[1] == CLASSES
    assert not every[:, 3:].any()
    assert method.recognize(batch.mixture)[:, 3:].eq(0).all()


def test_recognized_shares_sum_to_one_and_stage_one_recognizes_nothing(build):
    batch = random_batch()
    assert build().eval().recognize(batch.mixture) is None
    shares = build(MATCH, clusters=8).eval().recognize(batch.mixture)
    assert shares.shape == (4, CLASSES)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(4))


def test_teacher_shows_stage_ones_one_map(build):
    method, batch = build(MATCH).eval(), random_batch(sources=2)
    maps = method.teacher.localize(Query(batch.frames, batch.mixture, batch.source_classes))
    assert method.teacher.CLASSES == ("none",)
    assert torch.equal(maps[:, 0], maps[:, 1])


def test_embeddings_have_a_row_a_clip(build):
    method = build(MATCH).eval()
    shapes = {name: tuple(value.shape) for name, value in method.embed(random_batch()).items()}
    assert shapes == {"audio": (4, 1, 7), "visual": (4, 1, 256), "image": (4, 1, 256)}


# ------------------------------------------------------------------------------------------------------------ clusters


def test_names_are_the_best_of_all_one_to_one_namings():
    generator = np.random.default_rng(0)
    labels, true = (torch.from_numpy(generator.integers(0, 4, 60)) for _ in range(2))
    named = name_clusters(labels, true, 4, 4)
    shares = np.array([[((true == c) & (labels == k)).sum() / (true == c).sum() for k in range(4)] for c in range(4)])
    best = max(sum(shares[c, order[c]] for c in range(4)) for order in itertools.permutations(range(4)))
    assert (named.sum(dim=0) == 1).all()
    assert (named.sum(dim=1) == 1).all()
    assert float((named.numpy() * shares).sum()) == pytest.approx(best)


def test_clusters_left_over_go_to_the_class_that_fills_them():
    true = torch.tensor([0] * 6 + [1] * 6)
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 1, 1, 1, 3, 3, 2])
    assert name_clusters(labels, true, 4, 2).tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_every_cluster_has_one_class_when_there_are_more_classes_than_clusters():
    true = torch.arange(12) % 6
    named = name_clusters(true % 3, true, 3, 6)
    assert (named.sum(dim=0) == 1).all()
    assert named.sum() == 3


def test_dictionary_is_the_mean_of_the_objects_of_each_cluster(build):
    method = build()
    objects = torch.rand(10, 256, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(10) % 3
    method.write_dictionary(objects, labels)
    for k in range(CLASSES):
        kept = [objects[i] for i in range(10) if labels[i] == k]
        expected = sum(kept) / len(kept) if kept else torch.zeros(256)
        torch.testing.assert_close(method.dictionary[k], expected)
    assert torch.equal(method.dictionary, method.teacher.dictionary)


def test_scenes_show_four_maps_beside_the_frame_with_their_values_on_the_objects():
    places = torch.zeros(2, 4, 8, 8)
    for k in range(4):
        places[:, k, 4 * (k // 2) : 4 * (k // 2) + 4, 4 * (k % 2) : 4 * (k % 2) + 4] = 1
    maps = 0.25 * torch.arange(1, 5).view(1, 4, 1, 1).expand(2, 4, 2, 2)
    figure = plots.show_scenes(torch.zeros(2, 3, 8, 8, dtype=torch.uint8), maps, places, [["a", "b", "c", "d"]] * 2)
    said = [text.get_text() for panel in figure.axes for text in panel.texts]
    assert len(figure.axes) == 10
    assert said == ["a   25", "b   50", "c   75", "d   100"] * 2


# ------------------------------------------------------------------------------------------------------------ training


def test_stages_alternate_and_end_with_matching(build):
    method = build(epochs=4, class_epochs=2, match_epochs=3)
    turns = [("localize", 2), ("classify", 2), ("localize", 1), ("classify", 2), ("localize", 1), ("classify", 2)]
    assert [(stage.name, stage.epochs) for stage in method.stages()] == [*turns, ("match", 3)]
    assert method.stages()[-1].recipes == (Recipe(2, "grid"),)
    assert method.stages()[-1].begin_with == (Recipe(),)


def test_learning_rate_of_stage_two_begins_anew(build):
    stages = build(epochs=3, class_epochs=2, match_epochs=4).stages()
    assert [stage.epochs for stage in stages] == [2, 2, 1, 2, 4]
    assert [_cycle(stages, number) for number in range(5)] == [(0, 7)] * 4 + [(7, 11)]


def test_without_alternation_the_same_epochs_come_in_one_turn_and_the_networks_are_left_alone(build):
    method = build(CLASSIFY, epochs=4, class_epochs=2, match_epochs=3, alternate=False).train()
    assert [(stage.name, stage.epochs) for stage in method.stages()] == [("localize", 4), ("classify", 6), ("match", 3)]
    method.loss(random_batch())["total"].backward()
    moved = {name.split(".")[0] for name, weight in method.named_parameters() if weight.grad is not None}
    assert moved == {"visual_class", "audio_class"}


def test_gradients_reach_every_trained_parameter_in_one_of_the_stages(build):
    method = build(affine=True).train()
    for phase in (LOCALIZE, CLASSIFY, MATCH):
        method.enter(phase)
        method.loss(random_batch(sources=1 if phase < MATCH else 2))["total"].backward()
    trained = [(name, weight) for name, weight in method.named_parameters() if weight.requires_grad]
    assert [name for name, weight in trained if weight.grad is None or not weight.grad.any()] == []
    assert not any(name.startswith(("teacher.", "trunk.")) for name, _ in trained)


def test_teacher_stays_in_evaluation_mode(build):
    assert not any(module.training for module in build().train().teacher.modules())


def test_stage_two_with_nothing_to_learn_ends_in_a_sentence():
    with pytest.raises(SettingsError, match="leave stage two nothing to learn"):
        DSOLSettings(consistency=False, localization_weight=0.0)


def train(build, tiny_store, folder, stop_in: int = 0, **options) -> tuple[DSOL, Run]:
    """Train on the tiny benchmark; Ctrl-C arrives in the second of the three batches of epoch ``stop_in``."""
    method = build(classes=4, epochs=3, class_epochs=2, match_epochs=2, batch_size=8, **options)
    run, loss, calls = Run(folder / "dsol" / "tiny" / "run"), method.loss, []

    def stopped(batch: Batch) -> dict[str, Tensor]:
        calls.append(method.training)
        if method.training and sum(calls) == 3 * (stop_in - 1) + 2:
            raise KeyboardInterrupt
        return loss(batch)

    method.loss = stopped
    fit(method, tiny_store, run, progress=False)
    return method, run


@pytest.mark.parametrize("epoch", [3, 4, 6, 8, 9])  # the first and a later epoch of classification and of matching
def test_resumed_run_ends_bit_equal_wherever_it_was_stopped(build, tiny_store, tmp_path, epoch):
    whole, run = train(build, tiny_store, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(build, tiny_store, tmp_path / "parts", stop_in=epoch)
    resumed, again = train(build, tiny_store, tmp_path / "parts")
    assert [row["stage"] for row in again.history] == [row["stage"] for row in run.history]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_training_goes_through_its_stages_and_keeps_the_last_epoch(build, tiny_store, tmp_path):
    method, run = train(build, tiny_store, tmp_path)
    assert [row["stage"] for row in run.history] == [
        "localize", "localize", "classify", "classify", "localize", "classify", "classify", "match", "match",
    ]  # fmt: skip
    assert run.best == len(run.history) - 1
    assert method.phase == MATCH
    assert method.clusterings == 2
    assert ((method.nmi > 0) & (method.nmi <= 1)).all()
    loaded = build(classes=4, epochs=3, class_epochs=2, match_epochs=2, batch_size=8)
    load_weights(loaded, run.folder / f"weights-{run.best:04d}.safetensors", "dsol")
    assert torch.equal(loaded.dictionary, method.dictionary)


def test_dictionary_of_stage_two_is_of_the_network_that_it_begins_with(build, tiny_store, tmp_path):
    method, _ = train(build, tiny_store, tmp_path)
    for name, value in method.teacher.state_dict().items():
        if name in ("dictionary", "centres", "named"):
            assert torch.equal(value, method.state_dict()[name])
    assert method.teacher.phase == LOCALIZE
    assert method.dictionary.any(dim=1).all()


@pytest.mark.parametrize("options", [
    {"consistency": False}, {"localization_weight": 0.0}, {"product": False}, {"alternate": False}, {"clusters": 6},
    {"clusters": 3}, {"quadrants": True, "dilate": True, "normalise": False, "affine": True}, {"scenes": "both"},
])  # fmt: skip
def test_every_row_of_the_ablations_trains(build, tiny_store, tmp_path, options):
    _, run = train(build, tiny_store, tmp_path, **options)
    assert all(math.isfinite(row["val_loss"]) for row in run.history)


def test_released_dsol_names_its_settings():
    released = DSOLSettings(
        preset="paper", kl_direction="released", dilate=True, affine=True, quadrants=True, softmax_scale=3.0,
        negatives="one", equal_entries=False,
    )  # fmt: skip
    assert released.resolve("cpu").localization_weight == 0.5


def test_lambda_of_0_and_of_the_paper_are_kept_when_they_are_asked_for():
    for preset, weight in (("quick", 0.0), ("quick", 0.5), ("paper", 0.0)):
        assert DSOLSettings(preset=preset, localization_weight=weight).resolve("cpu").localization_weight == weight


def test_paper_preset_has_the_papers_schedule():
    settings = DSOLSettings(preset="paper", pretrained=False).resolve("cpu")
    assert (settings.epochs, settings.class_epochs, settings.mask_threshold) == (15, 3, 0.05)
    assert (settings.localization_weight, settings.kl_direction, settings.softmax_scale) == (0.5, "printed", 1.0)
    assert dsol.SCENES[settings.scenes] == ("grid", "side_by_side")
