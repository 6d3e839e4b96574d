"""DSOL: learn what sounds alone, then find it in a crowd (Hu et al., NeurIPS 2020).

https://arxiv.org/abs/2010.05466

Stage one, on solos: sound and picture are matched (eq. 1, OTS), the matching area cuts the object out of the picture
(eq. 2), k-means sorts the objects into a dictionary (eq. 3), and its clusters are labels that both networks learn to
name; localization and classification take turns. Stage two, on mixtures: the dictionary finds every object it knows
(eq. 4), the sounding area keeps those that are heard (eq. 5), and their shares (eq. 6) must be those that stage one's
sound network hears (eqs. 7-8). No class name is ever given; which cluster is which class is asked of the training
clips' labels for the evaluation alone.

Where the paper is silent or the released code differs, the setting says so:

- ``kl_direction`` "printed" is eq. 7's KL(p_v || p_a); the code has KL(p_a || p_v) ("released"). The code also divides
  by the number of clusters, and the paper's lambda of 0.5 belongs to that (``kl_reduction`` "mean"). In the quick
  preset L_c is the released direction, summed, and lambda is 0.1: with 11 classes 62 % of the mismatched scenes show
  one of the two that sound, so eq. 1 teaches the sounding area little about which instrument is silent.
- ``normalise`` clusters objects of unit length, as the code does; eq. 3 clusters them as they are.
- ``dilate`` lets each masked cell take its four neighbours with it, ``affine`` learns a scale and a shift of eq. 4's
  maps, ``quadrants`` calls every quarter of a mismatched 2x2 scene a mismatch, ``softmax_scale`` 3 sharpens the maps
  that are shown: all in the code and not in the paper. Eq. 4's maps have the scale of the features, which no equation
  fixes: as they are, what is heard faintly is shown as bright as what is heard well, and the quick preset takes 0.3.
- The paper trains stage two on synthetic scenes, then on duets, and judges each by its own weights. Here one network
  serves both: their batches take turns (``scenes`` "both"), or, in the quick preset, there are synthetic scenes only.
- p_a comes of "a well-trained audio event network", which here learns from the pseudo-labels of 880 solos: in a sum of
  two it names the louder one and misses the other. In the quick preset it also hears sums of two solos and shall give
  half to the cluster of each (``audio_examples`` "mixed"); the paper's way is "solos".
- Eq. 2 averages over the whole picture, so that what a small instrument leaves in the dictionary is short, and eq. 4
  prefers large ones. ``equal_entries`` makes all entries as long as their mean; false is eq. 4 as printed.
- The code's dictionary is older than the network that stage two begins with. Here each of its entries is the mean of
  the same cluster, seen by that network.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d, cross_entropy, kl_div, max_pool2d, normalize, one_hot

from avnb.config import setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import full_precision, rolled, widened
from avnb.errors import SettingsError
from avnb.metrics.clustering import k_means, nmi
from avnb.models.base import AS_DSOL, QUICK, Ablations, Examples, Phased, Query, Stage
from avnb.models.ots import OTS, OTSSettings, matching_loss

LOCALIZE, CLASSIFY, MATCH = range(3)  # what the network is learning
ABLATIONS: Ablations = {
    "table4": {f"lambda {value}": {"localization_weight": value} for value in (0.3, 0.5, 0.8, 1.0, 1.5)},
    "table5": {"alternating": {}, "without alternating": {"alternate": False}},
    "table6": {
        **{f"mask {value}, 11 clusters": {"mask_threshold": value} for value in (0.05, 0.03, 0.07)},
        **{f"mask 0.05, {count} clusters": {"mask_threshold": 0.05, "clusters": count} for count in (13, 20)},
    },
    "table7": {
        "Lc": {"localization_weight": 0.0, "product": False},
        "L1 and Lc": {"product": False},
        "L1 and Prod": {"consistency": False},
        "L1, Prod and Lc": {},
    },
    "table8": {"from scratch": {"pretrained": False}, "ImageNet": {}},
}
SCENES = {
    "grid": ("grid",), "side_by_side": ("side_by_side",), "both": ("grid", "side_by_side"),
    "duets": ("one_frame",), "grid_and_duets": ("grid", "one_frame"),
}  # fmt: skip


@dataclass(frozen=True)
class DSOLSettings(OTSSettings):
    """DSOL's settings; the defaults are the paper's, 0 means the preset's. Introduced in notebooks/05_dsol.ipynb."""

    METHOD: ClassVar[str] = "dsol"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 3, "class_epochs": 7, "match_epochs": 9, "mask_threshold": 0.3, "scenes": "grid",
            "audio_examples": "mixed", "localization_weight": 0.1, "kl_direction": "released", "kl_reduction": "sum",
            "softmax_scale": 0.3,
            **QUICK,
        },
        "paper": {
            "epochs": 15, "class_epochs": 3, "match_epochs": 6, "mask_threshold": 0.05, "scenes": "both",
            "audio_examples": "solos", "localization_weight": 0.5, "kl_direction": "printed", "kl_reduction": "mean",
            "softmax_scale": 1.0,
            **AS_DSOL,
        },
    }  # fmt: skip

    epochs: int = setting(0, low=0, high=100_000, doc="of localization in stage one; 0: the preset's")
    class_epochs: int = setting(0, low=0, high=1000, doc="of classification after each but the first; 0: the preset's")
    match_epochs: int = setting(0, low=0, high=100_000, doc="of stage two; 0: the preset's")
    alternate: bool = setting(True, doc="localization and classification take turns (Table 5); false: classify at last")
    clusters: int = setting(0, low=0, high=10_000, doc="K, the dictionary's size (Table 6); 0: the number of classes")
    mask_threshold: float = setting(0.0, low=0.0, high=1.0, doc="of an object's mask (Table 6); 0: the preset's")
    dilate: bool = setting(False, doc="each cell of a mask takes its four neighbours with it, as in the released code")
    audio_examples: str = setting(
        "", among=("solos", "mixed"), doc='what p_a is learnt from, "mixed": sums of two solos too; "": the preset\'s'
    )
    normalise: bool = setting(True, doc="cluster objects of unit length, as the released code; false: eq. 3")
    sources: int = setting(2, low=2, high=4, doc="sources in a mixture of stage two")
    scenes: str = setting("", among=tuple(SCENES), doc='of stage two; "duets" are real; "": preset\'s')
    consistency: bool = setting(True, doc="L_c of eq. 8 (Table 7)")
    product: bool = setting(True, doc="eq. 5's product with the sounding area (Table 7)")
    localization_weight: float = setting(
        -1.0, low=0.0, high=1000.0, doc="lambda of eq. 8 (Tables 4 and 7); -1: the preset's"
    )
    kl_direction: str = setting(
        "", among=("printed", "released"), doc='KL(p_v || p_a), or KL(p_a || p_v); "": the preset\'s'
    )
    kl_reduction: str = setting(
        "", among=("mean", "sum"), doc='of eq. 7 over the clusters; lambda 0.5 is of the mean; "": the preset\'s'
    )
    equal_entries: bool = setting(True, doc="the dictionary's entries are made equally long; false: eq. 4 as printed")
    affine: bool = setting(False, doc="learn a scale and a shift of eq. 4's maps, as the released code does")
    quadrants: bool = setting(False, doc="each quarter of a mismatched scene is a mismatch, as in the released code")
    softmax_scale: float = setting(
        0.0, low=0.0, high=100.0, doc="of the maps that are shown; the released code's is 3; 0: the preset's"
    )
    ablation: str = setting("", among=(*ABLATIONS, "all"), doc="whose rows are trained as well")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.consistency and self.localization_weight == 0:
            raise SettingsError("consistency = False and localization_weight = 0 leave stage two nothing to learn.")


class DSOL(Phased, OTS):
    """Discriminative sounding objects localization. Introduced in notebooks/05_dsol.ipynb.

    ``teacher`` is the network as it was when the clusters were last made: what it calls an object's cluster are the
    pseudo-labels, what its classifier hears is eq. 7's p_a, and its one map is stage one's localization.
    """

    SETTINGS = DSOLSettings
    CLASSES: ClassVar = ("oracle", "predicted")
    TAKES_SCENES: ClassVar = False  # its clusters are of solos
    KEEPS: ClassVar = "last"  # as the paper does: the validation AP does not see what stays bright in silence
    ABLATIONS: ClassVar = ABLATIONS
    FASTER: ClassVar = {"visual_class": 10.0, "audio_class": 10.0}  # as the released code: they begin anew each time

    def __init__(self, settings: DSOLSettings, classes: int) -> None:
        super().__init__(settings, classes)
        self.clusters = settings.clusters or classes
        self.visual_class = nn.Linear(self.channels, self.clusters)
        self.audio_class = nn.Linear(self.listen.channels, self.clusters)
        if settings.affine:
            self.map_scale, self.map_shift = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))
        self.enter(LOCALIZE)
        self.register_buffer("centres", torch.zeros(self.clusters, self.channels))  # of what k-means was given
        self.register_buffer("dictionary", torch.zeros(self.clusters, self.channels))  # d^k
        self.register_buffer("named", torch.zeros(classes, self.clusters))  # 1 where the cluster is of the class
        self.register_buffer("nmi", torch.zeros(max(1, settings.epochs - 1)))  # of each clustering, in 0..1
        self.register_buffer("clusterings", torch.tensor(0))
        teacher = copy.deepcopy(self).requires_grad_(False).eval()
        teacher.CLASSES = ("none",)  # its phase is never told: it localizes
        self.teacher = teacher

    def train(self, mode: bool = True) -> "DSOL":
        super().train(mode)
        if "teacher" in self._modules:
            self.teacher.eval()
        return self

    # -------------------------------------------------------------------------------------------------------- stage one

    def objects(
        self,
        heard: Float[Tensor, "batch heard"],
        seen: Float[Tensor, "batch seen rows columns"],
    ) -> Float[Tensor, "batch seen"]:
        """Return o, what is seen where the sound comes from (eq. 2): the mean over all positions, the others as 0.

        Where the whole area stays under the threshold, its best position is the mask.
        """
        area = torch.sigmoid(self.match(heard, seen))
        mask = (area > self.settings.mask_threshold) | (area == area.amax(dim=(1, 2), keepdim=True))
        if self.settings.dilate:
            mask = with_neighbours(mask)
        return (seen * mask[:, None]).mean(dim=(2, 3))

    def for_clustering(self, objects: Float[Tensor, "objects seen"]) -> Float[Tensor, "objects seen"]:
        """Return the objects as k-means is given them."""
        return normalize(objects, dim=1) if self.settings.normalise else objects

    def find_objects(self, batch: Batch) -> Float[Tensor, "batch seen"]:
        """Return the objects of a batch of solos."""
        return self.objects(self.hear(batch.mixture), self.see(batch.frames, batch.features))

    @torch.no_grad()
    def assign(self, batch: Batch) -> Int[Tensor, " batch"]:
        """Return y, the cluster whose centre is nearest to each clip's object (eq. 3)."""
        return torch.cdist(self.for_clustering(self.find_objects(batch)), self.centres).argmin(dim=1)

    def classification_loss(
        self,
        heard: Float[Tensor, "batch heard"],
        seen: Float[Tensor, "batch seen rows columns"],
        labels: Int[Tensor, " batch"],
        crowd: Float[Tensor, "batch heard"] | None = None,
    ) -> dict[str, Tensor]:
        """Both networks name the clip's cluster; without alternation they are left as they are.

        ``crowd`` is what is heard of each clip and the one before it at once: half of it is each's.
        """
        if not self.settings.alternate:
            heard, seen, crowd = heard.detach(), seen.detach(), None if crowd is None else crowd.detach()
        terms = {
            "class_audio": cross_entropy(self.audio_class(heard), labels),
            "class_visual": cross_entropy(self.visual_class(seen.mean(dim=(2, 3))), labels),
        }
        if crowd is not None:
            logits = self.audio_class(crowd)
            terms["class_crowd"] = (cross_entropy(logits, labels) + cross_entropy(logits, rolled(labels, 1))) / 2
        return {"total": sum(terms.values()), **terms}

    @torch.no_grad()
    def remember(self) -> None:
        """Make this network the teacher."""
        left = ("teacher.", "phase")
        own = {name: value for name, value in self.state_dict().items() if not name.startswith(left)}
        self.teacher.load_state_dict(own, strict=False)

    @torch.no_grad()
    def write_dictionary(self, objects: Float[Tensor, "objects seen"], labels: Int[Tensor, " objects"]) -> None:
        """Keep each cluster's mean as d^k, which is as long as objects are, and as k-means saw it."""
        # The means are taken here, in one order: sklearn's depend on its threads in their last bits.
        member = one_hot(labels, self.clusters).to(objects)
        share = (member / member.sum(dim=0).clamp_min(1)).T
        for network in (self, self.teacher):
            network.dictionary.copy_(share @ objects)
            network.centres.copy_(share @ self.for_clustering(objects))

    # -------------------------------------------------------------------------------------------------------- stage two

    def class_maps(
        self,
        heard: Float[Tensor, "batch heard"],
        seen: Float[Tensor, "batch seen rows columns"],
    ) -> Float[Tensor, "batch clusters rows columns"]:
        """Return s: where each cluster's object is seen (eq. 4) and something sounds (eq. 5)."""
        entries = self.dictionary.to(seen.dtype)
        if self.settings.equal_entries:
            length = entries.norm(dim=1, keepdim=True)
            entries = entries * length.mean() / length.clamp_min(1e-12)
        maps = einsum(entries, seen, "k c, b c h w -> b k h w")
        if self.settings.affine:
            maps = self.map_scale * maps + self.map_shift
        if self.settings.product:
            maps = maps * torch.sigmoid(self.match(heard, seen))[:, None]
        return maps

    def hear_clusters(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch clusters"]:
        """Return p_a: the shares of the clusters in the sound, as stage one's network hears them."""
        return self.teacher.audio_class(self.teacher.hear(mixture)).softmax(dim=1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 1 ("loc") or "class_audio" and "class_visual" in stage one, eq. 8 ("match" is eq. 7) in stage two."""
        heard, seen = self.hear(batch.mixture), self.see(batch.frames, batch.features)
        if self.doing == CLASSIFY:
            together = self.settings.audio_examples == "mixed"
            crowd = self.hear(batch.mixture + rolled(batch.mixture, 1)) if together else None
            return self.classification_loss(heard, seen, self.teacher.assign(batch), crowd)
        terms, weights = {}, {"match": 1.0, "loc": 1.0}
        if self.doing == MATCH:
            weights["loc"] = self.settings.localization_weight
            if self.settings.consistency:
                shares = self.class_maps(heard, seen).mean(dim=(2, 3)).log_softmax(dim=1)  # eq. 6
                with torch.no_grad():
                    target = self.hear_clusters(batch.mixture).clamp_min(1e-12).log()
                terms["match"] = divergence(shares, target, self.settings.kl_direction, self.settings.kl_reduction)
        if weights["loc"] > 0:
            pairs = self.match_all(heard, seen)
            parts = 2 if self.doing == MATCH and self.settings.quadrants else 1
            terms["loc"] = matching_loss(adaptive_max_pool2d(pairs, parts).flatten(2), self.settings.negatives)
        return {"total": sum(weights[name] * value for name, value in terms.items()), **terms}

    # ---------------------------------------------------------------------------------------------------- what is shown

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the maps of the asked classes (of all, where none is asked for), in 0..1; they sum to 1 over all.

        A class is the sum of its clusters, and 0 everywhere where it has none. In stage one there is one map, the
        sounding area, for whatever is asked.
        """
        if self.doing != MATCH:
            return super().localize(query)
        maps = self.class_maps(self.hear(query.mixture), self.see(query.frames, query.features))
        shares = (self.settings.softmax_scale * maps).softmax(dim=1)
        by_class = einsum(self.named.to(shares.dtype), shares, "c k, b k h w -> b c h w")
        if query.classes is None:
            return by_class
        return by_class.gather(1, query.classes[:, :, None, None].expand(-1, -1, *by_class.shape[2:]))

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"] | None:
        """Return how much of p_a is each class's; None in stage one."""
        if self.doing != MATCH:
            return None
        shares = self.hear_clusters(mixture)
        with full_precision(shares.device):
            return widened(shares) @ self.named.T

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return "audio" g, "visual" o and "image", the mean of f over the whole picture, each [batch, 1, channels]."""
        heard, seen = self.hear(batch.mixture), self.see(batch.frames, batch.features)
        found = {"audio": heard, "visual": self.objects(heard, seen), "image": seen.mean(dim=(2, 3))}
        return {name: value[:, None] for name, value in found.items()}

    def learnt(self) -> dict[str, float]:
        """Return the "NMI" of the last clustering with the classes (Tables 6 and 8)."""
        return {"NMI": round(float(self.nmi[self.clusterings - 1]), 3)} if self.clusterings else {}

    # --------------------------------------------------------------------------------------------------------- training

    def stages(self) -> list[Stage]:
        """Localize twice, then classify and localize in turns, then match mixtures.

        The released code's order: every localization but the first is followed by clustering and classification.
        """
        settings, solos = self.settings, (Recipe(),)
        stages = [Stage("localize", min(2, settings.epochs) if settings.alternate else settings.epochs, solos)]
        rounds = max(1, settings.epochs - 1)
        if settings.alternate:
            for number in range(rounds):
                stages += [Stage("localize", 1, solos, self.begin_localizing)] if number else []
                stages.append(Stage("classify", settings.class_epochs, solos, self.begin_classifying))
        else:
            stages.append(Stage("classify", rounds * settings.class_epochs, solos, self.begin_classifying))
        scenes = tuple(Recipe(settings.sources, geometry) for geometry in SCENES[settings.scenes])
        match = Stage("match", settings.match_epochs, scenes, self.begin_matching, begin_with=solos, anew=True)
        return [*stages, match]

    def begin_localizing(self, batches: Examples) -> None:
        """Go on with eq. 1."""
        self.enter(LOCALIZE)

    @torch.no_grad()
    def begin_classifying(self, batches: Examples) -> None:
        """Cluster, and begin the classifiers anew: the clusters come in another order each time."""
        self.remember()
        objects = torch.cat([self.teacher.find_objects(batch) for batch in solos_of(batches, self)])
        classes = torch.cat([batch.labels.argmax(dim=1) for batch in solos_of(batches, self)])
        labels = k_means(self.for_clustering(objects), self.clusters, self.settings.seed)
        self.write_dictionary(objects, labels)
        named = name_clusters(labels.cpu(), classes.cpu(), self.clusters, self.classes)
        for network in (self, self.teacher):
            network.named.copy_(named)
        self.nmi[self.clusterings] = nmi(classes, labels)
        self.clusterings += 1
        for layer in (self.visual_class, self.audio_class):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
        self.enter(CLASSIFY)

    @torch.no_grad()
    def begin_matching(self, batches: Examples) -> None:
        """Keep the last clusters, whose names the sound's classifier has learnt, and see their objects anew."""
        labels = torch.cat([self.teacher.assign(batch) for batch in solos_of(batches, self)])
        self.remember()
        objects = torch.cat([self.teacher.find_objects(batch) for batch in solos_of(batches, self)])
        self.write_dictionary(objects, labels)
        self.enter(MATCH)


def solos_of(batches: Examples, method: DSOL) -> Iterator[Batch]:
    """Yield the batches on the method's device."""
    for _, _, batch in batches():
        yield batch.to(method.scale.device)


def with_neighbours(mask: Bool[Tensor, "batch rows columns"]) -> Bool[Tensor, "batch rows columns"]:
    """Let each cell that is on switch on the four beside it.

    >>> with_neighbours(torch.eye(3)[None] > 0).int()
    tensor([[[1, 1, 0],
             [1, 1, 1],
             [0, 1, 1]]], dtype=torch.int32)
    """
    on = mask[:, None].float()
    across, down = max_pool2d(on, (1, 3), 1, (0, 1)), max_pool2d(on, (3, 1), 1, (1, 0))
    return torch.maximum(across, down)[:, 0] > 0


def name_clusters(
    labels: Int[Tensor, " points"], true: Int[Tensor, " points"], clusters: int, classes: int
) -> Float[Tensor, "classes clusters"]:
    """Return 1 where a cluster is given to a class, for the evaluation.

    The classes' shares in the clusters are matched one to one by the Hungarian method; clusters that are left over go
    to the class that fills most of them (where there are fewer clusters than classes, some classes have none). DSOL's
    code tries a million random orders and gives what is left over to random classes.

    >>> name_clusters(torch.tensor([0, 0, 1, 2, 2]), torch.tensor([1, 1, 0, 1, 1]), 3, 2)
    tensor([[0., 1., 0.],
            [1., 0., 1.]])
    """
    from scipy.optimize import linear_sum_assignment

    counts = torch.zeros(classes, clusters).index_put_((true, labels), torch.ones(len(labels)), accumulate=True)
    shares = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    rows, columns = linear_sum_assignment(shares.numpy(), maximize=True)
    named = torch.zeros(classes, clusters)
    named[rows, columns] = 1
    for left_over in set(range(clusters)) - set(columns.tolist()):
        named[shares[:, left_over].argmax(), left_over] = 1
    return named


def divergence(
    visual: Float[Tensor, "batch clusters"],
    audio: Float[Tensor, "batch clusters"],
    direction: str = "printed",
    reduction: str = "sum",
) -> Float[Tensor, ""]:
    """Return eq. 7 of two log-probabilities: KL(p_v || p_a), or, "released", KL(p_a || p_v); the mean of the batch.

    ``reduction`` "mean" also divides by the number of clusters.
    """
    first, second = (visual, audio) if direction == "printed" else (audio, visual)
    apart = kl_div(second, first, reduction="sum", log_target=True) / len(visual)  # KL(first || second)
    return apart / visual.shape[1] if reduction == "mean" else apart
