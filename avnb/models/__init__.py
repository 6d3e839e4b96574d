"""One file per method: its network, its objective, its maps."""

from avnb.models.avgn import AVGN
from avnb.models.base import Method, Query, Separates, Stage
from avnb.models.dsol import DSOL
from avnb.models.ez_vsl import EZVSL
from avnb.models.mix_and_localize import MixAndLocalize
from avnb.models.one_avm import OneAVM
from avnb.models.ots import OTS

METHODS: dict[str, type[Method]] = {
    "avgn": AVGN,
    "dsol": DSOL,
    "ez_vsl": EZVSL,
    "mix_and_localize": MixAndLocalize,
    "one_avm": OneAVM,
    "ots": OTS,
}

__all__ = ["METHODS", "Method", "Query", "Separates", "Stage"]
