"""Mix-and-Localize: a random walk between sounds and pictures that should end where it began (Hu et al., CVPR 2022).

https://arxiv.org/abs/2211.15058

A mixture of k clips is heard by k heads, each of which gives one sound vector. A walker goes from a head to one of the
k pictures and back to a head; the network is trained so that it returns to where it started, which it can only do if
the heads hear different sources and each source finds its own picture. No label and no known pairing is used: the
cosine between a head's vector and the positions of any picture is that head's map.

Where the released code differs from the paper, the paper's way is the default:

- Eq. 4's data augmentation takes a shifted sound for A_IS; the code takes it for A_SI (``shifted`` "sound_to_image").
- The paper sums waveforms; the code first brings each to the same loudness (``levelled``) and averages (``sound``).
- "Different fully connected layers" are read as one layer a head; the code has two with a ReLU between (``heads``).
- Graphs are of neighbours in a shuffled list: now and then one video twice, and of one class as often as chance has it.
  Here a graph never holds two clips of a video, and ``same_class`` "never" forbids two of a class. That takes labels,
  and the quick preset does: a graph of one class cannot be walked by listening and rewards heads that do not.
- Two heads that never listen, one asking each picture "are you bright?" and the other "are you dark?", return in three
  walks of four. Small networks on few clips find that first and stay with it: on the stand-in 24 quick epochs of eq. 4
  end at a duet CAP of 34. So the quick preset spends the first 40 % of its epochs (``warm_up``) on eq. 3 with the
  pairings of eq. 8 in it: pictures have to find their own mixture among the batch's, which only heads that listen can
  help with, and each a head of its own. Of eq. 7, whose pictures may all find the same head, two alike heads can come:
  with one of three seeds they did, and the walk after it ended at a duet CAP of 39, with the pairings at 63.
- A weight decay of 5e-4 (``weight_decay``), in Adam; here in AdamW.

Eq. 6, the image-sound-image walk, is printed without its minus sign and would make returns improbable; here it has
one. Its second view of each picture is the mirrored frame, since a clip has one frame. Eq. 8 has no negatives: it is
lowest when every vector is the same.
"""

import itertools
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from torch.nn.functional import normalize

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe, mix_waveforms
from avnb.devices import all_rows, chance, in_full_precision
from avnb.models.base import Examples, Method, Phased, Query, Stage
from avnb.networks.encoders import LiteProjection
from avnb.networks.presets import RATE, eyes_and_ears
from avnb.networks.shapes import Features, Frames
from avnb.networks.spectrograms import MixAndLocalizeLogMel

WALK, WARM_UP = range(2)  # what is learnt
WALKS = ("cycle", "image_sound_image")  # objectives that a warm-up comes before
LOUDNESS = 0.1  # root mean square to which the released code brings each waveform


@dataclass(frozen=True)
class MixAndLocalizeSettings(Settings):
    """Mix-and-Localize's settings; the defaults are the paper's, 0 means the preset's.

    A batch is of ``batch_size`` mixtures: the paper's 128 clips are 64. Introduced in
    notebooks/03_mix_and_localize.ipynb.
    """

    METHOD: ClassVar[str] = "mix_and_localize"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 20, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.01, "schedule": "one_cycle",
            "warm_up": 0.4, "window": 1.0, "same_class": "never",
        },
        "paper": {
            "epochs": 100, "batch_size": 64, "learning_rate": 1e-4, "weight_decay": 0.0, "schedule": "constant",
            "warm_up": 0.0, "window": 0.96, "same_class": "allowed",
        },
    }  # fmt: skip

    dim: int = setting(128, low=1, high=4096, doc="C, the width of the shared space")
    temperature: float = setting(0.07, low=0.001, high=10.0, doc="tau of eq. 2")
    sources: int = setting(2, low=2, high=6, doc="k: clips in a training mixture, and heads that hear it")
    batch_size: int = setting(0, low=0, high=65_536, doc="mixtures, not clips; 0: the preset's")
    objective: str = setting(
        "cycle",
        among=("cycle", "image_sound_image", "correspondence", "permutation"),
        doc="eq. 4, 6, 7 or 8 (Table 3)",
    )
    warm_up: float = setting(
        -1.0, low=0.0, high=1.0, doc="share of a walk's epochs that pair pictures with heads; -1: the preset's"
    )
    shifted: str = setting(
        "image_to_sound", among=("image_to_sound", "sound_to_image", "none"), doc="which way the shifted sound is heard"
    )
    window: float = setting(0.0, low=0.1, high=60.0, doc="seconds of each clip that are heard; 0: the preset's")
    same_class: str = setting(
        "preset", among=("preset", "allowed", "never"), doc="two clips of one class in a graph; the paper's is chance"
    )
    sound: str = setting("sum", among=("sum", "mean"), doc='how waveforms are mixed; "mean" is the released code\'s')
    levelled: bool = setting(False, doc="bring each source to one loudness before mixing, as the released code does")
    heads: str = setting("linear", among=("linear", "mlp"), doc='layers of a head; "mlp" is the released code\'s')
    ablation: bool = setting(False, doc="train the rows of Table 3 as well; has no effect on this run")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")


class MixAndLocalize(Phased, Method):
    """k heads that hear a mixture, and a walk between them and k pictures. In notebooks/03_mix_and_localize.ipynb."""

    SETTINGS = MixAndLocalizeSettings
    MAP_RANGE: ClassVar = (-1.0, 1.0)
    CLASSES: ClassVar[tuple[str, ...]] = ("best_pairing",)
    ABLATIONS: ClassVar = {
        "table3": {
            "mixed correspondence": {"objective": "correspondence"},  # eq. 7
            "image-sound-image": {"objective": "image_sound_image"},  # eq. 6
            "permutation-invariant": {"objective": "permutation"},  # eq. 8
        },
        "ours": {
            "as it is": {},
            "no warm-up": {"warm_up": 0.0},
            "nothing shifted": {"shifted": "none"},
            "same class allowed": {"same_class": "allowed"},
        },
    }

    def __init__(self, settings: MixAndLocalizeSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.dim
        self.trunk, self.listen, self.spectrogram = eyes_and_ears(
            settings.preset, settings.pretrained, MixAndLocalizeLogMel(), stride=16
        )
        if settings.preset == "quick":
            self.project_visual = LiteProjection(self.trunk.channels, dim)
        else:
            self.project_visual = nn.Sequential(
                nn.Conv2d(self.trunk.channels, dim, 1), nn.ReLU(), nn.Conv2d(dim, dim, 1)
            )
        self.project_audio = nn.ModuleList(
            _head(self.listen.channels, dim, settings.heads) for _ in range(settings.sources)
        )
        self.enter(WALK)

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch dim rows columns"]:
        """Return f(x), a unit vector for each position."""
        return normalize(self.project_visual(self.trunk_maps(frames, features)), dim=1)

    def hear(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch heads dim"]:
        """Return s_1 ... s_k, a unit vector from each head."""
        heard = self.listen(self.spectrogram(mixture))
        return normalize(torch.stack([head(heard) for head in self.project_audio], dim=1), dim=2)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The chosen objective, in the warm-up the pairing's, and "cycle_accuracy" (0..1), whatever is learnt.

        The latter is how often the likeliest return is to the starting head.
        """
        tau, k = self.settings.temperature, self.settings.sources
        mixture, shifted = self.mixtures(batch.source_waveforms)
        seen = [None if it is None else _apart(it, len(mixture), k) for it in (batch.frames, batch.features)]
        pictures = rearrange(self.see(*seen), "(g k) d h w -> g k d h w", k=k)
        sounds, elsewhere = self.hear(torch.cat([mixture, shifted])).chunk(2)
        phi, phi_shifted = similarity(pictures, sounds), similarity(pictures, elsewhere)  # [graphs, images, sounds]
        walk = log_walk(phi.mT, phi_shifted, tau)  # A_SI A_IS'
        if self.settings.shifted == "sound_to_image":
            walk = log_walk(phi_shifted.mT, phi, tau)
        elif self.settings.shifted == "none":
            walk = log_walk(phi.mT, phi, tau)
        objective = "pairing" if self.doing == WARM_UP else self.settings.objective
        if objective == "pairing":
            total = pairing_loss(*all_rows(pictures, sounds), tau)
        elif objective == "cycle":
            total = cycle_loss(walk)  # eq. 4
        elif objective == "image_sound_image":
            mirrored = self.see(*(None if it is None else it.flip(-1) for it in seen))
            again = rearrange(mirrored, "(g k) d h w -> g k d h w", k=k)
            total = cycle_loss(log_walk(phi, similarity(again, sounds).mT, tau))  # eq. 6
        elif objective == "correspondence":
            total = mixed_correspondence_loss(*all_rows(pictures, sounds), tau)  # eq. 7
        else:
            total = permutation_loss(phi)  # eq. 8
        return {"total": total, "cycle_accuracy": cycle_accuracy(walk)}

    def mixtures(
        self, sources: Float[Tensor, "graphs heard time"]
    ) -> tuple[Float[Tensor, "graphs window"], Float[Tensor, "graphs window"]]:
        """Return the mixture of the sources' first windows, and one of windows elsewhere in the same clips.

        The second window of each source begins at random (in evaluation half a clip later), overlapping the first as
        little as the clip's length allows; a clip goes on at its start when it ends.
        """
        if self.settings.levelled:
            loudness = sources.square().mean(dim=2, keepdim=True).clamp(min=1e-12).sqrt()
            sources = LOUDNESS * sources / loudness
        time = sources.shape[2]
        window = min(time, round(self.settings.window * RATE))
        earliest = min(window, time // 2)
        start = torch.full(sources.shape[:2], time // 2, device=sources.device)
        if self.training:
            # Drawn on the CPU, so that a seed draws the same on every device.
            latest, clips = max(time - window, earliest), sources.shape[1]
            drawn = chance(lambda graphs: torch.randint(earliest, latest + 1, (graphs, clips)), len(sources))
            start = drawn.to(sources.device)
        place = (start[..., None] + torch.arange(window, device=sources.device)) % time
        first, second = sources[..., :window], sources.gather(2, place)
        return mix_waveforms(first, self.settings.sound), mix_waveforms(second, self.settings.sound)

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return each head's cosine map, in -1..1: as many maps as are asked for, without names.

        For one source it is the mean of the heads' maps (the paper's single-source test). Between one and k, heads that
        hear most alike are joined; for more than k sources the mean of all stands for those there is no head for.
        """
        sounds = self.hear(query.mixture)
        maps = einsum(self.see(query.frames, query.features), sounds, "b d h w, b k d -> b k h w")
        wanted, heads = self.settings.sources if query.classes is None else query.sources, maps.shape[1]
        if wanted > heads:
            rest = maps.mean(dim=1, keepdim=True).expand(-1, wanted - heads, -1, -1)
            return torch.cat([maps, rest], dim=1)
        return maps if wanted == heads else join_alike(maps, sounds, wanted)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the heads' "audio" vectors and the "visual" ones where their maps peak, [batch, heads, dim]."""
        sounds, pictures = self.hear(batch.mixture), self.see(batch.frames, batch.features).flatten(2)
        peak = (sounds @ pictures).argmax(dim=2)
        visual = pictures.mT.gather(1, peak[..., None].expand(-1, -1, pictures.shape[1]))
        return {"audio": sounds, "visual": visual}

    def stages(self) -> list[Stage]:
        """Warm up where a walk is to be learnt, then the objective; on mixtures whose frames are separate.

        Judged by the maps of frames that are seen together.
        """
        settings, together = self.settings, (Recipe(self.settings.sources, "side_by_side"),)
        graphs = (Recipe(settings.sources, "separate", settings.sound, settings.same_class == "never"),)
        first = round(settings.warm_up * settings.epochs) if settings.objective in WALKS else 0
        stages = [Stage("train", settings.epochs - first, graphs, self.begin_walking, together)]
        return [Stage("warm up", first, graphs, self.begin_warming_up, together), *stages] if first else stages

    def begin_warming_up(self, batches: Examples) -> None:
        """Go on with the pairing."""
        self.enter(WARM_UP)

    def begin_walking(self, batches: Examples) -> None:
        """Go on with the chosen objective."""
        self.enter(WALK)


# ------------------------------------------------------------------------------------------------------- the objectives


@in_full_precision
def similarity(
    pictures: Float[Tensor, "graphs images dim rows columns"], sounds: Float[Tensor, "graphs sounds dim"]
) -> Float[Tensor, "graphs images sounds"]:
    """Return phi of eq. 1: the best cosine between a sound and any position of a picture, in -1..1.

    Mix-and-Localize, eq. 1. Introduced in notebooks/03_mix_and_localize.ipynb.
    """
    return einsum(pictures.flatten(3), sounds, "g i d p, g s d -> g i s p").amax(dim=3)


def log_walk(
    there: Float[Tensor, "graphs nodes others"], back: Float[Tensor, "graphs others nodes"], temperature: float
) -> Float[Tensor, "graphs nodes nodes"]:
    """Return the logarithm of the two-step transition matrix, A_there A_back, from the steps' similarities.

    Each step is a softmax over where it can go (eq. 2). Mix-and-Localize, eq. 4.

    >>> log_walk(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), 0.07).exp()  # who knows nothing goes anywhere
    tensor([[[0.5000, 0.5000],
             [0.5000, 0.5000]]])
    """
    there, back = (step.div(temperature).log_softmax(dim=2) for step in (there, back))
    return (there[..., None] + back[:, None]).logsumexp(dim=2)


def cycle_loss(walk: Float[Tensor, "graphs nodes nodes"]) -> Float[Tensor, ""]:
    """Return -1/k tr(log A), the mean over the graphs: eq. 4, and with its missing sign eq. 6.

    ``walk`` is the logarithm of A. Chance is log k.
    """
    return -walk.diagonal(dim1=1, dim2=2).mean()


def cycle_accuracy(walk: Float[Tensor, "graphs nodes nodes"]) -> Float[Tensor, ""]:
    """Return the share of walks whose likeliest end is where they began, in 0..1; chance is 1 / k.

    What the released code prints in training. Introduced in notebooks/03_mix_and_localize.ipynb.
    """
    own = torch.arange(walk.shape[1], device=walk.device)
    return (walk.argmax(dim=2) == own).float().mean()


def mixed_correspondence_loss(
    pictures: Float[Tensor, "graphs images dim rows columns"],
    sounds: Float[Tensor, "graphs sounds dim"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Return eq. 3 with eq. 7 in it: each picture finds any head of its own mixture among all heads of the batch.

    Mix-and-Localize, section 4.5.
    """
    return -_log_own_steps(pictures, sounds, temperature).logsumexp(dim=2).mean()


def pairing_loss(
    pictures: Float[Tensor, "graphs images dim rows columns"],
    sounds: Float[Tensor, "graphs sounds dim"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Return eq. 3 with the pairings of eq. 8 in it: each picture finds a head of its own mixture that no other finds.

    -1/k log sum_pi prod_i A_IS(i, pi(i)), the mean over the graphs. Ours, of the quick preset's warm-up.
    """
    own = _log_own_steps(pictures, sounds, temperature)
    k = own.shape[1]
    return -own[:, torch.arange(k, device=own.device), _pairings(k, own.device)].sum(dim=2).logsumexp(dim=1).mean() / k


@in_full_precision
def _log_own_steps(
    pictures: Float[Tensor, "graphs images dim rows columns"],
    sounds: Float[Tensor, "graphs sounds dim"],
    temperature: float,
) -> Float[Tensor, "graphs images sounds"]:
    """Return log A_IS (eq. 2) from each picture to its own mixture's heads, among all heads of the batch."""
    all_pairs = einsum(pictures.flatten(3), sounds, "g i d p, m s d -> g i m s p").amax(dim=4) / temperature
    own = rearrange(all_pairs.diagonal(dim1=0, dim2=2), "i s g -> g i s")
    return own - all_pairs.flatten(2).logsumexp(dim=2, keepdim=True)


def _pairings(k: int, device: torch.device) -> Int[Tensor, "pairings {k}"]:
    return torch.tensor(list(itertools.permutations(range(k))), device=device)


def permutation_loss(phi: Float[Tensor, "graphs images sounds"]) -> Float[Tensor, ""]:
    """Return minus the largest total similarity that a pairing of pictures and heads has, the mean over the graphs.

    Mix-and-Localize, eq. 8, for any k.
    """
    k = phi.shape[1]
    totals = phi[:, torch.arange(k, device=phi.device), _pairings(k, phi.device)].sum(dim=2)
    return -totals.amax(dim=1).mean()


# ------------------------------------------------------------------------------------------------------------- the maps


def join_alike(
    maps: Float[Tensor, "batch heads rows columns"], sounds: Float[Tensor, "batch heads dim"], count: int
) -> Float[Tensor, "batch {count} rows columns"]:
    """Return ``count`` maps: the two heads whose vectors are most alike become one, their mean, until so many are left.

    With one left it is the mean of all, the paper's single-source map.
    """
    batch, heads = sounds.shape[:2]
    rows = torch.arange(batch, device=maps.device)
    groups = torch.eye(heads, device=maps.device, dtype=maps.dtype).repeat(batch, 1, 1)  # [batch, group, its heads]
    for left in range(heads, count, -1):
        vectors = normalize(groups @ sounds.to(maps.dtype), dim=2)
        others = torch.ones(left, left, dtype=torch.bool, device=maps.device).triu(diagonal=1)
        alike = (vectors @ vectors.mT).masked_fill(~others, -torch.inf).flatten(1).argmax(dim=1)
        first, second = alike // left, alike % left
        groups[rows, first] += groups[rows, second]
        kept = torch.arange(left - 1, device=maps.device).expand(batch, -1)
        kept = kept + (kept >= second[:, None])  # all but the second
        groups = groups.gather(1, kept[..., None].expand(-1, -1, heads))
    shares = groups / groups.sum(dim=2, keepdim=True)
    return einsum(shares, maps, "b g k, b k h w -> b g h w")


def peaks_together(maps: Float[Tensor, "batch heads rows columns"], within: int = 1) -> Bool[Tensor, " batch"]:
    """Return where at least two of a mixture's maps peak in the same place, at most ``within`` cells apart.

    The best pairing does not punish one map copied into all heads; this counts it. Introduced in
    notebooks/03_mix_and_localize.ipynb.

    >>> one = torch.eye(3).reshape(1, 1, 3, 3)  # of three equal peaks the first counts
    >>> peaks_together(torch.cat([one, one.flip(-1)], dim=1))
    tensor([False])
    """
    columns = maps.shape[3]
    peak = maps.flatten(2).argmax(dim=2)
    place = torch.stack([peak // columns, peak % columns], dim=2)
    apart = (place[:, :, None] - place[:, None]).abs().amax(dim=3)  # [batch, head, head], in cells
    pairs = torch.ones(apart.shape[1:], dtype=torch.bool, device=maps.device).triu(diagonal=1)
    return ((apart <= within) & pairs).flatten(1).any(dim=1)


# -------------------------------------------------------------------------------------------------------------- helpers


def _head(channels: int, dim: int, kind: str) -> nn.Module:
    if kind == "linear":
        return nn.Linear(channels, dim)
    return nn.Sequential(nn.Linear(channels, dim), nn.ReLU(), nn.Linear(dim, dim))


def _apart(
    pictures: Shaped[Tensor, "batch channels rows columns"], graphs: int, k: int
) -> Shaped[Tensor, "{graphs*k} channels rows tile_columns"]:
    """Return a row for each of a graph's k pictures, which came as rows or side by side."""
    return rearrange(pictures, "g c h (k w) -> (g k) c h w", k=k) if len(pictures) == graphs else pictures
