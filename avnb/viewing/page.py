"""Parts of HTML pages: the scripts and styles of assets/, a page's mark, bars of scores, the outline of a sound."""

import functools
import hashlib
import importlib.resources
import re

import numpy as np
from jaxtyping import Float


@functools.cache
def asset(name: str) -> str:
    """Return the text of a script, a style or a page that lies in avnb/viewing/assets."""
    return importlib.resources.files("avnb.viewing").joinpath("assets", name).read_text(encoding="utf-8")


def filled(name: str, **values: str) -> str:
    """Return an asset in which each word that names one of ``values`` (in capitals) is that value."""
    return re.sub("|".join(values), lambda word: values[word[0]], asset(name))


def page_mark(kind: str, content: str) -> str:
    """Return a name for an element that no other page shares: the same in every run, since it hashes the content."""
    return kind + hashlib.sha256(content.encode()).hexdigest()[:8]


def score_bar(value: float, floor: float, colour: str) -> str:
    """Return a table's cell with a bar of ``value`` in 0..1, its percentage, and a mark at ``floor``."""
    mark = f'<u style="left:{100 * floor:.1f}%" title="centre: {100 * floor:.0f}"></u>'
    bar = f'<div class="avnb-bar"><b style="width:{100 * value:.1f}%;background:{colour}"></b>{mark}</div>'
    return f'<td style="width:36%">{bar}{100 * value:.0f}</td>'


def score_bars(values: Float[np.ndarray, " scenes"], floors: Float[np.ndarray, " scenes"]) -> str:
    """Return a bar a scene, as high as its AP, pale where the centre of the picture does better."""
    bars = "".join(
        f'<rect x="{x + 0.1:.1f}" y="{1 - value:.3f}" width=".8" height="{value:.3f}" '
        f'opacity="{0.9 if value >= floor else 0.35}"/>'
        for x, (value, floor) in enumerate(zip(np.nan_to_num(values), np.nan_to_num(floors), strict=True))
    )
    return svg(f'<g fill="#0072b2">{bars}</g>', len(values), "AP of each clip; pale: the centre does better")


def waveform(sound: Float[np.ndarray, " time"], columns: int = 400) -> str:
    """Return a sound's outline."""
    peaks = np.array([np.abs(part).max(initial=0) for part in np.array_split(sound, columns)])
    peaks = np.maximum(0.02, peaks / max(1e-6, peaks.max()))
    bars = "".join(
        f'<rect x="{x}" y="{(1 - peak) / 2:.3f}" width=".8" height="{peak:.3f}"/>' for x, peak in enumerate(peaks)
    )
    return svg(f'<g fill="#0072b2" opacity=".8">{bars}</g>', columns, "the sound")


def svg(inside: str, width: int, title: str) -> str:
    box = f'viewBox="0 0 {width} 1" preserveAspectRatio="none"'
    return f'<svg class="avnb-strip" {box}><title>{title}</title>{inside}</svg>'
