"""Mixtures: who meets whom, how sounds add, and frames and ground truth laid out as plain loops lay them out."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from avnb.data.clips import Recipe, mix_waveforms
from avnb.data.mixing import (
    draw_partners,
    grid,
    grid_order,
    make_batch,
    side_by_side,
    sounding_classes,
)
from avnb.data.store import CLIP, OBJECT, ClipShape, Store
from avnb.errors import DataError


class MadeUp(Store):
    """A store of made-up clips in memory: one class and one video each, and an object in the upper left quarter."""

    def __init__(self, classes: list[int], videos: list[int] | None = None, count: int = 4, size: int = 4):
        rng = np.random.default_rng(0)
        clips, self.shape = len(classes), ClipShape(size, 8000, 0.001)
        self.name, self.classes = "made up", tuple(f"class {k}" for k in range(count))
        self.clips = np.zeros(clips, CLIP)
        self.clips["video"] = range(clips) if videos is None else videos
        self.labels = np.eye(count, dtype=bool)[classes]
        self.frames = rng.integers(0, 256, (clips, 3, size, size), dtype=np.uint8)
        self.waveforms = rng.integers(-9999, 9999, (clips, self.shape.samples), dtype=np.int16)
        self.masks = np.zeros((clips, size, size), np.uint8)
        self.offsets = np.arange(clips + 1)
        self.objects = np.array([(k, True, True, (0, 0, 0.5, 0.5)) for k in classes], OBJECT)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def truth_of(store: Store, clip: int, label: int) -> np.ndarray:
    return store.read_truth(np.array([clip]), np.array([[label]]))[0, 0].numpy()


@given(
    pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=12),
    clips=st.integers(1, 4),
    distinct=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_clips_of_one_video_or_one_class_never_meet(pairs, clips, distinct, seed):
    classes, videos = [k for k, _ in pairs], [v for _, v in pairs]
    store, pool = MadeUp(classes, videos, count=5), np.arange(len(pairs))
    try:
        mixtures = draw_partners(store, pool, pool, clips, generator(seed), distinct)
    except DataError as error:
        assume("cannot provide mixtures" not in str(error))
        raise
    assert (mixtures[:, 0] == pool).all()
    for mixture in mixtures:
        assert len({videos[k] for k in mixture}) == clips
        assert len({classes[k] for k in mixture}) == clips or not distinct


def test_the_same_seed_draws_the_same_mixtures(tiny_store):
    anchors = tiny_store.select("train", "solo")
    first, second, other = (draw_partners(tiny_store, anchors, anchors, 3, generator(seed)) for seed in (5, 5, 6))
    assert (first == second).all()
    assert (first != other).any()


def test_every_partner_that_may_is_drawn_about_equally_often():
    store = MadeUp([0] + [1] * 5 + [2] * 5)
    mixtures = draw_partners(store, np.zeros(10_000, np.int64), np.arange(11), 2, generator())
    counts = np.bincount(mixtures[:, 1], minlength=11)
    assert counts[0] == 0
    # 1,000 expected each, standard deviation 30: five of them.
    assert abs(counts[1:] - 1000).max() < 150


def test_a_single_possible_partner_among_thousands_is_found():
    store = MadeUp([0] * 3000 + [1])
    assert draw_partners(store, np.arange(20), np.arange(3001), 2, generator())[:, 1].tolist() == [3000] * 20


def test_a_single_possible_video_among_thousands_is_found():
    store = MadeUp([k % 2 for k in range(3001)], [0] * 3000 + [1])
    assert draw_partners(store, np.array([1, 3]), np.arange(3001), 2, generator())[:, 1].tolist() == [3000] * 2


@pytest.mark.parametrize("seed", range(5))
def test_partners_that_leave_no_other_are_drawn_again(seed):
    """Two clips of a video, each of another class: of class 0 or 3, what was drawn before may have both videos."""
    classes, videos = [0, 1, 0, 2, 1, 3, 2, 3], [0, 0, 1, 1, 2, 2, 3, 3]
    store, pool = MadeUp(classes, videos), np.arange(8)
    mixtures = draw_partners(store, np.tile(pool, 20), pool, 4, generator(seed))
    for mixture in mixtures:
        assert {len({column[k] for k in mixture}) for column in (classes, videos)} == {4}


@pytest.mark.parametrize(
    ("classes", "videos", "clips", "distinct", "said"),
    [
        ([0, 0, 0], None, 2, True, "of 2 clips that differ in video and class: the split offers 3 clips of 1 classes"),
        ([0, 1, 0], None, 3, True, "of 3 clips that differ in video and class: the split offers 3 clips of 2 classes"),
        ([0, 1, 2], [5, 5, 5], 2, False, "of 2 clips that differ in video: the split offers 3 clips of 3 classes"),
        ([0], None, 2, True, "the split offers 1 clips"),
    ],
)
def test_mixtures_that_cannot_be_are_refused_in_a_sentence(classes, videos, clips, distinct, said):
    store, pool = MadeUp(classes, videos), np.arange(len(classes))
    with pytest.raises(DataError) as caught:
        draw_partners(store, pool, pool, clips, generator(), distinct)
    assert said in str(caught.value)
    assert "Use fewer sources or more data" in str(caught.value)


def test_the_two_clips_of_one_recording_do_not_meet(tiny_store):
    assert tiny_store.clips["video"][0] == tiny_store.clips["video"][1]
    anchors = np.zeros(500, np.int64)
    drawn = draw_partners(tiny_store, anchors, tiny_store.select("train"), 2, generator())
    assert 1 not in drawn[:, 1]


waveforms = st.integers(1, 4).flatmap(
    lambda sources: st.lists(
        st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=sources, max_size=sources
    ).map(lambda rows: torch.tensor(rows, dtype=torch.float32)[None])
)


@given(sources=waveforms)
def test_the_mean_is_the_sum_over_n(sources):
    mean, total = mix_waveforms(sources, "mean"), mix_waveforms(sources, "sum")
    torch.testing.assert_close(mean, total / sources.shape[1])


@given(sources=waveforms, seed=st.integers(0, 99))
def test_a_mixture_does_not_know_its_order(sources, seed):
    order = torch.from_numpy(generator(seed).permutation(sources.shape[1]))
    torch.testing.assert_close(mix_waveforms(sources[:, order]), mix_waveforms(sources), atol=1e-6, rtol=0)


def test_the_sum_is_a_plain_loop_s(tiny_store):
    mixture = np.array([[0, 2], [5, 3]])
    batch = make_batch(tiny_store, mixture, Recipe(2, "side_by_side"))
    for row, (a, b) in enumerate(mixture):
        np.testing.assert_allclose(
            batch.mixture[row], tiny_store.clip(a).waveform + tiny_store.clip(b).waveform, atol=1e-6
        )


def test_tiles_of_a_grid_are_means_of_2_by_2_pixels():
    tiles = torch.from_numpy(generator().integers(0, 256, (2, 4, 3, 6, 4), dtype=np.uint8))
    found = grid(tiles)
    assert (found.shape, found.dtype) == ((2, 3, 6, 4), torch.uint8)
    for k, (top, left) in enumerate([(0, 0), (0, 2), (3, 0), (3, 2)]):
        for y in range(3):
            for x in range(2):
                block = tiles[:, k, :, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].double()
                expected = (block.mean(dim=(2, 3)) + 0.5).floor()
                assert (found[:, :, top + y, left + x] == expected).all()


def test_a_grid_keeps_the_fractions_of_feature_maps():
    tiles = torch.rand(1, 4, 2, 4, 4)
    torch.testing.assert_close(grid(tiles)[0, 1, 3, 0], tiles[0, 2, 1, 2:, :2].mean())


def test_side_by_side_goes_from_left_to_right():
    tiles = torch.arange(2 * 3 * 1 * 2 * 2).reshape(2, 3, 1, 2, 2)
    joined = side_by_side(tiles)
    for k in range(3):
        assert (joined[..., 2 * k : 2 * k + 2] == tiles[:, k]).all()


@pytest.mark.parametrize("sources", [1, 2, 3, 4])
@pytest.mark.parametrize("geometry", ["side_by_side", "separate", "first"])
def test_frames_sound_and_truth_are_laid_out_as_a_loop_does(tiny_store, sources, geometry):
    pool = tiny_store.select("train", "solo")
    mixture = draw_partners(tiny_store, pool[:6], pool, sources, generator(3))
    batch = make_batch(tiny_store, mixture, Recipe(sources, geometry, "mean"), truth=True)
    classes = [[int(tiny_store.labels[clip].argmax()) for clip in row] for row in mixture]
    rows, size = 0, 64
    for m, row in enumerate(mixture):
        clips = [tiny_store.clip(k) for k in row]
        sound = np.mean([clip.waveform for clip in clips], axis=0)
        labels = np.isin(np.arange(4), classes[m])
        frames = [clip.frame.transpose(2, 0, 1) for clip in clips]
        truths = [truth_of(tiny_store, k, label) for k, label in zip(row, classes[m], strict=True)]
        if geometry == "side_by_side":
            wide = np.zeros((sources, size, sources * size))
            for k in range(sources):
                wide[k, :, k * size : (k + 1) * size] = truths[k]
            expected = [(np.concatenate(frames, axis=2), classes[m], wide)]
        elif geometry == "separate":
            expected = [(frames[k], [classes[m][k]], truths[k][None]) for k in range(sources)]
        else:
            expected = [(frames[0], classes[m][:1], truths[0][None])]
        for frame, named, truth in expected:
            assert (batch.frames[rows].numpy() == frame).all()
            assert batch.source_classes[rows].tolist() == named
            assert (batch.truth[rows].numpy() == truth).all()
            assert (batch.labels[rows].numpy() == labels).all()
            np.testing.assert_allclose(batch.mixture[rows], sound, atol=1e-6)
            rows += 1
        shown = 1 if geometry == "first" else sources
        assert (batch.source_frames[m].numpy() == np.stack(frames[:shown])).all()
        assert (batch.source_waveforms[m].numpy() == np.stack([clip.waveform for clip in clips])).all()
    assert len(batch) == rows


def test_a_grid_is_laid_out_as_a_loop_does(tiny_store):
    pool = tiny_store.select("train", "solo")
    mixture = draw_partners(tiny_store, pool, pool, 4, generator(3))
    batch = make_batch(tiny_store, mixture, Recipe(2, "grid"), truth=True)
    order = grid_order(mixture)
    for m, row in enumerate(mixture):
        frames = torch.from_numpy(tiny_store.frames[row])
        assert (batch.frames[m] == grid(frames[order[m]][None])[0]).all()
        sound = tiny_store.clip(row[0]).waveform + tiny_store.clip(row[1]).waveform
        np.testing.assert_allclose(batch.mixture[m], sound, atol=1e-6)
        assert batch.source_classes[m].tolist() == [int(tiny_store.labels[clip].argmax()) for clip in row[:2]]
        for source in range(2):
            tile = order[m].tolist().index(source)
            top, left = 32 * (tile // 2), 32 * (tile % 2)
            own = truth_of(tiny_store, row[source], int(batch.source_classes[m, source]))
            expected = np.zeros((64, 64))
            for y in range(32):
                for x in range(32):
                    expected[top + y, left + x] = own[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() >= 0.5
            assert (batch.truth[m, source].numpy() == expected).all()


def test_what_sounds_lies_in_every_tile_of_a_grid_about_equally_often():
    mixtures = np.stack([generator(k).choice(5000, 4, replace=False) for k in range(4000)])
    places = np.bincount(np.argsort(grid_order(mixtures).numpy(), axis=1)[:, 0], minlength=4)
    assert abs(places - 1000).max() < 140  # standard deviation 27: five of them


def test_a_mixture_s_grid_is_always_the_same():
    mixtures = np.stack([generator(k).choice(50, 4, replace=False) for k in range(20)])
    assert (grid_order(mixtures)[7:9] == grid_order(mixtures[7:9])).all()


@pytest.mark.parametrize("geometry", ["single", "one_frame"])
def test_a_clip_as_it_is_stays_as_it_is(tiny_store, geometry):
    duets = tiny_store.select("test", "duet") if geometry == "one_frame" else tiny_store.select("test", "solo")
    sources = 2 if geometry == "one_frame" else 1
    batch = make_batch(tiny_store, duets[:, None], Recipe(sources, geometry), truth=True)
    for row, index in enumerate(duets):
        clip = tiny_store.clip(index)
        assert (batch.frames[row].numpy() == clip.frame.transpose(2, 0, 1)).all()
        assert (batch.mixture[row].numpy() == clip.waveform).all()
        assert [tiny_store.classes[k] for k in batch.source_classes[row]] == sorted(clip.labels)
        for source, label in enumerate(batch.source_classes[row].tolist()):
            assert (batch.truth[row, source].numpy() == truth_of(tiny_store, index, label)).all()
            assert batch.truth[row, source].any()


@given(sources=st.integers(1, 4), seed=st.integers(0, 99), geometry=st.sampled_from(["side_by_side", "separate"]))
@settings(max_examples=25, deadline=None)
def test_permuted_sources_permute_classes_and_truth(sources, seed, geometry):
    store = MadeUp([0, 1, 2, 3, 0, 1, 2, 3], size=4)
    mixture = draw_partners(store, np.arange(8), np.arange(8), sources, generator(seed))
    order = generator(seed).permutation(sources)
    recipe = Recipe(sources, geometry)
    first, second = (make_batch(store, m, recipe, truth=True) for m in (mixture, mixture[:, order]))
    torch.testing.assert_close(first.mixture, second.mixture, atol=1e-6, rtol=0)
    assert (first.labels == second.labels).all()
    if geometry == "separate":
        moved = (torch.arange(8)[:, None] * sources + torch.from_numpy(order)).flatten()
        assert (first.frames[moved] == second.frames).all()
        assert (first.truth[moved] == second.truth).all()
    else:
        tiles = [batch.truth.reshape(8, sources, 4, sources, 4) for batch in (first, second)]
        assert (tiles[0][:, order][:, :, :, order] == tiles[1]).all()
        assert (first.source_classes[:, order] == second.source_classes).all()


def test_a_class_that_is_silent_in_another_tile_is_not_marked_there(tiny_store):
    silent = next(thing.label for thing in tiny_store.clip(23).objects if not thing.sounding)
    other = next(k for k in tiny_store.select("train", "solo") if tiny_store.clip(k).labels == (silent,))
    batch = make_batch(tiny_store, np.array([[other, 23]]), Recipe(2, "side_by_side"), truth=True)
    place = batch.source_classes[0].tolist().index(tiny_store.classes.index(silent))
    assert batch.truth[0, place, :, :64].any()
    assert not batch.truth[0, place, :, 64:].any()


def test_training_batches_carry_no_truth(tiny_store):
    assert make_batch(tiny_store, np.array([[0, 2]]), Recipe(2, "side_by_side")).truth is None


def test_sounding_classes_come_clip_after_clip():
    store = MadeUp([3, 1, 0, 2])
    assert sounding_classes(store, np.array([[0, 1], [2, 3]])).tolist() == [[3, 1], [0, 2]]


def test_sounding_classes_of_one_clip_come_in_the_order_of_the_classes(tiny_store):
    duets = tiny_store.select("test", "duet")
    expected = [np.flatnonzero(labels).tolist() for labels in tiny_store.labels[duets]]
    assert sounding_classes(tiny_store, duets[:, None]).tolist() == expected


@pytest.mark.parametrize(
    ("labels", "mixture", "said"),
    [
        ([[1, 1], [1, 0]], [[0], [1]], "clips with [1, 2] sounding classes; take equally many, at least one"),
        ([[0, 0], [0, 0]], [[0], [1]], "clips with [0] sounding classes"),
        ([[1, 1], [0, 0]], [[0, 1]], "clips with [0, 2] sounding classes; take exactly one each"),
        ([[1, 1], [1, 1]], [[0, 1]], "clips with [2] sounding classes; take exactly one each"),
    ],
)
def test_batches_without_one_number_of_sources_are_refused(labels, mixture, said):
    store = MadeUp([0, 1], count=2)
    store.labels = np.array(labels, bool)
    with pytest.raises(DataError) as caught:
        sounding_classes(store, np.array(mixture))
    assert said in str(caught.value)


def test_a_batch_moves_with_all_that_is_in_it(tiny_store):
    batch = make_batch(tiny_store, np.array([[0, 2]]), Recipe(2, "side_by_side"), truth=True)
    moved = batch.to("meta")
    assert {name for name, value in vars(moved).items() if value is None} == {"features"}
    assert all(value.device.type == "meta" for value in vars(moved).values() if value is not None)
