"""One file per method: its network, its objective, its maps. A method is registered by its line here."""

from avnb.models.avgn import AVGN as AVGN
from avnb.models.base import Method, Query, Separates, Stage
from avnb.models.baselines.attention10k import Attention10k as Attention10k
from avnb.models.baselines.ccol import CCoL as CCoL
from avnb.models.baselines.coarse_to_fine import CoarseToFine as CoarseToFine
from avnb.models.baselines.dmc import DMC as DMC
from avnb.models.baselines.hard_pos import HardPos as HardPos
from avnb.models.baselines.lvs import LVS as LVS
from avnb.models.baselines.mp_net import MPNet as MPNet
from avnb.models.baselines.slavc import SLAVC as SLAVC
from avnb.models.baselines.sound_of_pixels import SoundOfPixels as SoundOfPixels
from avnb.models.dsol import DSOL as DSOL
from avnb.models.ez_vsl import EZVSL as EZVSL
from avnb.models.mix_and_localize import MixAndLocalize as MixAndLocalize
from avnb.models.one_avm import OneAVM as OneAVM
from avnb.models.ots import OTS as OTS

# The methods that the papers are about first, those that their tables compare with (baselines/) behind them.
METHODS: dict[str, type[Method]] = {
    found.SETTINGS.METHOD: found
    for found in sorted(
        [kind for kind in list(vars().values()) if isinstance(kind, type) and issubclass(kind, Method)],
        key=lambda kind: ".baselines." in kind.__module__,
    )
    if found is not Method
}
BASELINES = tuple(name for name, method in METHODS.items() if ".baselines." in method.__module__)

__all__ = ["BASELINES", "METHODS", "Method", "Query", "Separates", "Stage"]
