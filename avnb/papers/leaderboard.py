"""What is printed of several sources at once, each number with the protocol under which its paper's code counts.

No table of one paper, but what later papers put side by side; notebook 14 puts two squares beside them.
"""

from typing import NamedTuple


class Printed(NamedTuple):
    """A method's "CIoU@0.3" and AUC, in percent, and whose protocol it is (the names of avnb/metrics/protocols.py)."""

    benchmark: str
    protocol: str
    method: str
    ciou: float
    auc: float
    note: str = ""


LEADERBOARD = (
    Printed("VGGSound-Duet", "frame-wise", "SCAV", 53.3, 32.0),
    Printed("VGGSound-Duet", "frame-wise", "AVGN", 26.2, 23.8, "each source on its own frame, the true class given"),
    Printed("VGGSound-Duet", "frame-wise", "Mix-and-Localize", 21.1, 20.5, "as AVGN prints it"),
    Printed("VGGSound-Duet", "frame-wise", "NoPrior", 18.1, 16.8, "run again by SCAV"),
    Printed("VGGSound-Duet", "source-wise", "OA-SSL", 55.2, 33.6),
    Printed("VGGSound-Duet", "source-wise", "NoPrior", 46.9, 29.2),
    Printed("VGGSound-Duet", "union", "GAR-SSL", 77.6, 45.8),
    Printed("MUSIC-Duet", "frame-wise", "SCAV", 47.1, 28.6),
    Printed("MUSIC-Duet", "source-wise", "OA-SSL", 45.9, 36.1),
    Printed("MUSIC-Duet", "source-wise", "NoPrior", 38.6, 30.1),
    Printed("MUSIC-Duet", "mean IoU", "T-VSL", 43.2, 35.9, "both class names are given"),
    Printed("MUSIC-Duet", "union", "GAR-SSL", 82.7, 53.2),
)
