"""Features of methods, how well they tell classes apart, and the picture that shows the clip under the pointer."""

import re
import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_score

from avnb.errors import DataError
from avnb.models import METHODS
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.viewing.colours import class_colours
from avnb.viewing.tsne import chance_nmi, embed_clips, embed_without_training, flatten, hover, measure, panels, show

LABELS = ["bell", "drum", "horn"] * 8


def three_heaps(spread):
    generator = torch.Generator().manual_seed(0)
    return torch.eye(3).repeat(8, 1) + spread * torch.randn(24, 3, generator=generator)


@pytest.fixture
def solos(tiny_store):
    return tiny_store.select("test", "solo")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_vector_a_clip_whatever_batches_they_come_in(name, tiny_store, solos, monkeypatch):
    torch.manual_seed(0)
    method = METHODS[name](METHODS[name].SETTINGS(preset="quick").resolve("cpu"), len(tiny_store.classes)).eval()
    together = embed_clips(method, tiny_store, solos)
    assert all(value.shape[0] == len(solos) and value.ndim == 2 for value in together.values())
    monkeypatch.setattr("avnb.viewing.tsne.AT_ONCE", 3)
    apart = embed_clips(method, tiny_store, solos)
    for key, value in together.items():
        # Convolutions of another batch size round otherwise, and the logarithm of a silent band magnifies that.
        assert torch.allclose(value, apart[key], atol=0.01)


def test_class_aware_features_of_an_untrained_network_know_the_class_they_are_given(tiny_store, solos):
    torch.manual_seed(0)
    method = AVGN(AVGNSettings(preset="quick").resolve("cpu"), len(tiny_store.classes)).eval()
    found = embed_clips(method, tiny_store, solos)
    labels = [tiny_store.classes[k] for k in tiny_store.labels[solos].argmax(axis=1)]
    assert set(found) == {"audio", "visual", *(f"{m}, {c} class" for m in ("audio", "visual") for c in ("true", "own"))}
    assert measure(found["audio, true class"], labels)[0] > 0.95  # which is why it is drawn beside "own class"


def test_features_without_training_are_of_the_sound_and_of_the_picture(tiny_store, solos):
    found = embed_without_training(tiny_store, solos)
    assert {name: value.shape for name, value in found.items()} == {"audio": (8, 128), "visual": (8, 112)}


def test_heaps_apart_have_an_nmi_of_one_and_the_silhouette_of_scikit_learn():
    features = three_heaps(0.05)
    nmi, silhouette = measure(features, LABELS)
    unit = (features / features.norm(dim=1, keepdim=True)).numpy()
    assert nmi == pytest.approx(1)
    assert silhouette == pytest.approx(silhouette_score(unit, LABELS))


def test_lengths_of_vectors_do_not_matter():
    features = three_heaps(0.3)
    longer = features * torch.linspace(1, 50, 24)[:, None]
    assert measure(features, LABELS) == pytest.approx(measure(longer, LABELS), abs=1e-6)


def test_one_class_alone_has_no_silhouette():
    assert np.isnan(measure(three_heaps(0.3), ["bell"] * 24)[1])


def test_chance_is_more_than_nothing_and_less_than_knowledge():
    assert 0.02 < chance_nmi(LABELS) < 0.4


def test_flatten_is_the_same_twice_and_needs_five_clips():
    features = three_heaps(0.3)
    assert np.array_equal(flatten(features), flatten(features))
    with pytest.raises(DataError, match="at least 5 clips, and there are 4"):
        flatten(features[:4])


def test_show_writes_the_two_measures_under_each_panel():
    rows = {"some_method": panels({"audio": three_heaps(0.05), "visual": three_heaps(0.1)}, LABELS)}
    figure = show(rows, LABELS, class_colours(sorted(set(LABELS))))
    assert figure.axes[0].get_xlabel().startswith("NMI 1.00, silhouette 0.9")
    assert figure.axes[0].get_ylabel() == "some method"


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
