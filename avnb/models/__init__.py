"""One file per method: its network, its objective, its maps."""

from avnb.models.avgn import AVGN
from avnb.models.method import Method, Stage

METHODS: dict[str, type[Method]] = {"avgn": AVGN}

__all__ = ["METHODS", "Method", "Stage"]
