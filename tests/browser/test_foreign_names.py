"""Every page that this package writes, of a data set whose names would run scripts and ask for files, in Chromium."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from foreign_names import AWKWARD, HOSTILE, NAMES, shown_by

from avnb import papers
from avnb.data.build import open_store
from avnb.data.store import ClipShape
from avnb.evaluation.ablations import ABLATED
from avnb.evaluation.paper_tables import OWN, Line, Rebuilt
from avnb.models.one_avm import OneAVM, OneAVMSettings
from avnb.notebook import _banner
from avnb.training.published import card
from avnb.viewing import film, results, tsne
from avnb.viewing.ablations import ablations_table
from avnb.viewing.colours import class_colours, readable
from avnb.viewing.paper_tables import as_html
from avnb.viewing.players import player, players
from avnb.viewing.pointing import hear_places, sound_map
from avnb.viewing.scrubber import scrub, scrub_frames

RATE = 8000
SOUND = np.zeros(800, np.float32)

ipywidgets = pytest.importorskip("ipywidgets", reason="ipywidgets comes with the notebooks extra")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def store(hostile_folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVNB_DATA", str(hostile_folder.parent))
        yield open_store(hostile_folder, ClipShape(size=32, rate=RATE, seconds=1.0), progress=False)


@pytest.fixture(scope="module")
def scrubber(store, judged_run, tmp_path_factory):
    runs = {name: judged_run(store, tmp_path_factory.mktemp("outputs"), "avgn", 0.5) for name in HOSTILE[:2]}
    return scrub(store, runs)


def rows_of(store):
    protocol = {
        "benchmark": store.name, "subset": HOSTILE[0], "sources": 2, "geometry": HOSTILE[2], "threshold_rule": "x",
        "clips": 3, "origin": HOSTILE[3], "protocol": HOSTILE[4],
    }  # fmt: skip
    rows = [{"method": name, **protocol, "classes": "oracle", "CAP": 1.0, HOSTILE[5]: 2.0} for name in NAMES]
    return [*rows, rows[0] | {"subset": HOSTILE[6], "truth": HOSTILE[7]}]


def values_of(widget):
    """Return what a widget and those inside it put into the page as HTML."""
    box = getattr(widget, "box", widget)
    inside = [box, *getattr(box, "children", ())]
    for part in inside[1:]:
        inside += getattr(part, "children", ())
    return "".join(part.value for part in inside if isinstance(part, ipywidgets.HTML))


def video_scrubber():
    frames, maps = np.zeros((2, 32, 32, 3), np.uint8), torch.rand(2, 4, 4, 4)
    return scrub_frames(frames, dict.fromkeys(HOSTILE[:2], maps), HOSTILE[:4], [0.0, 1.0], SOUND, RATE)


def hovering(store, _):
    clips = np.arange(len(store))
    labels = [NAMES[k % len(NAMES)] for k in clips]
    panels = [tsne.Panel(HOSTILE[3], np.random.default_rng(0).random((len(clips), 2)), 0.5, 0.5)]
    return tsne.hover(dict.fromkeys(HOSTILE[:3], panels), labels, store, clips, class_colours(NAMES)).data


def seeds(store, table):
    """Return a table of a file of seeds that somebody else has written."""
    one = {"subset": HOSTILE[0], "geometry": HOSTILE[2], "classes": "oracle", "metric": HOSTILE[3], "seeds": [1.0, 2.0]}
    said = {"dataset": HOSTILE[1], "origin": "real", "preset": HOSTILE[5], "processor": HOSTILE[4]}
    said["methods"] = {"a": [one]}
    root = store.info.folder.parent / "root"
    (root / results.RESULTS).parent.mkdir(parents=True, exist_ok=True)
    (root / results.RESULTS).write_text(json.dumps(said))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVNB_ROOT", str(root))
        return table("a").to_html()


def kept_ablations(store, _):
    """Return the table of a file of ablations that somebody else has written."""
    one = dict(zip(("subset", "geometry", "threshold_rule", "clips"), HOSTILE, strict=False))
    kept = {"rows": ["as it is", "table3: neither"], "change": {}, "trained": HOSTILE[4], "seeds": [0]}
    kept["judged"] = [{**one, "classes": "oracle", "values": {HOSTILE[5]: [1.0]}}]
    said = dict(zip(("dataset", "origin", "preset", "divisor", "processor"), HOSTILE, strict=False))
    said |= {"without a model": [{**one, "method": HOSTILE[6], "values": {HOSTILE[5]: 2.0}}]}
    root = store.info.folder.parent / "ablated"
    (root / ABLATED).parent.mkdir(parents=True, exist_ok=True)
    (root / ABLATED).write_text(json.dumps(said | {"methods": {"avgn": [kept]}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVNB_ROOT", str(root))
        return ablations_table("avgn", "table3", metrics=[HOSTILE[5]]).to_html()


def plain(_, __):
    columns = pd.MultiIndex.from_product([HOSTILE[:3], AWKWARD[:2]], names=HOSTILE[3:5])
    table = pd.DataFrame([[1.0, name, None, 2.0, name, 3] for name in NAMES], index=list(NAMES), columns=columns)
    table.index.name = HOSTILE[5]
    return results.plain_table(table, "".join(HOSTILE)).to_html()


def rebuilt():
    table = papers.all_tables()[0]
    label = next(iter(table.benchmarks))
    judged = dict.fromkeys(("benchmark", "origin", "subset", "geometry", "threshold_rule", "protocol"), HOSTILE[0])
    judged |= {"classes": "oracle", "clips": 3}
    return Rebuilt(table, tuple(Line(OWN, name, {(label, "CAP"): 1.0}, judged={label: judged}) for name in NAMES))


def banner(store, _):
    shown = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("IPython.display.display", shown.append)
        _banner(store)
    return shown[0].data


def model_card(store, _):
    """Return the model card as a site shows it that lets Markdown hold HTML."""
    import mistune  # nbconvert's

    shown = mistune.create_markdown(escape=False, plugins=["table", "url", "strikethrough", "math"])
    data = {"origin": "real", "benchmark": store.name, "classes": list(NAMES)}
    return shown(card("avgn", data, {"settings": {"preset": "quick", "seed": 0}, "rows": rows_of(store)}))


def network():
    method = OneAVM(OneAVMSettings(preset="quick").resolve("cpu"), 4).eval()
    return method, torch.zeros(3, 32, 32, dtype=torch.uint8), torch.rand(22_050) - 0.5


PAGES = {
    "results.results_table": lambda store, _: results.results_table(rows_of(store), papers.avgn.table2["MUSIC-Duet"])
    .to_html(),
    "results.seeds_table": lambda store, _: seeds(store, results.seeds_table),
    "results.spreads_table": lambda store, _: seeds(store, results.spreads_table),
    "ablations.ablations_table": kept_ablations,
    "results.plain_table": plain,
    "paper_tables.as_html": lambda *_: as_html(rebuilt()),
    "notebook._banner": banner,
    "published.card": model_card,
    "tsne.hover": hovering,
    "players.player": lambda *_: player(SOUND, RATE)._repr_html_(),
    "players.players": lambda *_: players(dict.fromkeys(NAMES, SOUND), RATE).data,
    "film.show_film": lambda _, scrubber: film.show_film(b"").data,
    "film.flip_book": lambda _, scrubber: film.flip_book(scrubber, range(len(scrubber.reel))).data,
    "pointing.sound_map": lambda *_: sound_map(*network(), rows=1, columns=1).data,
    "pointing.hear_places": lambda *_: values_of(hear_places(*network())),
    "scrubber.scrub": lambda _, scrubber: values_of(scrubber),
    "scrubber.scrub_frames": lambda *_: values_of(video_scrubber()),
}  # fmt: skip
NO_PAGE = {
    "film.show_picture": "a picture",
    "localize.LocalizedVideo.scrub": "scrub_frames makes it",
    "results.grouped_table": "results_table makes it",
}


def test_no_page_is_forgotten_here():
    found = shown_by("HTML", "Styler", "Widget", "Scrubber", "Audio", "display.Image").keys()
    assert found - NO_PAGE.keys() == PAGES.keys() - {"paper_tables.as_html", "notebook._banner", "published.card"}


@pytest.mark.parametrize("name", PAGES)
def test_a_name_is_text_on_every_page(name, store, scrubber, opened):
    words = opened(PAGES[name](store, scrubber))
    if name in (
        "results.plain_table",
        "results.results_table",
        "players.players",
        "paper_tables.as_html",
        "published.card",
    ):
        squeezed = re.sub(r"\s+", " ", words)
        lost = [one for one in NAMES if not {_squeezed(one), _squeezed(readable(one))} & _found(one, squeezed)]
        assert not lost


def _squeezed(text):
    return re.sub(r"\s+", " ", text).strip()


def _found(name, words):
    return {spelling for spelling in (_squeezed(name), _squeezed(readable(name))) if spelling in words}
