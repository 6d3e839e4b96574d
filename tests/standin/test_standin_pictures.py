"""The stand-in's pictures: deterministic and exactly masked."""

import numpy as np
import pytest

from avnb.errors import SettingsError
from avnb.standin import pictures
from avnb.standin.drawing import Drawing, Pose, Sprite, render
from avnb.standin.instruments import CLASSES, INSTRUMENTS
from avnb.standin.pictures import TURNS, scene
from avnb.standin.shapes import box

LIGHT = np.array([-1.0, 0.0], np.float32)


def square(side: int, colour: float = 1.0) -> Sprite:
    return Sprite(np.full((side, side, 3), colour, np.float32), np.ones((side, side), np.float32))


def random_scene(seed: int, count: int, size: int = 224) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, count])
    names = [CLASSES[k] for k in rng.choice(len(CLASSES), count, replace=False)]
    return scene(names[:1], names[1:], rng, size)


def test_every_class_has_its_turns():
    assert tuple(TURNS) == CLASSES


def test_the_classes_are_music_s_eleven_in_order():
    expected = "accordion acoustic_guitar cello clarinet erhu flute saxophone trumpet tuba violin xylophone"
    assert expected.split() == list(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_same_seed_draws_the_same_bytes(name):
    first = scene([name], ["flute"], np.random.default_rng(3), size=96)
    second = scene([name], ["flute"], np.random.default_rng(3), size=96)
    assert [part.tobytes() for part in first] == [part.tobytes() for part in second]


def test_another_seed_draws_another_background_and_another_pose():
    (first, first_mask), (second, second_mask) = (scene(["tuba"], [], np.random.default_rng(s)) for s in (1, 2))
    assert (first_mask != second_mask).any()
    background = (first_mask == 0) & (second_mask == 0)
    assert (first[background] != second[background]).any(axis=-1).mean() > 0.9


@pytest.mark.parametrize("size", [112, 224])
def test_a_scene_has_the_size_asked_for(size):
    picture, mask = random_scene(0, 2, size)
    assert (picture.shape, picture.dtype, mask.shape, mask.dtype) == ((size, size, 3), np.uint8, (size, size), np.uint8)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_object_stays_visible_and_no_other_index_occurs(count):
    for seed in range(22):
        _, mask = random_scene(seed, count)
        pixels = np.bincount(mask.ravel(), minlength=count + 1)
        assert len(pixels) == count + 1
        assert pixels[1:].min() >= 49  # a cell of a map of 32 x 32


def test_a_scene_without_instruments_has_an_empty_mask():
    _, mask = scene([], [], np.random.default_rng(0), size=64)
    assert not mask.any()


def test_mask_is_the_object_s_coverage_where_nothing_stands_before_it(monkeypatch):
    placed = []
    paste = pictures.paste
    monkeypatch.setattr(pictures, "paste", lambda *args: (placed.append(args[1:]), paste(*args)))
    monkeypatch.setattr(pictures, "occlude", lambda *args: None)
    _, mask = scene(["cello"], [], np.random.default_rng(5))
    sprite, top, left = placed[-1]  # the instrument is laid down last
    expected = np.zeros((224, 224), bool)
    for row, column in np.argwhere(sprite.coverage >= 0.5):
        if 0 <= top + row < 224 and 0 <= left + column < 224:
            expected[top + row, left + column] = True
    assert np.array_equal(mask == 1, expected)


def test_pixels_outside_the_mask_do_not_follow_the_object_s_colour(monkeypatch):
    """The shadow depends on the shape alone; only the object's anti-aliased rim and the camera's blur reach further."""

    def repainted(colour: float) -> tuple[np.ndarray, np.ndarray]:
        monkeypatch.setattr(pictures, "instrument", lambda *args: square(90, colour))
        return scene(["tuba"], [], np.random.default_rng(2))

    (dark, mask), (bright, _) = repainted(0.1), repainted(0.9)
    changed = (dark != bright).any(axis=-1)
    near = np.zeros_like(changed)
    rows, columns = np.nonzero(mask)
    for down in (-2, -1, 0, 1, 2):
        for right in (-2, -1, 0, 1, 2):
            near[np.clip(rows + down, 0, 223), np.clip(columns + right, 0, 223)] = True
    assert changed[mask == 1].mean() > 0.99
    assert not changed[~near].any()


def test_a_thing_in_front_is_cut_out_of_the_mask(monkeypatch):
    monkeypatch.setattr(pictures, "thing", lambda *args: square(20, 0.5))
    picture, mask = np.ones((100, 100, 3), np.float32), np.ones((100, 100), np.uint8)
    pictures.occlude(picture, mask, np.random.default_rng(0), LIGHT)
    hidden = mask == 0
    assert 0 < hidden.sum() <= 400
    assert np.allclose(picture[hidden], 0.5)


def test_a_thing_in_front_hides_a_fifth_at_most(monkeypatch):
    monkeypatch.setattr(pictures, "thing", lambda *args: square(60))
    picture = np.ones((100, 100, 3), np.float32)
    mask = np.zeros((100, 100), np.uint8)
    mask[40:70, 40:70] = 1
    mask[70:80, 10:90] = 2
    before = np.bincount(mask.ravel())
    for seed in range(30):
        after = mask.copy()
        pictures.occlude(picture, after, np.random.default_rng(seed), LIGHT)
        assert (np.bincount(after.ravel(), minlength=3)[1:] >= 0.8 * before[1:]).all()


def test_objects_hide_little_of_each_other(monkeypatch):
    monkeypatch.setattr(pictures, "occlude", lambda *args: None)
    corners, layout = [], pictures.layout
    monkeypatch.setattr(pictures, "layout", lambda *args: corners.append((args[0], layout(*args))) or corners[-1][1])
    hidden = []
    for seed in range(40):
        _, mask = random_scene(seed, 2)
        for k, (sprite, corner) in enumerate(zip(*corners[-1], strict=True)):
            alone = pictures.covered(sprite, *corner, 224)
            hidden.append(1 - np.count_nonzero(mask == k + 1) / np.count_nonzero(alone))
    assert np.mean(hidden) < 0.03
    assert max(hidden) < 0.15


@pytest.mark.parametrize("name", CLASSES)
def test_an_instrument_fills_about_one_unit(name):
    drawing = Drawing()
    INSTRUMENTS[name](drawing, np.random.default_rng(0))
    points = np.concatenate([part for shape in drawing.shapes for part in shape])
    assert 0.9 < np.ptp(points, axis=0).max() < 1.15


def test_a_rendered_square_covers_its_area():
    drawing = Drawing()
    drawing.fill(box(-0.5, -0.5, 0.5, 0.5), np.array([1.0, 0.0, 0.0]))
    sprite = render(drawing, Pose(length=40, turn=0.3))
    assert sprite.coverage.sum() == pytest.approx(1600, rel=0.01)  # anti-aliasing rounds to 1/255
    assert np.allclose(sprite.colour[sprite.coverage == 1], (1, 0, 0))


def test_an_unknown_class_is_refused_by_name():
    with pytest.raises(SettingsError, match="kazoo"):
        scene(["kazoo"], [], np.random.default_rng(0))
