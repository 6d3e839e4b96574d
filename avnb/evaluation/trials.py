"""What a method is asked: which clips, how many sources, how their frames lie, and when a pixel counts as found.

Introduced in notebooks/04_avgn.ipynb.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from avnb.data.benchmarks import BENCHMARKS
from avnb.data.clips import Recipe
from avnb.data.mixing import draw_partners
from avnb.data.store import Store
from avnb.errors import DataError


@dataclass(frozen=True)
class Trial:
    """One question that is put to every method alike.

    ``subset`` names the clips; ``limit`` (0: all) how many mixtures at most, drawn evenly. With ``silence`` the maps of
    the classes that do not sound are judged as well, where the sources are in one picture.
    """

    subset: str
    sources: int = 1
    geometry: str = "single"
    threshold_rule: str = "top_half"
    split: str = "test"
    limit: int = 0
    silence: bool = False

    @property
    def key(self) -> str:
        """The name of its maps among a run's: ``duet-side_by_side``."""
        return f"{self.subset}-{self.geometry}"

    @classmethod
    def of_key(cls, key: str, sources: int) -> "Trial":
        """Return the trial whose maps are called ``key``; a subset's name may hold hyphens, a geometry's has none.

        >>> Trial.of_key("my-own-duets-side_by_side", 2).subset
        'my-own-duets'
        """
        subset, _, geometry = key.rpartition("-")
        return cls(subset, sources, geometry)

    def mixtures(self, store: Store) -> Int[np.ndarray, "mixtures clips"]:
        """Return the test mixtures: the same for every method and seed."""
        recipe = self.recipe
        chosen = pool = self.clips(store)  # partners, too, have ground truth and one class
        if len(chosen) == 0:
            raise DataError(f'"{store.name}" has no {self.split} clips with ground truth for {self}.')
        if self.limit:
            chosen = chosen[np.linspace(0, len(chosen) - 1, min(self.limit, len(chosen))).round().astype(int)]
        generator = np.random.default_rng([2023, self.sources])
        return draw_partners(store, chosen, pool, recipe.clips, generator, recipe.distinct_classes)

    def clips(self, store: Store) -> Int[np.ndarray, " clips"]:
        """Return the clips that can be judged: with ground truth, and as many sounding classes as are asked for."""
        mixed = self.recipe.clips > 1
        chosen = store.select(self.split, "solo" if mixed else self.subset)
        chosen = chosen[store.has_truth(chosen)]
        return chosen[store.labels[chosen].sum(axis=1) == (1 if mixed else self.sources)]

    @property
    def in_one_picture(self) -> bool:
        """Whether several sources are seen together, so that their maps can be joined (PIAP)."""
        return self.sources > 1 and self.geometry != "separate"

    @property
    def tiles(self) -> tuple[int, int]:
        """How many frames are joined to the picture, (rows, columns): (1, 1) where it is one frame."""
        return {"side_by_side": (1, self.sources), "grid": (2, 2)}.get(self.geometry, (1, 1))

    @property
    def counts_silence(self) -> bool:
        """Whether there is NSA."""
        return self.geometry == "grid" or (self.silence and self.in_one_picture)

    @property
    def recipe(self) -> Recipe:
        """How the mixtures are made."""
        return Recipe(self.sources, self.geometry)


def trials_of(store: Store, limit: int = 0) -> list[Trial]:
    """Return the trials that a benchmark's clips allow: its own subsets, and duets and trios side by side."""
    subsets = {subset for split, subset in store.count() if split == "test"}
    trials = [Trial(name, limit=limit) for name in ("solo", "photo", "test") if name in subsets]
    if "solo" in subsets:
        trials += [Trial(name, n, "side_by_side", limit=limit) for name, n in (("duet", 2), ("trio", 3))]
    if "duet" in subsets:
        trials.append(Trial("duet", 2, "one_frame", limit=limit))

    def allowed(trial: Trial) -> bool:
        heard = int(store.labels[trial.clips(store)].any(axis=0).sum())  # classes; none without ground truth
        return heard >= (trial.sources if trial.recipe.clips > 1 else 1)

    return [trial for trial in trials if allowed(trial)]


def synthetic_trial(store: Store, limit: int = 0) -> Trial:
    """Return the trial of 2x2 scenes made from the test solos, of which two sound and two are silent (DSOL, 4.1).

    It costs more than the others (a map of every class is judged) and is therefore none of ``trials_of``. Raises
    DataError where the solos have fewer than the four classes that a scene takes.
    """
    trial = Trial("synthetic", 2, "grid", published_rule(store.name, "synthetic", "dsol"), limit=limit)
    heard = int(store.labels[trial.clips(store)].any(axis=0).sum())
    if heard < trial.recipe.clips:
        raise DataError(
            f'"{store.name}" cannot provide 2x2 scenes: they take four classes, and its test solos with ground truth '
            f"have {heard}."
        )
    return trial


def duet_trial(limit: int = 0, sources: int = 2) -> Trial:
    """Return the trial that separation is judged on: sums of solo clips, each source on its own frame."""
    return Trial("duet", sources, "separate", threshold_rule="none", limit=limit)


def published_rule(benchmark: str, subset: str, paper: str) -> str:
    """Return the threshold rule with which ``paper`` judged the subset; "top_half" where it names none."""
    if benchmark not in BENCHMARKS:
        return "top_half"
    rules = {protocol.subset: protocol.threshold_rules for protocol in BENCHMARKS[benchmark].protocols}
    return rules.get(subset, {}).get(paper, "top_half")


def headline_iou(benchmark: str, subset: str) -> float:
    """Return the IoU at which the papers count a clip of the subset as found; 0.5 where no paper judged it."""
    if benchmark not in BENCHMARKS:
        return 0.5
    return {protocol.subset: protocol.iou_at for protocol in BENCHMARKS[benchmark].protocols}.get(subset, 0.5)
