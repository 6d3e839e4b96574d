"""OneAVM: one network that localizes, separates and recognizes what sounds (Mo and Morgado, ICML 2023).

https://arxiv.org/abs/2305.19458

One encoder looks, one listens, and three objectives share them. Correspondence and localization (CL, eqs. 1-2) match a
sound with its picture as a whole and at its best position. Mixed audio separation (MAS, eqs. 3-4) adds two sounds and
lets a U-Net decoder, told by a picture which of the two is meant, mask the mixture. Mixed visual alignment (MVA, eq. 5)
blends two pictures and matches the blend with either sound. The pairs that are added and blended are made of the
batch itself: no label is used, and a clip may meet another of its own class.

No code was ever released, and the paper contradicts itself or is silent; what is done here:

- The target mask. Eq. 4's text marks bins where |source| > |mixture| and calls them dominant, which they are not: the
  ideal masks of that rule reach 4 dB where the others' reach 20. ``mask_rule`` "half_mixture" is Sound of Pixels'.
- The bins' weights. Eq. 4 counts all bins alike, and most hold next to nothing, so that chance decides whose they are.
  The quick preset weights them as Sound of Pixels' code does, by log(1 + |mixture|) ("loudness"); told the true class,
  220 steps of it separated the stand-in's duets to 3.7 dB above the mixture, and to 2.8 with equal weights.
- Sharing. Eq. 3 applies each mask alone, whatever the others claim. The quick preset shares a bin among the sources
  that are asked for, by the softmax of their logits (the odds of each mask over the sum of all odds): the stand-in's
  duets rise from 4.3 to 6.5 dB above the mixture. A source that is asked for alone has its own mask either way.
- Window, hop and bins. 50 ms windows, 25 ms hops and 128 x 128 exclude one another; see
  `avnb.networks.spectrograms.OneAvmLogMel`. The network sees 128 (quick: 64) mel bands and predicts a mask over them,
  so that what is heard and what is masked are one grid; a bin of the STFT takes its mask from the bands around it
  (``filterbank.T @ mask``).
- How the picture enters the decoder. Its features, the maximum over positions that eq. 1's global term takes, scale and
  shift every layer's channels; see `avnb.networks.mask_decoder.Decoder`.
- ``decoder_depth`` counts convolutions: five double the resolution, the rest are shared out among them, the coarsest
  first. With fewer than five the last one makes up for those that are missing.
- The temperature (0.03, the authors' other methods') and L^CL in eq. 5, which is taken over positions alone, as the
  symbols of its text have it.
- Pictures are blended as pixels; the quick preset blends the frozen trunk's maps (``blend`` "features"), because the
  trunk would have to run anew on every blend.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import all_rows
from avnb.errors import SettingsError
from avnb.models.base import Method, Query, Stage
from avnb.networks.encoders import LiteProjection
from avnb.networks.losses import all_cosines, cosine_maps, multiple_instance_contrastive, pair_cosines
from avnb.networks.mask_decoder import Decoder
from avnb.networks.presets import eyes_and_ears
from avnb.networks.separation_masks import RULES, loudness_weights, source_masks
from avnb.networks.separator import Separator, shared_out
from avnb.networks.shapes import Features, Frames, SourceMasks, SourceVectors
from avnb.networks.spectrograms import LogMel, OneAvmLogMel


@dataclass(frozen=True)
class OneAVMSettings(Settings):
    """OneAVM's settings; the defaults are the paper's, 0 means the preset's.

    Introduced in notebooks/06_one_avm.ipynb.
    """

    METHOD: ClassVar[str] = "one_avm"
    PRESETS: ClassVar = {
        "quick": {
            "epochs": 15, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.01, "schedule": "one_cycle",
            "dim": 128, "temperature": 0.1, "decoder_depth": 5, "bin_weights": "loudness", "sharing": "softmax",
            "blend": "features",
        },
        "paper": {
            "epochs": 20, "batch_size": 128, "learning_rate": 1e-4, "weight_decay": 0.0, "schedule": "constant",
            "dim": 512, "temperature": 0.03, "decoder_depth": 8, "bin_weights": "equal", "sharing": "none",
            "blend": "pixels",
        },
    }  # fmt: skip

    dim: int = setting(0, low=0, high=4096, doc="width of the shared spaces of CL and MVA; 0: the preset's")
    temperature: float = setting(0.0, low=0.0, high=10.0, doc="tau of eq. 2; 0: the preset's")
    correspondence: bool = setting(True, doc="CL, eqs. 1-2")
    separation: bool = setting(True, doc="MAS, eqs. 3-4")
    alignment: bool = setting(True, doc="MVA, eq. 5")
    mask_rule: str = setting("half_mixture", among=RULES, doc="which bins are a source's (eq. 4)")
    bin_weights: str = setting("", among=("equal", "loudness"), doc='of the bins in eq. 4; "": the preset\'s')
    sharing: str = setting("", among=("none", "softmax"), doc="of a bin by the sources; empty: the preset's")
    decoder_depth: int = setting(0, low=0, high=32, doc="convolutions of the U-Net's decoder (Fig. 5); 0: the preset's")
    alpha: float = setting(0.5, low=0.0, high=1.0, doc="share of the first picture in a blend (eq. 5, Fig. 5)")
    blend: str = setting("", among=("pixels", "features"), doc='what is blended; "": the preset\'s')
    init_from: str = setting("", doc="a run to start from (Table 4), benchmark/run in outputs/one_avm; empty: none")
    ablation: bool = setting(False, doc="train the rows of Table 5 as well; has no effect on this run")
    sweep: str = setting("none", among=("none", "depth", "alpha", "all"), doc="train the variants of Fig. 5 as well")
    pretrained: bool = setting(True, doc="ImageNet weights for the paper preset's ResNet-18")


class OneAVM(Separator, Method):
    """The unified audio-visual network. Introduced in notebooks/06_one_avm.ipynb."""

    SETTINGS = OneAVMSettings
    MAP_RANGE: ClassVar = (-1.0, 1.0)
    CLASSES = ("none",)
    KEEPS = "last"
    ABLATIONS: ClassVar = {
        "table5": {
            "CL": {"separation": False, "alignment": False},
            "MAS": {"correspondence": False, "alignment": False},
            "CL and MAS": {"alignment": False},
            "CL and MVA": {"separation": False},
            "MAS and MVA": {"correspondence": False},
            "CL, MAS and MVA": {},
        },
        "ours": {"MVA": {"correspondence": False, "separation": False}},
        "fig5_depth": {f"depth {depth}": {"decoder_depth": depth} for depth in (4, 8, 12, 16)},
        "fig5_alpha": {f"alpha {alpha}": {"alpha": alpha} for alpha in (0.1, 0.3, 0.5, 0.7, 0.9)},
    }

    def __init__(self, settings: OneAVMSettings, classes: int) -> None:
        super().__init__()
        if not (settings.correspondence or settings.separation or settings.alignment):
            raise SettingsError("correspondence, separation and alignment are all False: there is nothing to learn.")
        self.settings, dim = settings, settings.dim
        quick = LogMel(rate=11_025, n_fft=1024, hop=260, bins=64, scale="htk")
        self.trunk, self.listen, front = eyes_and_ears(
            settings.preset, settings.pretrained, OneAvmLogMel(), quick_front=quick
        )
        self.hear_through(front, 2 ** len(self.listen.widths))
        if settings.preset == "quick":
            self.look, seen, columns = LiteProjection(self.trunk.channels, dim), dim, 256
        else:
            self.look, seen, columns = nn.Identity(), self.trunk.channels, 0
        heads = ("global", "local", "mixed")
        self.audio_heads = nn.ModuleDict({name: nn.Linear(self.listen.channels, dim) for name in heads})
        self.visual_heads = nn.ModuleDict({name: nn.Conv2d(seen, dim, 1) for name in heads})
        self.decoder = Decoder(
            self.listen.widths, seen, settings.decoder_depth, len(self.spectrogram.filterbank), columns
        )

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch seen rows columns"]:
        """Return the encoder's localized representations v^xy."""
        return self.look(self.trunk_maps(frames, features))

    def hear(self, waveform: Float[Tensor, "batch samples"]) -> tuple[list[Tensor], Float[Tensor, "batch heard"]]:
        """Return what the decoder needs of a waveform at ``rate``, its spectrogram and the encoder's maps, and a.

        The spectrogram is filled up with silence until each map is half of the one before, without a rest.
        """
        image = self.filled(self.spectrogram(waveform))
        maps = self.listen.maps(image)
        return [image, *maps], self.listen.pooled(maps, image)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Eq. 6: the sum of "CL" (eq. 2), "MAS" (eq. 4) and "MVA" (eq. 5), those that are not left out.

        Sample k of the first half of the batch is mixed with sample k of the second; a batch of one has no mixtures.
        """
        settings, pairs = self.settings, len(batch) // 2
        waveforms = self.resample(batch.mixture)
        visual = self.see(batch.frames, batch.features)
        couples = rearrange(waveforms[: 2 * pairs], "(n p) t -> p n t", n=2)  # a_i and a_j
        added = couples.sum(dim=1) if settings.separation else waveforms[:0]  # a_m
        levels, audio = self.hear(torch.cat([waveforms, added]))  # as one batch, for one normalisation
        audio = audio[: len(batch)]
        terms = {}
        if settings.correspondence:
            terms["CL"] = self.correspondence_loss(audio, visual)
        if settings.separation and pairs:
            wanted = rearrange(visual.amax(dim=(2, 3))[: 2 * pairs], "(n p) c -> p n c", n=2)
            terms["MAS"] = self.separation_loss(couples, [level[len(batch) :] for level in levels], wanted)
        if settings.alignment and pairs:
            terms["MVA"] = self.alignment_loss(audio, self.blended(batch, pairs))
        if not terms:
            raise SettingsError("A batch of one clip has nothing to mix it with; set batch_size to 2 or more.")
        return {"total": sum(terms.values()), **terms}

    def correspondence_loss(
        self, audio: Float[Tensor, "batch heard"], visual: Float[Tensor, "batch seen rows columns"]
    ) -> Float[Tensor, ""]:
        """Eqs. 1-2: each sound finds its picture among the batch's, and each picture its sound."""
        score = self.correspondence_scores(audio, visual) / self.settings.temperature
        own = torch.arange(len(score), device=score.device)
        return cross_entropy(score, own) + cross_entropy(score.T, own)

    def correspondence_scores(
        self, audio: Float[Tensor, "sounds heard"], visual: Float[Tensor, "pictures seen rows columns"]
    ) -> Float[Tensor, "sounds pictures"]:
        """Eq. 1: the cosine of the global vectors plus that of the local ones at the best position."""
        a_glb, v_glb = self.global_vectors(audio, visual)
        a_loc, v_loc = self.audio_heads["local"](audio), self.visual_heads["local"](visual)
        a_glb, v_glb, a_loc, v_loc = all_rows(a_glb, v_glb, a_loc, v_loc)
        best = all_cosines(a_loc, v_loc).amax(dim=(2, 3))
        return pair_cosines(a_glb, v_glb) + best

    def global_vectors(
        self, audio: Float[Tensor, "batch heard"], visual: Float[Tensor, "batch seen rows columns"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch dim"]]:
        """Return a^glb and v^glb, of the maximum over positions."""
        pooled = visual.amax(dim=(2, 3), keepdim=True)
        return self.audio_heads["global"](audio), self.visual_heads["global"](pooled)[..., 0, 0]

    def separation_loss(
        self,
        sources: Float[Tensor, "pairs sources samples"],
        levels: list[Tensor],
        wanted: Float[Tensor, "pairs sources seen"],
    ) -> Float[Tensor, ""]:
        """Eq. 4: the cross-entropy of the predicted masks, averaged over all bins or the loud ones above all."""
        own, mixture = self.bands(sources)
        targets = source_masks(own, mixture, self.settings.mask_rule)
        logits = self.decoder(levels, wanted, targets.shape[-1])
        weights = None
        if self.settings.bin_weights == "loudness":
            weights = loudness_weights(mixture)[:, None]
            weights = weights / all_rows(weights.mean()[None]).mean()
        return binary_cross_entropy_with_logits(logits, targets, weights)

    def targets(self, sources: Float[Tensor, "pairs sources samples"]) -> Float[Tensor, "pairs sources bands frames"]:
        """Return M of eq. 4 for every source of every sum, by the mask rule."""
        return source_masks(*self.bands(sources), self.settings.mask_rule)

    def blended(self, batch: Batch, pairs: int) -> Float[Tensor, "pairs seen rows columns"]:
        """Return the encoder's map of v_m = alpha v_i + (1 - alpha) v_j (section 3.4)."""
        alpha = self.settings.alpha

        def mix(images: Tensor) -> Tensor:
            images = images.to(self.spread.dtype)
            return alpha * images[:pairs] + (1 - alpha) * images[pairs : 2 * pairs]

        if self.settings.blend == "features":
            return self.look(mix(self.trunk(batch.frames) if batch.features is None else batch.features))
        return self.see(mix(batch.frames))

    def alignment_loss(
        self, audio: Float[Tensor, "batch heard"], blended: Float[Tensor, "pairs seen rows columns"]
    ) -> Float[Tensor, ""]:
        """Eq. 5: each blend finds either of its two sounds, at the best position, among those of the other blends."""
        alpha, tau = self.settings.alpha, self.settings.temperature
        sounds = all_rows(self.audio_heads["mixed"](audio[: 2 * len(blended)])[:, None])
        picture = all_rows(self.visual_heads["mixed"](blended)[:, None])
        first, second = (
            multiple_instance_contrastive(half, picture, tau, both_directions=True) for half in sounds.chunk(2)
        )
        return alpha * first + (1 - alpha) * second

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the cosine map of the local heads, in -1..1, which stands for every source.

        Where CL is left out, the heads of MVA, which are trained on positions too, stand in for its own.
        """
        name = "local" if self.settings.correspondence or not self.settings.alignment else "mixed"
        _, audio = self.hear(self.resample(query.mixture))
        picture = self.visual_heads[name](self.see(query.frames, query.features))
        maps = cosine_maps(self.audio_heads[name](audio)[:, None], picture[:, None])
        return maps.expand(-1, query.sources, -1, -1)

    def masks(
        self, wanted: SourceVectors, waveform: Float[Tensor, "batch samples"], shared: bool = False
    ) -> SourceMasks:
        """Return the predicted masks over the bands, in 0..1, of a mixture at the network's own rate.

        With ``shared`` the sources share each bin (they add up to 1), if there are several.
        """
        levels, _ = self.hear(waveform)
        columns = 1 + max(waveform.shape[-1], self.spectrogram.n_fft) // self.spectrogram.hop
        return shared_out(self.decoder(levels, wanted, columns), shared)

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return a^glb and v^glb, whose cosine retrieves and recognizes: "audio" and "visual", [batch, 1, dim]."""
        _, audio = self.hear(self.resample(batch.mixture))
        a_glb, v_glb = self.global_vectors(audio, self.see(batch.frames, batch.features))
        return {"audio": a_glb[:, None], "visual": v_glb[:, None]}

    def stages(self) -> list[Stage]:
        """One stage, on single clips; the objectives mix them."""
        return [Stage("train", self.settings.epochs, (Recipe(),))]
