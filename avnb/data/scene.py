"""SceneObject: what a clip's row says of an object. Nothing is imported here: reading a folder needs no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SceneObject:
    """An object of a clip: its class, its box (x0, y0, x1, y1 in 0..1 of the frame) and whether it sounds.

    ``share`` is below 1 where annotators disagree: boxes of a class add their shares up, to 1 at most.
    """

    label: str
    xyxy: tuple[float, float, float, float]
    sounding: bool = True
    share: float = 1.0
