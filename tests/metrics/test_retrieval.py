"""IR-Acc, xNN-Acc and wNN-Acc against loops over all pairs."""

import math

import pytest
import torch

import avnb.metrics.retrieval as module
from avnb.errors import DataError
from avnb.metrics.retrieval import chance, class_accuracy, instance_accuracy, nearest, retrieval


@pytest.fixture
def clips():
    """Thirty clips of four classes from twelve videos, whose sounds and pictures are loosely alike."""
    generator = torch.Generator().manual_seed(5)
    classes = torch.randint(4, (30,), generator=generator)
    videos = torch.arange(30) % 12
    centre = torch.randn(4, 6, generator=generator, dtype=torch.float64)[classes]
    audio, visual = (centre + torch.randn(30, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    return audio, visual, classes, videos


def plain_neighbour(query, gallery, allowed):
    def cosine(a, b):
        a, b = a.tolist(), b.tolist()
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    return max((k for k in range(len(gallery)) if allowed(k)), key=lambda k: cosine(query, gallery[k]), default=-1)


def plain_class_accuracy(queries, gallery, classes, allowed):
    hits = [
        int(classes[plain_neighbour(queries[i], gallery, lambda k, i=i: allowed(i, k))] == classes[i])
        for i in range(len(queries))
    ]
    return 100 * sum(hits) / len(hits)


def test_every_number_is_what_a_loop_over_all_pairs_finds(clips):
    audio, visual, classes, videos = clips
    found = retrieval(*clips)

    def instance(queries, gallery):
        own = [plain_neighbour(queries[i], gallery, lambda k: True) == i for i in range(len(queries))]
        return 100 * sum(own) / len(own)

    def anyone(i, k):
        return True

    def of_another_video(i, k):
        return bool(videos[i] != videos[k])

    assert found["IR-Acc image to sound"] == pytest.approx(instance(visual, audio))
    assert found["IR-Acc sound to image"] == pytest.approx(instance(audio, visual))
    assert found["IR-Acc"] == pytest.approx((instance(visual, audio) + instance(audio, visual)) / 2)
    across = [plain_class_accuracy(a, b, classes, anyone) for a, b in ((audio, visual), (visual, audio))]
    assert found["xNN-Acc"] == pytest.approx(sum(across) / 2)
    others = [plain_class_accuracy(a, b, classes, of_another_video) for a, b in ((audio, visual), (visual, audio))]
    assert found["xNN-Acc, others"] == pytest.approx(sum(others) / 2)
    within = [plain_class_accuracy(a, a, classes, of_another_video) for a in (audio, visual)]
    assert found["wNN-Acc"] == pytest.approx(sum(within) / 2)
    assert [found["wNN-Acc sound"], found["wNN-Acc image"]] == pytest.approx(within)


def test_without_videos_only_the_clip_itself_is_left_out(clips):
    audio, _, classes, _ = clips
    own = torch.arange(len(audio))
    plain = plain_class_accuracy(audio, audio, classes, lambda i, k: i != k)
    assert class_accuracy(nearest(audio, audio, own), classes) == pytest.approx(plain)


def test_blocks_of_one_query_find_what_one_block_finds(clips, monkeypatch):
    whole = retrieval(*clips)
    monkeypatch.setattr(module, "BLOCK", 1)
    assert retrieval(*clips) == whole


def test_length_does_not_matter(clips):
    audio, visual, *rest = clips
    assert retrieval(7 * audio, 0.01 * visual, *rest) == retrieval(*clips)


def test_twins_retrieve_each_other_always():
    features = torch.eye(5)
    assert instance_accuracy(nearest(features, 3 * features)) == 100


def test_collapsed_features_score_chance_not_everything():
    same = torch.ones(20, 4)
    assert instance_accuracy(nearest(same, same)) == pytest.approx(5)


def test_chance_is_what_a_drawn_neighbour_scores(clips):
    *_, classes, videos = clips
    count = len(classes)
    hits = [(classes[i] == classes[k], videos[i] != videos[k], i) for i in range(count) for k in range(count)]
    anyone = sum(int(alike) for alike, _, _ in hits) / count**2
    others = sum(
        sum(int(alike) for alike, apart, i in hits if i == one and apart)
        / sum(1 for _, apart, i in hits if i == one and apart)
        for one in range(count)
    )
    found = chance(classes, videos)
    assert found["IR-Acc"] == pytest.approx(100 / count)
    assert found["xNN-Acc"] == pytest.approx(100 * anyone)
    assert found["wNN-Acc"] == pytest.approx(100 * others / count)
    assert found.keys() == retrieval(*clips).keys()


def test_clips_of_one_video_alone_have_no_neighbour():
    features = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    one_video = torch.zeros(3, dtype=torch.long)
    assert nearest(features, features, one_video).tolist() == [-1, -1, -1]
    assert math.isnan(class_accuracy(nearest(features, features, one_video), torch.tensor([0, 0, 1])))


def test_features_that_are_no_numbers_are_refused_in_a_sentence():
    broken = torch.full((3, 4), float("nan"))
    with pytest.raises(DataError, match="not numbers"):
        nearest(broken, broken)


def test_the_chance_of_clips_of_one_video_alone_is_not_known():
    assert math.isnan(chance(torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.long))["wNN-Acc"])


def test_a_hundred_thousand_clips_have_a_chance_at_once():
    """Counted and not compared: so many by so many would be ten thousand million pairs."""
    classes = torch.arange(100_000) % 221
    assert chance(classes, classes // 2)["xNN-Acc"] == pytest.approx(100 / 221, rel=1e-3)


def test_chance_is_counted_where_the_classes_are(monkeypatch):
    """A number made elsewhere met the classes of a GPU, which is an error there."""
    made, arange = [], torch.arange
    monkeypatch.setattr(
        torch, "arange", lambda *a, **options: made.append(options.get("device")) or arange(*a, **options)
    )
    classes = torch.tensor([0, 0, 1, 1])
    chance(classes)
    assert made
    assert set(made) == {classes.device}
