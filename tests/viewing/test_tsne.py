"""Features of methods, how well they tell classes apart, and the picture that shows the clip under the pointer."""

import re
import shutil

import numpy as np
import pytest
import torch

from avnb.errors import DataError
from avnb.viewing import tsne
from avnb.viewing.colours import class_colours
from avnb.viewing.tsne import flatten, hover, panels, show

LABELS = ["bell", "drum", "horn"] * 8


def three_heaps(spread):
    generator = torch.Generator().manual_seed(0)
    return torch.eye(3).repeat(8, 1) + spread * torch.randn(24, 3, generator=generator)


@pytest.fixture
def solos(tiny_store):
    return tiny_store.select("test", "solo")


def test_flatten_is_the_same_twice_and_needs_five_clips():
    features = three_heaps(0.3)
    assert np.array_equal(flatten(features), flatten(features))
    with pytest.raises(DataError, match="at least 5 clips, and there are 4"):
        flatten(features[:4])


def test_show_writes_the_two_measures_under_each_panel():
    rows = {"some_method": panels({"audio": three_heaps(0.05), "visual": three_heaps(0.1)}, LABELS)}
    figure = show(rows, LABELS, class_colours(sorted(set(LABELS))))
    assert figure.axes[0].get_xlabel().startswith("NMI 1.00, silhouette 0.9")
    assert figure.axes[0].get_title() == "some method\naudio"


def test_the_picture_of_a_sample_says_of_how_many_clips_it_is():
    rows = {"a": panels({"audio": three_heaps(0.1)}, LABELS)}
    colours = class_colours(sorted(set(LABELS)))
    assert show(rows, LABELS, colours, 5158).get_suptitle() == "24 of 5,158 clips"
    assert show(rows, LABELS, colours, 24).get_suptitle() == show(rows, LABELS, colours).get_suptitle() == ""


def test_methods_with_few_panels_leave_no_holes():
    rows = {name: panels({f"{k}": three_heaps(0.1) for k in range(n)}, LABELS) for name, n in (("a", 1), ("b", 6))}
    figure = show(rows, LABELS, class_colours(sorted(set(LABELS))))
    shown = [axis.get_visible() for axis in figure.axes]
    assert shown == [True] * 7 + [False] * 5  # the empty places are the last


def test_classes_of_like_colours_differ_in_their_marks():
    grey = dict.fromkeys(set(LABELS), (0.5, 0.5, 0.5))
    figure = show({"a": panels({"audio": three_heaps(0.1)}, LABELS)}, LABELS, grey)
    shapes = [spots.get_paths()[0].vertices.tolist() for spots in figure.axes[0].collections]
    assert len(shapes) == 3
    assert all(shapes.count(shape) == 1 for shape in shapes)


def test_more_clips_than_a_jpeg_of_sixteen_columns_is_high_fit_into_the_contact_sheet(monkeypatch):
    """24,000 clips at 16 in a row are 66,000 pixels; a JPEG ends at 65,500."""
    columns = tsne._sheet_columns(24_000)
    assert tsne._sheet_columns(132) == 16
    assert -(-24_000 // columns) * tsne.THUMBNAIL < tsne.JPEG_SIDE
    assert columns * tsne.THUMBNAIL < tsne.JPEG_SIDE


def test_more_clips_than_any_jpeg_holds_is_a_sentence(tiny_store, solos, monkeypatch):
    monkeypatch.setattr(tsne, "JPEG_SIDE", 88)
    with pytest.raises(DataError, match="8 clips do not fit into one picture; give hover\\(\\) at most 4"):
        tsne._contact_sheet(tiny_store, solos)


def test_the_page_holds_every_panel_and_every_clip_and_its_picture(tiny_store, solos):
    labels = [tiny_store.classes[k] for k in tiny_store.labels[solos].argmax(axis=1)]
    found = panels({"audio": torch.randn(8, 4)}, labels)
    page = hover({"some_method": found}, labels, tiny_store, solos, class_colours(tiny_store.classes)).data
    assert "some method: audio" in page
    assert all(tiny_store.ids[clip].decode() in page for clip in solos)
    assert len(re.findall("data:image/jpeg;base64,", page)) == 1
    assert "MARK" not in page


def test_a_real_pointer_on_a_spot_shows_its_clip_in_a_real_browser(tiny_store, solos, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
    labels = [tiny_store.classes[k] for k in tiny_store.labels[solos].argmax(axis=1)]
    generator = torch.Generator().manual_seed(0)
    rows = {"some_method": panels({name: torch.randn(8, 4, generator=generator) for name in ("a", "b")}, labels)}
    page_of = hover(rows, labels, tiny_store, solos, class_colours(tiny_store.classes)).data
    (tmp_path / "page.html").write_text(f"<!doctype html><meta charset=utf-8>{page_of}", encoding="utf-8")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))
        page.goto((tmp_path / "page.html").as_uri())
        spots = page.locator("svg").nth(1).locator("circle")
        for number in (3, 6):
            box = spots.nth(number).bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            assert page.locator(".said").inner_text() == f"{labels[number]}: {tiny_store.ids[solos[number]].decode()}"
            assert page.locator("svg").nth(0).locator("circle").nth(number).get_attribute("stroke") == "#000"
        page.mouse.down()
        page.mouse.up()
        box = spots.nth(1).bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        assert tiny_store.ids[solos[6]].decode() in page.locator(".said").inner_text()  # the click kept it
        page.screenshot(path=tmp_path / "tsne.png")
        chromium.close()
    assert errors == []
