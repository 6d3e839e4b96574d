"""AVGN: class tokens gather, from the sound and from the picture, what belongs to each class (Mo and Tian, CVPR 2023).

https://arxiv.org/abs/2303.17056

Every class owns a learnable token. Self-attention shows the tokens the mixture's sound and the picture's positions
(section 3.2, AVCT); a grouping block then adds to each token what is assigned to it (section 3.3, AVG). The resulting
class-aware vectors g_i^a and g_i^v say whether class i sounds, whether it is seen and, by their cosine with the
picture's positions, where. Any number of sources can be asked for, since each is a class.

Where the paper cannot be followed as printed, the default is the reading that works:

- Eq. 8 for sound divides A W f by A and so cancels its own attention; ``audio_normaliser`` "none" keeps A W f
  ("printed" is the equation, "plus_one" the released code's A / (A + 1)).
- Eq. 10 gates image m with "the n-th source" of sample m. Read as m's own class (``gate`` "own_class") the ground-truth
  class of every negative leaks into the loss: two classes are told apart by their tokens alone, and the pictures of
  some are never looked at (solo AP 48 against 59 on the stand-in, 44 against 66 on real photographs, with single
  classes under 10). "anchor_class" gates every image with the class that sounds in the anchor.
- Eqs. 4-5 have no projections, residuals or norms. On unit vectors their softmax is all but uniform and three layers
  make all tokens equal; on vectors of length sqrt(D) a token attends to itself first. Features and tokens are
  therefore scaled to that length before them.

The released code differs further: pre-norm transformer blocks (``attention`` "blocks"), no gate on the picture
(``gate`` "none"), both directions of the contrastive loss, means instead of sums in eq. 9 (``reduction`` "mean").
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    gumbel_softmax,
    layer_norm,
    normalize,
    scaled_dot_product_attention,
)
from torch.utils.checkpoint import checkpoint

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows, in_full_precision, own_rows, widened
from avnb.models.base import QUICK, Method, Query, Stage
from avnb.networks.losses import cosine_maps, multiple_instance_contrastive
from avnb.networks.presets import EARS, eyes_and_ears, projection
from avnb.networks.shapes import Features, Frames, Sound
from avnb.networks.spectrograms import LinearLogSpectrogram

HELD = 2**25  # numbers of a product that are held at once (128 MB); what is larger is computed in parts


@dataclass(frozen=True)
class AVGNSettings(Settings):
    """AVGN's settings; the defaults are the paper's, 0 means the preset's. Introduced in notebooks/04_avgn.ipynb."""

    METHOD: ClassVar[str] = "avgn"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 13, **QUICK,
            "dim": 128, "depth": 1, "temperature": 0.1,
        },
        "paper": {
            "epochs": 100, "batch_size": 128, "learning_rate": 1e-4, "weight_decay": 0.0, "schedule": "constant",
            "dim": 512, "depth": 3, "temperature": 0.03,
        },
    }  # fmt: skip

    dim: int = setting(0, low=0, high=4096, doc="D, the width of the shared space; 0: the preset's")
    depth: int = setting(0, low=0, high=24, doc="layers of self-attention; 0: the preset's")
    temperature: float = setting(0.0, low=0.0, high=10.0, doc="tau of eq. 10; 0: the preset's")
    sources: int = setting(2, low=1, high=8, doc="sources in a training mixture; its batches alternate with solos")
    train_geometry: str = setting(
        "first", among=("first", "side_by_side"), doc="what is seen of a training mixture: its first frame, or all"
    )
    duets: bool = setting(False, doc="train on the split's real duets as well; which sound is whose is not told")
    class_tokens: bool = setting(True, doc="AVCT, section 3.2; false leaves out eqs. 2-5 and CE(h, e)")
    grouping: bool = setting(True, doc="AVG, section 3.3; false leaves out eqs. 6-8")
    attention: str = setting("plain", among=("plain", "blocks"), doc='eqs. 4-5, or the released code\'s "blocks"')
    assignment: str = setting("softmax", among=("softmax", "hard"), doc="eq. 7, or Gumbel's hard choice (Table 4)")
    audio_normaliser: str = setting("none", among=("none", "printed", "plus_one"), doc="the denominator of eq. 8's g^a")
    gate: str = setting(
        "anchor_class", among=("anchor_class", "own_class", "none"), doc="what the picture is multiplied with in eq. 10"
    )
    both_directions: bool = setting(False, doc="add the image-to-sound direction to eq. 10, as the released code does")
    reduction: str = setting("sum", among=("sum", "mean"), doc="eq. 9 over classes; the released code takes means")
    ablation: bool = setting(False, doc="train the rows of Tables 3 and 4 as well; has no effect on this run")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")
    audio_encoder: str = setting("slim", among=EARS, doc='of the quick preset; others than "slim" are frozen')


class AVGN(Method):
    """The audio-visual grouping network. Introduced in notebooks/04_avgn.ipynb."""

    SETTINGS = AVGNSettings
    MAP_RANGE: ClassVar = (-1.0, 1.0)
    ABLATIONS: ClassVar = {
        "table3": {
            "neither": {"class_tokens": False, "grouping": False},
            "AVCT": {"grouping": False},
            "AVG": {"class_tokens": False},
            "AVCT and AVG": {},
        },
        "table4": {
            **{f"{depth} layer{'s' * (depth > 1)}, softmax": {"depth": depth} for depth in (1, 3, 6, 12)},
            "3 layers, hard softmax": {"depth": 3, "assignment": "hard"},
        },
        "ours": {"eq. 10 read literally": {"gate": "own_class"}},
    }

    def __init__(self, settings: AVGNSettings, classes: int) -> None:
        super().__init__()
        self.settings, self.classes = settings, classes
        dim = settings.dim
        self.trunk, self.listen, self.spectrogram = eyes_and_ears(
            settings.preset,
            settings.pretrained,
            LinearLogSpectrogram(22_050),
            audio_encoder=settings.audio_encoder,
        )
        self.project_visual = projection(self.trunk, dim)
        self.project_audio = nn.Linear(self.listen.channels, dim)
        if not self.class_aware:
            self.CLASSES = ("none",)
        else:
            self.tokens = nn.Parameter(torch.randn(classes, dim))
            self.audio_present, self.visual_present = nn.Linear(dim, 1), nn.Linear(dim, 1)
        if settings.class_tokens:
            self.token_class = nn.Linear(dim, classes)
            self.attend_audio, self.attend_visual = SelfAttention(settings), SelfAttention(settings)
        if settings.grouping:
            self.group_audio = Grouping(dim, settings.assignment, settings.audio_normaliser)
            self.group_visual = Grouping(dim, settings.assignment, "printed")

    @property
    def class_aware(self) -> bool:
        """Whether there are class tokens at all; without AVCT and AVG the method is eq. 1, EZ-VSL's."""
        return self.settings.class_tokens or self.settings.grouping

    def forward(
        self, frames: Frames, mixture: Sound, features: Features | None = None
    ) -> tuple[
        Float[Tensor, "batch dim"],
        Float[Tensor, "batch dim rows columns"],
        Float[Tensor, "batch classes dim"] | None,
        Float[Tensor, "batch classes dim"] | None,
    ]:
        """Return f^a, the map of f_p^v, and the class-aware g^a and g^v (None without tokens)."""
        maps = self.trunk_maps(frames, features)
        visual = _scaled(self.project_visual(maps), dim=1)  # f_p^v
        audio = _scaled(self.project_audio(self.listen(self.spectrogram(mixture))), dim=1)  # f^a
        if not self.class_aware:
            return audio, visual, None, None
        f_a, f_v = audio[:, None], rearrange(visual, "b d h w -> b (h w) d")
        tokens = _scaled(self.tokens, dim=1).expand(len(audio), -1, -1)  # c_i
        hat_v, c_a, c_v = f_v, tokens, tokens
        if self.settings.class_tokens:
            _, c_a = self.attend_audio(f_a, tokens)  # eq. 2; eqs. 7-8 take the raw f^a, not the attended one
            hat_v, c_v = self.attend_visual(f_v, tokens)  # eq. 3
        if not self.settings.grouping:
            return audio, visual, c_a, c_v
        return audio, visual, self.group_audio(f_a, c_a), self.group_visual(hat_v, c_v)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 11: "loc" (eq. 10) plus the three terms of eq. 9: "token", "audio" and "visual"."""
        audio, visual, g_a, g_v = self(batch.frames, batch.mixture, batch.features)
        if not self.class_aware:
            audio, visual = all_rows(audio[:, None], visual[:, None])
            loc = multiple_instance_contrastive(
                audio, visual, self.settings.temperature, self.settings.both_directions
            )  # eq. 1
            return {"total": loc, "loc": loc}
        terms = {"loc": self.localization_loss(visual, g_a, g_v, batch.source_classes)}
        visible = torch.zeros_like(batch.labels).scatter_(1, batch.source_classes, 1.0)
        terms["audio"] = binary_cross_entropy_with_logits(self.audio_present(g_a)[..., 0], batch.labels)
        terms["visual"] = binary_cross_entropy_with_logits(self.visual_present(g_v)[..., 0], visible)
        if self.settings.class_tokens:
            own = torch.arange(self.classes, device=visible.device)
            terms["token"] = cross_entropy(self.token_class(_scaled(self.tokens, dim=1)), own)  # CE(h_i, e_i)
        if self.settings.reduction == "sum":  # eq. 9 sums over the classes, the functions above take means
            terms |= {name: self.classes * terms[name] for name in ("audio", "visual", "token") if name in terms}
        return {"total": sum(terms.values()), **terms}

    @in_full_precision
    def localization_loss(
        self,
        visual: Float[Tensor, "batch dim rows columns"],
        g_a: Float[Tensor, "batch classes dim"],
        g_v: Float[Tensor, "batch classes dim"],
        source_classes: Int[Tensor, "batch sources"],
    ) -> Float[Tensor, ""]:
        """Eq. 10: the class-aware sound finds its own image, at its best position, among the batch's."""
        anchor, visual, g_v, source_classes = all_rows(_of_classes(g_a, source_classes), visual, g_v, source_classes)
        if self.settings.gate != "anchor_class":
            pictures = self.gated(visual, g_v, source_classes)
            return multiple_instance_contrastive(
                anchor, pictures, self.settings.temperature, self.settings.both_directions
            )
        # Every image m under the class c that sounds in anchor b: cos(g_c^a of b, f_p of m times g_c^v of m), without
        # ever holding the [batch, batch, sources, dim, positions] products.
        f_v = visual.flatten(2)
        parts = len(visual) * anchor.numel() // HELD  # the products grow with the square of the batch
        if parts < 2:
            score = _best_gated(anchor, source_classes, g_v, f_v)
        else:
            pieces = zip(anchor.chunk(parts), source_classes.chunk(parts), strict=True)
            length = _inverse_lengths(g_v, f_v)
            score = torch.cat(
                [checkpoint(_best_gated, *piece, g_v, f_v, length, use_reentrant=False) for piece in pieces], dim=1
            )
        score = score / self.settings.temperature
        own = torch.arange(len(score), device=score.device)
        sources = source_classes.shape[1]
        loss = cross_entropy(rearrange(score, "m b n -> (b n) m"), own.repeat_interleave(sources))
        if self.settings.both_directions:
            loss = loss + cross_entropy(rearrange(score, "m b n -> (m n) b"), own.repeat_interleave(sources))
        return loss

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the cosine map of each asked class (all classes where none is asked for), in -1..1.

        Without tokens the one map of eq. 1 stands for every source.
        """
        audio, visual, g_a, g_v = self(query.frames, query.mixture, query.features)
        classes = query.classes
        if classes is None:
            classes = torch.arange(self.classes, device=audio.device).expand(len(audio), -1)
        if not self.class_aware:
            return cosine_maps(audio[:, None], visual[:, None]).expand(-1, classes.shape[1], -1, -1)
        parts = max(1, visual.numel() * classes.shape[1] // HELD)
        maps = [
            cosine_maps(_of_classes(g_a, part), self.gated(visual, g_v, part)) for part in classes.chunk(parts, dim=1)
        ]
        return torch.cat(maps, dim=1)

    def gated(
        self,
        visual: Float[Tensor, "batch dim rows columns"],
        g_v: Float[Tensor, "batch classes dim"],
        classes: Int[Tensor, "batch sources"],
    ) -> Float[Tensor, "batch sources dim rows columns"]:
        """Return f_p^v times g_n^v for each source, or f_p^v itself where the released code is followed."""
        if self.settings.gate == "none":
            return visual[:, None].expand(-1, classes.shape[1], -1, -1, -1)
        return visual[:, None] * _of_classes(g_v, classes)[..., None, None]

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"] | None:
        """Return p^a, the probability that each class sounds (eq. 9); None without tokens."""
        if not self.class_aware:
            return None
        f_a = _scaled(self.project_audio(self.listen(self.spectrogram(mixture))), dim=1)[:, None]
        tokens = _scaled(self.tokens, dim=1).expand(len(f_a), -1, -1)
        c_a = self.attend_audio(f_a, tokens)[1] if self.settings.class_tokens else tokens
        g_a = self.group_audio(f_a, c_a) if self.settings.grouping else c_a
        return torch.sigmoid(widened(self.audio_present(g_a)[..., 0]))  # half precision has 1.0 from 6.2 on

    def presence(self, batch: Batch) -> dict[str, Float[Tensor, "batch classes"]]:
        """Return p^a and p^v, how likely each class sounds and is seen (eq. 9); none without tokens."""
        if not self.class_aware:
            return {}
        _, _, g_a, g_v = self(batch.frames, batch.mixture, batch.features)
        logits = {"audio": self.audio_present(g_a)[..., 0], "visual": self.visual_present(g_v)[..., 0]}
        return {name: torch.sigmoid(widened(value)) for name, value in logits.items()}

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the class-aware "audio" and "visual" vectors of the sounding classes, [batch, sources, dim]."""
        audio, visual, g_a, g_v = self(batch.frames, batch.mixture, batch.features)
        if not self.class_aware:
            return {"audio": audio[:, None], "visual": visual.mean(dim=(2, 3))[:, None]}
        return {"audio": _of_classes(g_a, batch.source_classes), "visual": _of_classes(g_v, batch.source_classes)}

    def encode(self, batch: Batch) -> dict[str, Tensor]:
        """Return f^a and the mean of f^v over the picture, which have met no token; none without tokens."""
        if not self.class_aware:
            return {}
        audio, visual, _, _ = self(batch.frames, batch.mixture, batch.features)
        return {"audio": audio, "visual": visual.mean(dim=(2, 3))}

    def stages(self) -> list[Stage]:
        """One stage: batches of solos, of mixtures and, where asked, of real duets take turns."""
        recipes = (Recipe(),)
        if self.settings.sources > 1:
            recipes += (Recipe(self.settings.sources, self.settings.train_geometry),)
        if self.settings.duets:
            recipes += (Recipe(2, "one_frame"),)
        return [Stage("train", self.settings.epochs, recipes)]


class SelfAttention(nn.Module):
    """phi of eqs. 2-5: ``depth`` layers over [features; tokens], of a modality's own."""

    def __init__(self, settings: AVGNSettings) -> None:
        super().__init__()
        self.depth = settings.depth
        self.blocks = None
        if settings.attention == "blocks":
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    settings.dim, 8, 4 * settings.dim, 0.0, "gelu", batch_first=True, norm_first=True
                )
                for _ in range(settings.depth)
            )

    def forward(
        self, features: Float[Tensor, "batch positions dim"], tokens: Float[Tensor, "batch classes dim"]
    ) -> tuple[Float[Tensor, "batch positions dim"], Float[Tensor, "batch classes dim"]]:
        x = torch.cat([features, tokens], dim=1)
        for layer in range(self.depth):
            x = self.attend(x) if self.blocks is None else self.blocks[layer](x)
        return x[:, : features.shape[1]], x[:, features.shape[1] :]

    def attend(self, x: Float[Tensor, "batch both dim"]) -> Float[Tensor, "batch both dim"]:
        """Eqs. 4-5: Softmax(x X^T / sqrt(D)) X."""
        x = x[:, None]  # one head: fused kernels want four dimensions, and take 0.8 of the time
        return scaled_dot_product_attention(x, x, x)[:, 0]


class Grouping(nn.Module):
    """g of eqs. 6-8: every position is shared out among the class tokens, and each token takes up its share.

    The products of eq. 7 are divided by sqrt(D), as eqs. 4-5 do, so that the softmax is not a hard choice at the start.
    """

    def __init__(self, dim: int, assignment: str, normaliser: str) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        self.assignment, self.normaliser = assignment, normaliser

    def assign(
        self, features: Float[Tensor, "batch positions dim"], tokens: Float[Tensor, "batch classes dim"]
    ) -> Float[Tensor, "batch positions classes"]:
        """Eq. 7: how much of each position belongs to each class; sums to 1 over the classes."""
        logits = self.query(features) @ self.key(tokens).transpose(1, 2) / tokens.shape[-1] ** 0.5
        if self.assignment == "softmax":
            return logits.softmax(dim=2)
        if self.training:
            return own_rows(gumbel_softmax(all_rows(logits), hard=True, dim=2))
        return torch.zeros_like(logits).scatter_(2, logits.argmax(dim=2, keepdim=True), 1.0)

    def forward(
        self, features: Float[Tensor, "batch positions dim"], tokens: Float[Tensor, "batch classes dim"]
    ) -> Float[Tensor, "batch classes dim"]:
        """Eq. 8: each token plus what was assigned to it."""
        share = self.assign(features, tokens)
        gathered = share.transpose(1, 2) @ self.value(features)
        total = share.sum(dim=1)[..., None]
        if self.normaliser == "printed":
            gathered = gathered / total.clamp_min(1e-6)  # a class that is assigned nothing takes up nothing
        elif self.normaliser == "plus_one":
            gathered = gathered / (total + 1)
        return tokens + self.out(gathered)


def _best_gated(
    anchor: Float[Tensor, "anchors sources dim"],
    classes: Int[Tensor, "anchors sources"],
    g_v: Float[Tensor, "images classes dim"],
    f_v: Float[Tensor, "images dim positions"],
    inverse_lengths: Float[Tensor, "images classes positions"] | None = None,
) -> Float[Tensor, "images anchors sources"]:
    """Return the cosine of each anchor and the best position of every image, gated with the anchor's class."""
    gates = g_v[:, classes]  # [m, b, n, dim]
    weighted = einsum(normalize(anchor, dim=2), gates, "b n d, m b n d -> m b n d")
    product = einsum(weighted, f_v, "m b n d, m d p -> m b n p")
    if inverse_lengths is None:
        inverse_lengths = _inverse_lengths(g_v, f_v)
    return (product * inverse_lengths[:, classes]).amax(dim=3)


def _inverse_lengths(
    g_v: Float[Tensor, "images classes dim"], f_v: Float[Tensor, "images dim positions"]
) -> Float[Tensor, "images classes positions"]:
    """Return one over the length of each position's vector, gated with each class."""
    return einsum(g_v.square(), f_v.square(), "m c d, m d p -> m c p").clamp_min(1e-12).rsqrt()


def _scaled(x: Tensor, dim: int) -> Tensor:
    """Bring vectors to mean 0 and length sqrt(D), the scale on which eqs. 4-5 tell one vector from another."""
    return layer_norm(x.movedim(dim, -1), x.shape[dim : dim + 1]).movedim(-1, dim)


def _of_classes(
    g: Float[Tensor, "batch classes dim"], chosen: Int[Tensor, "batch sources"]
) -> Float[Tensor, "batch sources dim"]:
    """Choose N source embeddings out of C classes (section 3.3)."""
    return g.gather(1, chosen[..., None].expand(-1, -1, g.shape[-1]))
