"""HardPos against loops in float64: its neighbours, its four positives and what it leaves out of the negatives.

The networks that look and listen are replaced by tiny ones. 1e-9 is rounding: some hundred float64 operations on
numbers of size 1 to 20.
"""

import math
from dataclasses import replace

import pytest
import torch
from tiny_methods import CLASSES, TinySound, TinyTrunk, cosine, in_doubles, random_mixtures, tri_map_means

from avnb.data.clips import Batch
from avnb.models.baselines.hard_pos import HardPos, HardPosSettings, nearest, positives
from avnb.models.baselines.lvs import LVS, contrast
from avnb.networks import presets
from avnb.networks.losses import all_cosines
from avnb.training.fit import fit
from avnb.training.runs import Run

TOLERANCE = 1e-9
T = 0.07


@pytest.fixture
def build(monkeypatch):
    """A function that builds a small HardPos with the given settings."""
    monkeypatch.setattr(presets, "FrozenLite", TinyTrunk)
    monkeypatch.setattr(presets, "SlimSound", TinySound)

    def make(**options) -> HardPos:
        torch.manual_seed(3)
        options = {"above": 0.65, "below": 0.4, **options}  # the paper's
        return HardPos(HardPosSettings(preset="quick", device="cpu", **options).resolve("cpu"), CLASSES)

    return make


def random_batch(batch: int = 5) -> Batch:
    return random_mixtures(batch, 1, 32, 48)


def in_stage_two(method: HardPos, batch: Batch) -> tuple[HardPos, Batch]:
    method.begin_positives(list)
    return in_doubles(method, batch)


def plain_loss(cosines: list[list[list[float]]], looks: list[int], sounds: list[int]) -> float:
    """Our reading, pair by pair: four positives, and no negative that sounds like the clip."""
    total = 0.0
    for i, row in enumerate(cosines):
        pairs = [(i, i), (i, sounds[i]), (looks[i], i), (looks[i], sounds[i])]
        matched = sum(tri_map_means(cosines[picture][sound])[0] for picture, sound in pairs) / 4
        easy = [tri_map_means(values)[0] for j, values in enumerate(row) if j not in (i, sounds[i])]
        hard = tri_map_means(row[i])[2]
        total -= math.log(math.exp(matched / T) / sum(math.exp(score / T) for score in (matched, *easy, hard)))
    return total / len(cosines)


def test_the_second_stage_is_our_reading_written_as_loops(build):
    method, batch = in_stage_two(build(), random_batch())
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    pictures = [picture.flatten(1).T.tolist() for picture in visual]
    cosines = [[[cosine(v, a) for v in picture] for a in audio.tolist()] for picture in pictures]
    size = range(len(batch))
    # The teacher is the network as it is: its features are these.
    means = [[sum(column) / len(column) for column in zip(*picture, strict=True)] for picture in pictures]
    vectors = audio.tolist()
    looks, sounds = (
        [max((j for j in size if j != i), key=lambda j, i=i: cosine(of[i], of[j])) for i in size]
        for of in (means, vectors)
    )
    found = method.neighbours(batch)
    assert [found[0].tolist(), found[1].tolist()] == [looks, sounds]
    assert method.loss(batch)["total"].item() == pytest.approx(plain_loss(cosines, looks, sounds), abs=TOLERANCE)


def test_the_first_stage_is_lvs(build):
    method, batch = in_doubles(build(), random_batch())
    assert method.loss(batch)["total"].item() == LVS.loss(method, batch)["total"].item()


def test_a_clip_that_is_its_own_neighbour_has_the_positive_of_lvs():
    scores = torch.rand(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = torch.arange(4)
    torch.testing.assert_close(positives(scores, own, own), scores.diagonal())


def test_of_a_batch_that_holds_each_clip_twice_the_twin_is_the_neighbour_and_the_positive_is_that_of_lvs(build):
    method, half = build(), random_batch(3)
    twice = {name: torch.cat([getattr(half, name)] * 2) for name in ("frames", "mixture", "labels", "source_classes")}
    method, batch = in_stage_two(method, Batch(**twice))
    looks, sounds = method.neighbours(batch)
    twins = [3, 4, 5, 0, 1, 2]
    assert looks.tolist() == sounds.tolist() == twins
    audio, visual = method(batch.frames, batch.mixture, batch.features)
    scores, _, _ = method.scores(all_cosines(audio, visual))
    torch.testing.assert_close(positives(scores, looks, sounds), scores.diagonal())


def test_scores_that_are_all_the_same_count_the_candidates():
    same, own = torch.full((6, 6), 0.3), torch.arange(6)
    left_out = torch.nn.functional.one_hot(own.roll(1), 6).bool()
    loss = contrast(positives(same, own.roll(1), own.roll(1)), same, same[0], T, left_out)
    assert loss.item() == pytest.approx(math.log(6), abs=1e-6)  # itself, four others and its background


def test_labels_say_nothing(build):
    method, batch = in_stage_two(build(), random_batch())
    other = replace(batch, labels=torch.zeros_like(batch.labels), source_classes=batch.source_classes.flip(0))
    assert method.loss(batch)["total"].item() == method.loss(other)["total"].item()


def test_a_clip_alone_is_its_own_neighbour():
    assert nearest(torch.ones(1, 3)).tolist() == [0]


def test_the_teacher_is_the_network_of_stage_one_and_stays_as_it_is(build, tiny_store, tmp_path):
    method = build(epochs=2, positive_epochs=2, batch_size=8)
    history = fit(method, tiny_store, Run(tmp_path / "hard_pos" / "tiny" / "run"), progress=False)
    assert [row["stage"] for row in history] == ["lvs"] * 2 + ["hard positives"] * 2
    assert method.has_teacher
    pairs = zip(method.listen.parameters(), method.teacher["listen"].parameters(), strict=True)
    assert not any(torch.equal(*pair) for pair in pairs)
    assert not any(weight.requires_grad for weight in method.teacher.parameters())
    assert not method.train().teacher.training


def test_gradients_reach_every_trained_parameter_in_the_second_stage(build):
    method = build()
    method.begin_positives(list)
    method.train().loss(random_batch(6))["total"].backward()
    weights = {name: weight.grad for name, weight in method.named_parameters() if weight.requires_grad}
    assert [name for name, gradient in weights.items() if gradient is None or not gradient.any()] == []


def test_the_paper_preset_is_lvs_and_a_teacher_of_its_size():
    method = HardPos(HardPosSettings(preset="paper", pretrained=False).resolve("cpu"), CLASSES)
    trained = sum(weight.numel() for weight in method.parameters() if weight.requires_grad)
    assert trained == sum(weight.numel() for weight in method.teacher.parameters()) == 22_346_752
    assert (method.settings.epochs, method.settings.positive_epochs) == (50, 50)
