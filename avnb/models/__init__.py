"""One file per method: its network, its objective, its maps. A method is registered by its line here."""

from avnb.models.avgn import AVGN as AVGN
from avnb.models.base import Method, Query, Separates, Stage
from avnb.models.dsol import DSOL as DSOL
from avnb.models.ez_vsl import EZVSL as EZVSL
from avnb.models.mix_and_localize import MixAndLocalize as MixAndLocalize
from avnb.models.one_avm import OneAVM as OneAVM
from avnb.models.ots import OTS as OTS

METHODS: dict[str, type[Method]] = {
    found.SETTINGS.METHOD: found
    for found in list(vars().values())
    if isinstance(found, type) and issubclass(found, Method) and found is not Method
}

__all__ = ["METHODS", "Method", "Query", "Separates", "Stage"]
