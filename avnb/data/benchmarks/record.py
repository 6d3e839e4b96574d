"""What a record of a benchmark holds: what is judged there, how, and by which names the papers print it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from avnb.config import did_you_mean
from avnb.errors import SettingsError

# The subset of test clips in which nothing of the picture sounds: they have a sound and no place. What a method states
# about them is judged with the others (SLAVC).
SILENT = "silent"

Geometry = Literal["single", "one_frame", "side_by_side", "separate", "grid"]

# How each paper makes a map binary, in the notation of avnb.metrics.localization.threshold_rule. DSOL's rule differs
# from subset to subset, OneAVM's is inferred.
RULES = {"mix_and_localize": "min_max(0.4)", "ez_vsl": "top_half", "avgn": "top_half", "one_avm": "top_half"}


@dataclass(frozen=True)
class Protocol:
    """How the papers judge one subset of a benchmark.

    ``sources`` sound in a test mixture. ``geometry``: "single" is one source in its frame; "one_frame" all sources in
    one real frame; "side_by_side" the sources' frames joined (two of 224 x 224 become height 224, width 448);
    "separate" each source on its own frame; "grid" four frames as 2x2, two of them sounding. The last three are made
    from single clips, unless the folder holds the mixtures themselves (``composed``). ``iou_at`` is the threshold of
    the headline IoU@t (one source) or CIoU@t. ``clips`` is the published test size, None where there is none.
    ``papers`` (modules of ``avnb.papers``) judge it; DSOL cuts its maps by ``dsol_rule``. ``published_as`` are the
    subset's names in their tables, ``also`` what they print there beside the metrics of all protocols.

    ``parts`` are the subsets of a prepared folder whose clips are judged, where they are not of the subset's own name.
    ``boxes`` are how many sounding objects a clip has, at least and at most (0: any number). ``together``: clips of one
    picture, each with a sound of its own, also count as found where all of them are (IIoU).
    """

    subset: str
    sources: int
    geometry: Geometry
    iou_at: float
    clips: int | None
    truth: Literal["box", "mask", "consensus"]
    papers: tuple[str, ...]
    published_as: tuple[str, ...]
    dsol_rule: str = "fraction_of_max(0.1)"
    also: tuple[str, ...] = ()
    composed: bool = False
    parts: tuple[str, ...] = ()
    boxes: tuple[int, int] = (1, 0)
    together: bool = False

    @property
    def threshold_rules(self) -> Mapping[str, str]:
        """How each paper makes a map binary."""
        return {paper: RULES.get(paper, self.dsol_rule) for paper in self.papers}

    @property
    def clip_by_clip(self) -> bool:
        """Whether what is judged are clips of a prepared folder as they are, and no mixtures made of them."""
        return self.composed or self.geometry in ("single", "one_frame")

    @property
    def asked_in(self) -> str:
        """In which geometry it is judged here: a mixture that is kept as a clip is one frame."""
        return "one_frame" if self.composed else self.geometry

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is judged here, by our names: of every protocol, and ``also``."""
        usual = ("AP", f"IoU@{self.iou_at}") if self.sources == 1 else ("CAP", "PIAP", f"CIoU@{self.iou_at}")
        return (*usual, "AUC", *self.also)


@dataclass(frozen=True)
class Benchmark:
    """A data set that the papers train and test on.

    ``classes`` is None where the list comes with the prepared folder; ``note`` says why. ``rate`` (Hz) and ``seconds``
    are the sound a model hears, None where the papers disagree. ``papers`` are modules of ``avnb.papers``. ``note`` is
    what is known to be wrong or missing.

    ``trained_on`` is the benchmark with the training clips, where this one has none. ``separated_as`` is how OneAVM
    prints the separation of its clips, "" where it does not. ``training_classes`` says whether the classes of the test
    clips are those that are trained on, so that a mixture's sources can be told apart by them.
    """

    name: str
    title: str
    classes: tuple[str, ...] | None
    protocols: tuple[Protocol, ...]
    rate: int | None
    seconds: float | None
    papers: tuple[str, ...]
    note: str
    trained_on: str = ""
    separated_as: str = ""
    training_classes: bool = True

    def protocol(self, subset: str) -> Protocol:
        """Return the protocol of ``subset``; raise SettingsError naming the subsets there are."""
        found = {protocol.subset: protocol for protocol in self.protocols}
        if subset not in found:
            there = f"It has: {', '.join(found)}." if found else "The papers only train on it."
            raise SettingsError(f'{self.title} has no subset "{subset}".{did_you_mean(subset, found)} {there}')
        return found[subset]
