"""Draw docs/architecture/*.svg: each method's networks in the quick preset, with the shapes of what passes for a clip.

``python tools/draw_architectures.py``. A lane for the sound, one for the picture, and what joins them. The tests run
the networks and compare the shapes.
"""

from html import escape
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "architecture"
WIDE, HIGH, GAP, TOP = 142, 46, 24, 30
SOUND = [("waveform", "66150", ""), ("LogMel", "1 x 64 x 128", "spectrogram"), ("SlimSound", "320", "listen")]
PICTURE = [("frame", "3 x 224 x 224", ""), ("FrozenLite, frozen", "112 x 14 x 14", "trunk")]
PROJECTED = ("LiteProjection", "128 x 14 x 14", "project_visual")

# A box is what stands there, the shape that leaves it and the attribute of the method whose output that is. The last
# entry of a drawing is a box beside: what it says, its shape, its attribute, its column and where its arrows go.
DRAWINGS = {
    "ez_vsl": (
        [*SOUND, ("Linear", "128", "project_audio")],
        [*PICTURE, PROJECTED],
        [("cosine, eq. 6", "14 x 14", ""), ("fusion, eq. 9", "1 x 14 x 14", "localize")],
        ("ImageNet, eqs. 7, 8", "1000 x 7 x 7", "objects", 5, "up"),
    ),
    "mix_and_localize": (
        [*SOUND, ("2 heads, Linear", "2 x 128", "hear")],
        [*PICTURE, PROJECTED],
        [("cosines (the maps)", "2 x 14 x 14", "localize"), ("walk, eqs. 1, 2, 4", "2 x 2", "")],
        None,
    ),
    "avgn": (
        [*SOUND, ("attention, eq. 2", "1 x 128", ""), ("Grouping, eq. 8", "11 x 128", "group_audio")],
        [*PICTURE, PROJECTED, ("attention, eq. 3", "128 x 14 x 14", ""),
         ("Grouping, eq. 8", "11 x 128", "group_visual")],
        [("gated cosine", "N x 14 x 14", "localize")],
        ("class tokens", "11 x 128", "", 3, "both"),
    ),
    "dsol": (
        [*SOUND, ("2 x Linear", "128", "project_audio")],
        [*PICTURE, ("Conv 3x3: f(v)", "256 x 14 x 14", "last_stage"),
         ("2 x Conv 1x1", "128 x 14 x 14", "project_visual")],
        [("area l, eq. 1", "14 x 14", "match"), ("s, eqs. 4, 5", "11 x 14 x 14", "class_maps")],
        ("dictionary, eq. 3", "11 x 256", "", 5, "up"),
    ),
    "one_avm": (
        [("waveform", "66150", ""), ("LogMel, 11025 Hz", "1 x 64 x 128", "spectrogram"), ("SlimSound", "320", "hear")],
        [*PICTURE, ("LiteProjection", "128 x 14 x 14", "look")],
        [("U-Net masks, eq. 4", "N x 64 x 128", "decoder"), ("masked, eq. 3", "N x 33075", "separate")],
        ("heads, cosine, eq. 1", "1 x 14 x 14", "localize", 3, "in"),
    ),
}  # fmt: skip


def draw(sound: list, picture: list, joined: list, beside: tuple | None) -> str:
    """Return the drawing: the sound's lane above, the picture's below, what joins them on the right."""
    columns = max(len(sound), len(picture)) + len(joined)
    width, lanes = GAP + columns * (WIDE + GAP), (TOP, TOP + 2 * (HIGH + GAP))
    middle, height = TOP + HIGH + GAP, TOP + 3 * (HIGH + GAP)
    parts = []

    def box(column: int, y: int, entry: tuple, colour: str) -> tuple[int, int]:
        x = GAP + column * (WIDE + GAP)
        parts.append(f'<rect x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="5" fill="{colour}" stroke="#555"/>')
        for line, text, style in ((18, entry[0], 'font-weight="bold"'), (36, entry[1].replace(" x ", " × "), "")):
            middle_of = x + WIDE / 2
            parts.append(f'<text x="{middle_of}" y="{y + line}" text-anchor="middle" {style}>{escape(text)}</text>')
        return x, y + HIGH // 2

    def arrow(start: tuple[int, int], end: tuple[int, int]) -> None:
        parts.append(f'<path d="M{start[0]} {start[1]} L{end[0] - 2} {end[1]}" stroke="#555" marker-end="url(#head)"/>')

    ends = []
    for lane, y, colour in ((sound, lanes[0], "#dbeaf7"), (picture, lanes[1], "#e3f1e4")):
        before = None
        for column, entry in enumerate(lane):
            x, centre = box(column, y, entry, colour)
            if before:
                arrow((before[0] + WIDE, before[1]), (x, centre))
            before = (x, centre)
        ends.append((before[0] + WIDE, before[1]))
    before = None
    for column, entry in enumerate(joined, start=max(len(sound), len(picture))):
        x, centre = box(column, middle, entry, "#fbe9d5")
        for start in ends if before is None else [(before[0] + WIDE, before[1])]:
            arrow(start, (x, centre))
        before = (x, centre)
    if beside:
        *entry, at, arrows = beside
        x, _ = box(at, middle if arrows == "both" else lanes[1], entry, "#f1e4f3")
        half = x + WIDE // 2
        if arrows == "up":
            arrow((half, lanes[1]), (half + 2, middle + HIGH + 2))
        elif arrows == "in":
            for start in ends:
                arrow(start, (x, lanes[1] + HIGH // 2))
        else:
            arrow((half, middle), (half + 2, lanes[0] + HIGH + 2))
            arrow((half, middle + HIGH), (half + 2, lanes[1] - 2))
    head = '<marker id="head" markerWidth="7" markerHeight="7" refX="6" refY="3.5" orient="auto">'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#222">\n'
        f'<defs>{head}<path d="M0 0 L7 3.5 L0 7 z" fill="#555"/></marker></defs>\n'
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n'
        f'<text x="{GAP}" y="18">sound</text><text x="{GAP}" y="{lanes[1] - 8}">picture</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for method, drawing in DRAWINGS.items():
        (FOLDER / f"{method}.svg").write_text(draw(*drawing), encoding="utf-8")
