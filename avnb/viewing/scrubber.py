"""A scrubber over localization maps: step through clips or through a video, and see and hear what a method found.

Only widgets that carry their value (a picture's or a sound's bytes, a text) are used: they need no thread and no
output area, so that papermill never waits for them. Where no kernel runs, the scrubber is the picture it last showed.
Introduced in notebooks/10_heatmaps.ipynb.
"""

import asyncio
import base64
import functools
import html
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from avnb.data.store import Store
from avnb.errors import DataError
from avnb.metrics.localization import ThresholdRule, threshold_rule
from avnb.training.runs import Run
from avnb.viewing.colours import class_colours, method_name, readable
from avnb.viewing.page import asset, score_bar, score_bars, waveform
from avnb.viewing.painting import (
    BAND,
    COLOUR_MAPS,
    GAP,
    STAGE,
    Look,
    Panel,
    as_jpeg,
    headed,
    outlines,
    paint,
    panel_size,
)
from avnb.viewing.players import player
from avnb.viewing.plots import scaled
from avnb.viewing.saved import saved_picture
from avnb.viewing.scenes import FLOOR, Frames, Reel, Scene, reels_of

if TYPE_CHECKING:
    import ipywidgets

EVERY = "all"
IDLE = 0.02  # seconds without a step after which the next picture is painted ahead
KEPT = 1000  # painted pictures, of about 50 kB each
RULES = {
    "top half (EZ-VSL, AVGN)": ("top_half", 0.0),
    "fraction of max (DSOL)": ("fraction_of_max", 0.5),
    "min-max (Mix-and-Localize)": ("min_max", 0.4),
    "absolute": ("absolute", 0.5),
}


@dataclass(frozen=True)
class View:
    """What the controls ask for; ``source`` None shows all, and ``alike`` gives all maps of a method one scale."""

    place: int
    methods: tuple[str, ...]
    source: int | None
    look: Look
    rule: ThresholdRule
    truth: bool = True
    region: bool = True
    alike: bool = False


class Scrubber:
    """The controls, the picture and the player.

    Every control is an attribute (``slider``, ``method``, ``source``, ``opacity``, ``rule``, ...) whose value may be
    set from code as well. ``box`` is the widget that is displayed.
    """

    def __init__(self, reels: Sequence[Reel], rule: str = "top_half") -> None:
        import ipywidgets as ipw

        self.reels = list(reels)
        self._jpeg = functools.lru_cache(maxsize=KEPT)(self._painted)
        self._flac = functools.lru_cache(maxsize=256)(self._recorded)
        self._busy, self._last, self._ahead = False, 1, None
        threshold_rule(rule)
        self._make_picture_and_player(ipw)
        self._make_choices(ipw)
        self._make_heat_and_region(ipw, rule)
        self.box = self._laid_out(ipw)
        self._load_reel()
        self.clips.observe(self._load_reel, "value")
        self.rule.observe(self._load_rule, "value")
        for control in (self.order, self.method, self.source):
            control.observe(self._sort, "value")
        for control in (
            self.slider, self.opacity, self.colour_map, self.alike, self.threshold, self.region, self.truth,
        ):  # fmt: skip
            control.observe(self._show, "value")

    def _repr_mimebundle_(self, **asked: Any) -> dict[str, Any]:
        """Return the widget, and a small picture for readers without a kernel."""
        still = base64.b64encode(as_jpeg(self._saved(), 72)).decode()
        return {**self.box._repr_mimebundle_(**asked), "image/jpeg": still}

    def _saved(self) -> UInt8[np.ndarray, "height width 3"]:
        reel, view = self.reel, self.view
        chosen = {
            "clips": reel.label, "method": ", ".join(map(method_name, view.methods)), "region": view.rule.name,
        }  # fmt: skip
        if reel.read(view.place).truth is None:
            legend = ["heat: where it hears something"]
        else:
            legend = [
                "heat: where it hears the source; solid line: where it is",
                "dashed line: the region cut from the heat",
            ]
        choices = [" \u00b7 ".join(f"{name}: {value}" for name, value in chosen.items() if value), *legend]
        caption = reel.read(view.place).caption
        return saved_picture(self.still(600), self.slider.value, len(reel), choices, caption)

    @property
    def reel(self) -> Reel:
        """The scenes that are shown."""
        return self.reels[self.clips.value]

    @property
    def view(self) -> View:
        """What the controls ask for."""
        methods = tuple(self.reel.maps) if self.method.value == EVERY else (self.method.value,)
        name = "top_half" if self.rule.value == "top_half" else f"{self.rule.value}({self.threshold.value:g})"
        look = Look(self.opacity.value, self.colour_map.value)
        source = None if self.source.value == EVERY else self.source.value
        place = int(self._places[self.slider.value - 1])
        return View(
            place, methods, source, look, threshold_rule(name), self.truth.value, self.region.value, self.alike.value
        )

    def still(self, widest: int = 800, **changes: Any) -> UInt8[np.ndarray, "height width 3"]:
        """Return the picture of the present view, or of one that differs from it: ``still(place=7, region=False)``."""
        return self._paint(self.clips.value, replace(self.view, **changes), widest)

    def sheet(
        self, places: Sequence[int], panel: int = 120, across: int = 8, **changes: Any
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return the scenes at ``places`` below each other, a row a source: the frame, then every method's map.

        ``panel`` is a map's width in pixels; ``changes`` as in ``still``. Where there are more methods than
        ``across``, the sheet goes on below itself, the frames again, with as many methods in each part as will do.
        """
        names = list(self.reel.maps)
        each = -(-len(names) // -(-len(names) // across))
        parts = [self._part(names[k : k + each], places, panel, changes) for k in range(0, len(names), each)]
        widest = max(part.shape[1] for part in parts)
        beside = [np.full((len(part), widest - part.shape[1], 3), STAGE, np.uint8) for part in parts]
        return np.concatenate([np.concatenate(pair, axis=1) for pair in zip(parts, beside, strict=True)])

    def _part(
        self, methods: Sequence[str], places: Sequence[int], panel: int, changes: Mapping[str, Any]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """Return the part of a sheet that shows these methods."""
        reel, rows = self.reel, []
        for place in places:
            scene = reel.read(place)
            view = replace(self.view, **{"region": False, **changes, "place": place})
            alone = {method: replace(view, methods=(method,)) for method in methods}
            for source, name in enumerate(scene.names):
                seen = [self._panel(reel, scene, alone[method], method, source) for method in methods]
                frame = replace(seen[0], heat=None, name=readable(name), note="")
                rows.append([frame, *(replace(map_, name="") for map_ in seen)])
        picture = paint(rows, self.view.look, widest=(panel + GAP) * len(rows[0]) - GAP, highest=10**6, band=BAND)
        return headed(picture, ["sounding", *map(method_name, methods)])

    # -------------------------------------------------------------------------------------------------- the controls

    def _make_picture_and_player(self, ipw: Any) -> None:
        self.picture = ipw.Image(format="jpeg", layout=ipw.Layout(max_width="100%", margin="auto"))
        self.slider = ipw.IntSlider(1, min=1, max=1, layout=ipw.Layout(width="auto"))
        self.play = ipw.Play(min=1, max=1, interval=900, show_repeat=True)
        self.link = ipw.jslink((self.play, "value"), (self.slider, "value"))
        self.audio = ipw.Audio(format="flac", autoplay=False, loop=False, layout=ipw.Layout(width="100%"))
        self.caption, self.strip, self.scores = ipw.HTML(), ipw.HTML(), ipw.HTML()

    def _make_choices(self, ipw: Any) -> None:
        """Make the controls of what is shown: which clips, whose maps, which source, in what order."""
        labels = [(reel.label, number) for number, reel in enumerate(self.reels)]
        several = [number for number, reel in enumerate(self.reels) if reel.sources > 1]
        orders = [("as in the data set", False), ("lowest AP first", True)]
        self.clips = _named(ipw.Dropdown, "Clips", options=labels, value=several[0] if several else 0)
        self.method = _named(ipw.Dropdown, "Method", options=[EVERY])
        self.source = _named(ipw.ToggleButtons, "Source", options=[EVERY], tooltip="which of the sources to look at")
        self.source.style.button_width = "auto"
        self.order = _named(ipw.Dropdown, "Order", options=orders)

    def _make_heat_and_region(self, ipw: Any, rule: str) -> None:
        """Make the controls of how it is shown: the heat's look, the rule that cuts a region, the outlines."""

        def tick(name: str, value: bool) -> ipw.Checkbox:
            return ipw.Checkbox(value, description=name, indent=False, layout=ipw.Layout(width="auto"))

        kind, _, number = rule.rstrip(")").partition("(")
        rules = [(label, name) for label, (name, _) in RULES.items()]
        cut = {"min": 0, "max": 1, "step": 0.05, "disabled": kind == "top_half"}
        self.opacity = _named(ipw.FloatSlider, "Opacity", value=0.75, min=0, max=1, step=0.05)
        self.colour_map = _named(ipw.Dropdown, "Colours", options=COLOUR_MAPS)
        self.alike = tick("one scale for all maps", False)
        self.rule = _named(ipw.Dropdown, "Rule", options=rules, value=kind.strip())
        self.threshold = _named(ipw.FloatSlider, "Cut at", value=float(number or 0), **cut)
        self.region, self.truth = tick("region", True), tick("true outline", True)

    # ------------------------------------------------------------------------------------------ what the controls do

    def _load_reel(self, _: Any = None) -> None:
        """Fit the controls to the chosen scenes."""
        reel, self._busy = self.reel, True
        scene, video = reel.read(0), bool(reel.seconds)
        several = [("all, side by side", EVERY)] if len(reel.maps) > 1 else []
        self.method.options = [(method_name(name), name) for name in reel.maps] + several
        names = scene.names if video else [str(number + 1) for number in range(reel.sources)]
        self.source.options = [("all", EVERY), *((name, number) for number, name in enumerate(names))]
        self.source.value = EVERY
        self.source.layout.display = "" if reel.sources > 1 else "none"
        self.order.layout.display = self.truth.layout.display = "none" if scene.truth is None else ""
        self.audio.layout.display = "none" if reel.sound is None and scene.sound is None else ""
        if video:
            step = (reel.seconds[-1] - reel.seconds[0]) / max(1, len(reel) - 1)
            self.play.interval = max(40, round(1000 * step))
            if reel.sound is not None:
                self.audio.format, self.audio.value = "mpeg", player(reel.sound, reel.rate).data
        self.slider.value = self.play.value = 1
        self.slider.max = self.play.max = len(reel)
        self._busy = False
        self._sort()

    def _load_rule(self, _: Any) -> None:
        self._busy = True
        self.threshold.disabled = self.rule.value == "top_half"
        self.threshold.value = dict(RULES.values())[self.rule.value]
        self._busy = False
        self._show()

    def _sort(self, _: Any = None) -> None:
        """Put the scenes in order, and under the slider draw how well each is located."""
        if self._busy:
            return
        reel, self._places = self.reel, np.arange(len(self.reel))
        view = self.view
        chosen = slice(None) if view.source is None else [view.source]
        if reel.seconds:
            self.strip.value = "" if reel.sound is None else waveform(reel.sound)
        elif (floor := reel.ap(FLOOR)) is not None:
            ap = np.mean([reel.ap(method)[:, chosen] for method in view.methods], axis=(0, 2))
            if self.order.value:
                self._places = np.argsort(np.nan_to_num(ap, nan=2), kind="stable")
            self.strip.value = score_bars(ap[self._places], floor[:, chosen].mean(axis=1)[self._places])
        self._show()

    def _show(self, _: Any = None) -> None:
        """Show what the controls ask for: the picture first, since the eye waits for it."""
        if self._busy:
            return
        reel, view = self.reel, self.view
        self.picture.value = self._jpeg(self.clips.value, view)
        scene = reel.read(view.place)
        self.caption.value = f'<div class="avnb-caption">{html.escape(scene.caption)}</div>'
        self.scores.value = self._table(reel, view)
        if scene.sound is not None:
            self.audio.format, self.audio.value = "flac", self._flac(self.clips.value, view.place)
        self._paint_ahead(view)

    def _paint_ahead(self, view: View) -> None:
        """Paint the picture that comes next in the direction of the last step, once the kernel has nothing to do."""
        if self._ahead is not None:
            self._ahead.cancel()
        position, step = self.slider.value, 1 if self.slider.value >= self._last else -1
        self._last = position
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # not in a kernel
            return
        if 1 <= position + step <= len(self.reel):
            following = replace(view, place=int(self._places[position + step - 1]))
            self._ahead = loop.call_later(IDLE, self._jpeg, self.clips.value, following)

    # ------------------------------------------------------------------------------------------------ what is shown

    def _painted(self, number: int, view: View) -> bytes:
        return as_jpeg(self._paint(number, view), 88, subsampling=0)

    def _paint(self, number: int, view: View, widest: int = 800) -> UInt8[np.ndarray, "height width 3"]:
        """Paint a panel a source and method, in the rows and columns that make them largest."""
        reel, scene = self.reels[number], self.reels[number].read(view.place)
        shown = range(reel.sources) if view.source is None else [view.source]
        panels = [[self._panel(reel, scene, view, method, source) for source in shown] for method in view.methods]
        frame = scene.frames.shape[1:3]
        highest = widest * 3 // 4 if len(view.methods) == 1 else widest * 9 // 8
        if len(view.methods) == 1 or len(shown) == 1:
            ways = _lines([[panel] for row in panels for panel in row])
        else:
            ways = _lines(panels)
        panels = max(ways, key=lambda way: panel_size(frame, len(way), max(map(len, way)), widest, highest))
        return paint(panels, view.look, widest, highest)

    def _panel(self, reel: Reel, scene: Scene, view: View, method: str, source: int) -> Panel:
        ends = [edge.item() for edge in reel.maps[method].aminmax()] if view.alike else []
        heat = scaled(reel.maps[method][view.place, source].numpy(), *ends)
        ap = reel.ap(method)
        score = "" if ap is None else f"AP {100 * ap[view.place, source]:.0f}"
        note = score if len(view.methods) == 1 else method_name(method)
        cut = outlines(reel.region(method, view.place, view.rule)[0][source].numpy()) if view.region else []
        return Panel(
            scene.frames[source % len(scene.frames)], heat, readable(scene.names[source]),
            note, reel.colours[scene.names[source]],
            scene.borders[source] if view.truth else [], cut,
        )  # fmt: skip

    def _recorded(self, number: int, place: int) -> bytes:
        """Return a clip's sound as FLAC, which is encoded in 2 ms (MP3 takes 40)."""
        import soundfile

        reel = self.reels[number]
        sound = reel.read(place).sound
        file = io.BytesIO()
        soundfile.write(file, sound / max(1.0, np.abs(sound).max()), reel.rate, format="FLAC", subtype="PCM_16")
        return file.getvalue()

    def _table(self, reel: Reel, view: View) -> str:
        """Return the scores of what is shown, with a mark where the centre of the picture alone would stand."""
        from matplotlib.colors import to_hex

        scene = reel.read(view.place)
        if scene.truth is None:
            return ""
        shown = range(reel.sources) if view.source is None else [view.source]
        floors = (reel.region(FLOOR, view.place, view.rule)[1], reel.ap(FLOOR)[view.place])
        lines = []
        for method in view.methods:
            found = (reel.region(method, view.place, view.rule)[1], reel.ap(method)[view.place])
            for source in shown:
                colour = to_hex(reel.colours[scene.names[source]])
                pairs = zip(found, floors, strict=True)
                cells = "".join(score_bar(float(value[source]), float(floor[source]), colour) for value, floor in pairs)
                about = f"<td>{html.escape(method_name(method))}</td>" if len(reel.maps) > 1 else ""
                name = html.escape(readable(scene.names[source]))
                lines.append(f'<tr>{about}<td><i style="background:{colour}"></i>{name}</td>{cells}</tr>')
        method = "<th>method</th>" if len(reel.maps) > 1 else ""
        head = f"<tr>{method}<th>source</th><th>IoU, {html.escape(view.rule.name)}</th><th>AP</th></tr>"
        return f'<table class="avnb-scores">{head}{"".join(lines)}</table>'

    def _laid_out(self, ipw: Any) -> "ipywidgets.VBox":
        """Return picture, time line, player and scores on the left, and the controls beside them."""

        def group(title: str, *inside: Any) -> ipw.VBox:
            return ipw.VBox([ipw.HTML(f'<div class="avnb-title">{title}</div>'), *inside])

        stage = ipw.VBox([self.picture]).add_class("avnb-stage")
        track = ipw.VBox([self.strip, self.slider], layout=ipw.Layout(flex="1 1 auto", margin="0 0 0 10px"))
        track.add_class("avnb-track")
        self.play.layout.align_self = "flex-end"
        left = ipw.VBox(
            [stage, self.caption, ipw.HBox([self.play, track]), self.audio, self.scores],
            layout=ipw.Layout(flex="1 1 460px", min_width="0", overflow="hidden"),
        )
        right = ipw.VBox(
            [
                group("what", self.clips, self.method, self.source, self.order),
                group("heat", self.opacity, self.colour_map, self.alike),
                group("region", self.rule, self.threshold, ipw.HBox([self.region, self.truth])),
                ipw.HTML(asset("scrubber_legend.html")),
            ],
            layout=ipw.Layout(flex="0 0 236px"),
        )
        both = ipw.HBox([left, right], layout=ipw.Layout(flex_flow="row wrap", grid_gap="0 18px"))
        return ipw.VBox([ipw.HTML(f"<style>{asset('scrubber.css')}</style>"), both]).add_class("avnb-scrubber")


def _lines(groups: Sequence[Sequence[Panel]]) -> Iterator[list[list[Panel]]]:
    """Yield the rows of panels that keep each group together, its panels beside or below each other."""
    for each in range(1, len(groups) + 1):
        lines = [groups[start : start + each] for start in range(0, len(groups), each)]
        yield [[panel for group in line for panel in group] for line in lines]
        yield [list(row) for line in lines for row in zip(*line, strict=True)]


def _named(kind: Any, name: str, **options: Any) -> Any:
    """Return a control of ``kind`` with its name to its left."""
    return kind(description=name, layout={"width": "auto"}, style={"description_width": "56px"}, **options)


def scrub(
    store: Store, runs: Run | Sequence[Run] | Mapping[str, Run], rule: str = "top_half", clips: int = 200
) -> Scrubber:
    """Return a scrubber over the maps that runs have saved when they were judged. Introduced in 10_heatmaps.ipynb.

    Runs are named by their method, those of one method by their folder, or by the keys of a mapping. Of each kind of
    test mixture (solos, duets side by side, ...) all that every run has are shown, at most ``clips`` at even steps.
    ``rule`` is the threshold rule to begin with. Scores are those of ``avnb.evaluation``.

    Raises:
        RunError: a run without maps, or with maps of other data; runs that share no mixture.
    """
    return Scrubber(reels_of(store, runs, clips), rule)


def scrub_frames(
    frames: Frames,
    maps: Float[Tensor, "_ sources _ _"] | Mapping[str, Float[Tensor, "_ sources _ _"]],
    names: Sequence[str],
    seconds: Sequence[float] | Float[np.ndarray, " _"],
    waveform: Float[np.ndarray, " time"] | None,
    rate: int,
    rule: str = "min_max(0.5)",
) -> Scrubber:
    """Return a scrubber over a video's frames and maps in the course of time.

    ``frames`` are RGB, uint8 [height, width, 3], and may be read only when they are asked for. ``names`` are those of
    the sources, ``seconds`` the frames' times, ``waveform`` the whole sound, mono in -1..1 at ``rate`` Hz (one that MP3
    has), None without sound. ``maps`` of several methods come as a mapping. All maps have one scale, so that heat
    fades where nothing sounds. Raises DataError where the lengths differ.
    """
    of = dict(maps) if isinstance(maps, Mapping) else {"": maps}
    lengths = {len(frames), len(seconds), *(len(value) for value in of.values())}
    if len(lengths) > 1 or 0 in lengths or any(value.shape[1] != len(names) for value in of.values()):
        shapes = ", ".join(str(tuple(value.shape[:2])) for value in of.values())
        raise DataError(
            f"{len(frames)} frames, {len(seconds)} times and {len(names)} names do not fit maps of (frames, sources) "
            f"{shapes}: there must be a map for every frame and source, and at least one frame."
        )
    names, seconds = tuple(names), tuple(map(float, seconds))

    def read(place: int) -> Scene:
        return Scene(np.asarray(frames[place])[None], names, f"{seconds[place]:.2f} s of {seconds[-1]:.2f} s")

    colours = class_colours(names)
    scrubber = Scrubber([Reel("the video", of, read, colours, rate, seconds, waveform)], rule)
    scrubber.alike.value = True
    return scrubber
