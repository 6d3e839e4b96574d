"""DMC: cluster what is seen and what is heard, and let the clusters find each other (Hu, Nie and Li, CVPR 2019).

The positions of a picture's map and those of its sound's map are brought into one space and each clustered by a soft
k-means that is a layer of the network. Every cluster of the sound is to lie near a cluster of its own picture and away
from those of another. Where a sound's cluster finds its nearest one, there is its source: as many maps as there are
sources, without names.

It is told the number of sources, as DSOL's tables told it: N clusters for the sound, N + 1 for the picture, whose
background needs one. Two clusters of a sound may find the same one of the picture; their maps are then the same.

This is the authors' simplified program (one set of clusters a modality, distances without the original's cosine hinge;
it is what DSOL's and the later papers' rows come from). The original's loader yields no sound and its distances compare
clusters with the wrong partners. The simplified program starts from random weights and saves the clusters' assignments
without saying which is the source's; here it is the nearest one's. It pads its first layer by 3 pixels where 1 would do
(``padding``), which makes 15x15 positions of 224x224 pixels that do not lie where they are drawn.

The distances have no scale of their own, so the margin must have the features'. In the quick preset's space the
picture's clusters are about ten apart at the start. With the released margin of 5 a sound settles half of it away from
the background, which is the same in every picture, and never meets the object's cluster: the loss stays at 3.0 of 3.1
(a distance that says nothing) and the nearest cluster was the object's in 1 % of the stand-in's test solos. With 20
the objects are within reach.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from avnb.config import Settings, setting
from avnb.data.clips import Batch, Recipe
from avnb.devices import rolled
from avnb.errors import SettingsError
from avnb.models.base import AS_DSOL, QUICK, Method, Query, Stage
from avnb.networks.encoders import IMAGENET_MEAN, IMAGENET_STD, ResNetFrames
from avnb.networks.losses import pair_contrast
from avnb.networks.nonnegative import AsItIs, nonnegative_pair
from avnb.networks.presets import RATE
from avnb.networks.shapes import Features, Frames
from avnb.networks.soft_kmeans import soft_kmeans, squared_distances
from avnb.networks.spectrograms import DsolLogMel, at_rate


@dataclass(frozen=True)
class DMCSettings(Settings):
    """DMC's settings; the defaults are the simplified program's, 0 the preset's."""

    METHOD: ClassVar[str] = "dmc"
    PRESETS: ClassVar = {
        "quick": {"epochs": 8, **QUICK, "dim": 128, "margin": 20.0},
        "paper": {"epochs": 100, **AS_DSOL, "dim": 512, "margin": 5.0},
    }

    dim: int = setting(0, low=0, high=8192, doc="width of the shared space; 0: the preset's")
    sources: int = setting(1, low=1, high=8, doc="sources in a training example, and clusters of its sound")
    sharpness: float = setting(30.0, low=0.0, high=1e4, doc="beta of the soft k-means")
    rounds: int = setting(4, low=1, high=100, doc="of the soft k-means")
    padding: int = setting(1, low=1, high=3, doc="pixels around the paper preset's first layer; 3 as released")
    pretrained: bool = setting(
        False, doc="ImageNet weights, and a ResNet-18 that fits them, for the paper preset's frames"
    )
    margin: float = setting(0.0, low=0.0, high=1e4, doc="how far a mismatch is pushed apart; 0: the preset's")


class DMC(Method):
    """Deep multimodal clustering, simplified."""

    SETTINGS: ClassVar = DMCSettings
    CLASSES: ClassVar = ("best_pairing",)
    TAKES_SCENES: ClassVar = True

    def __init__(self, settings: DMCSettings, classes: int) -> None:
        super().__init__()
        self.settings = settings
        if settings.preset == "quick":
            self.trunk, self.last_stage, self.listen, self.spectrogram = nonnegative_pair(
                "quick", False, DsolLogMel(), places=True
            )
        else:
            self.trunk = ResNetFrames(16) if settings.pretrained else SmallStem(3, settings.padding)
            self.last_stage, self.listen = AsItIs(512), SmallStem(1, settings.padding)
            self.spectrogram = at_rate(DsolLogMel(), RATE)
        self.project_visual = nn.Linear(self.last_stage.channels, settings.dim)
        self.project_audio = nn.Linear(self.listen.channels, settings.dim)

    def see(self, frames: Frames, features: Features | None = None) -> Float[Tensor, "batch rows columns dim"]:
        """Return the picture's positions in the shared space."""
        maps = self.last_stage(self.trunk_maps(frames, features))
        return self.project_visual(rearrange(maps, "b c h w -> b h w c"))

    def hear(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch places dim"]:
        """Return the places of the sound's map, bins times times, in the shared space."""
        return self.project_audio(rearrange(self.listen(self.spectrogram(mixture)), "b c h w -> b (h w) c"))

    def cluster(
        self, points: Float[Tensor, "batch positions dim"], clusters: int
    ) -> tuple[Float[Tensor, "batch {clusters} dim"], Float[Tensor, "batch {clusters} positions"]]:
        """Return the centres of the clusters and how much each position belongs to each."""
        return soft_kmeans(points, clusters, self.settings.sharpness, self.settings.rounds)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The clusters of each sound lie near its own picture's and away from those of the batch's next."""
        if len(batch) < 2:
            raise SettingsError("A mismatch takes a second clip: batch_size must be at least 2.")
        sources = self.settings.sources
        heard, _ = self.cluster(self.hear(batch.mixture), sources)
        seen, _ = self.cluster(self.see(batch.frames, batch.features).flatten(1, 2), sources + 1)
        matched, mismatched = between(heard, seen), between(heard, rolled(seen, -1))
        total = pair_contrast(matched, mismatched, self.settings.margin)
        return {"total": total, "contrast": total}

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return for each cluster of the sound the picture's cluster nearest to it: each position's share, in 0..1.

        There are as many as ``classes`` has columns, whose values say nothing to the method.
        """
        sources = self.settings.sources if query.classes is None else query.sources
        positions = self.see(query.frames, query.features)
        heard, _ = self.cluster(self.hear(query.mixture), sources)
        seen, shares = self.cluster(positions.flatten(1, 2), sources + 1)
        nearest = squared_distances(heard, seen).argmin(dim=2)
        maps = shares.gather(1, nearest[:, :, None].expand(-1, -1, shares.shape[2]))
        return maps.unflatten(2, positions.shape[1:3])

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        """Return the centres of the "audio" clusters, one a source, and the "visual" centre nearest to each."""
        sources = batch.source_classes.shape[1]
        heard, _ = self.cluster(self.hear(batch.mixture), sources)
        seen, _ = self.cluster(self.see(batch.frames, batch.features).flatten(1, 2), sources + 1)
        nearest = squared_distances(heard, seen).argmin(dim=2)
        return {"audio": heard, "visual": seen.gather(1, nearest[:, :, None].expand(-1, -1, seen.shape[2]))}

    def stages(self) -> list[Stage]:
        """One stage, on single clips, or on mixtures side by side."""
        sources = self.settings.sources
        recipe = Recipe() if sources == 1 else Recipe(sources, "side_by_side")
        return [Stage("train", self.settings.epochs, (recipe,))]


def between(
    heard: Float[Tensor, "batch sources dim"], seen: Float[Tensor, "batch clusters dim"]
) -> Float[Tensor, " batch"]:
    """Return the squared distances of the sound's clusters, each to the picture's nearest, added up."""
    return squared_distances(heard, seen).amin(dim=2).sum(dim=1)


class SmallStem(nn.Module):
    """The simplified program's ResNet-18: a 3x3 stem and strides of 2, 2, 1 and 1, from random weights.

    Frames (0..255) of 224x224 become 14x14 positions, with a ``padding`` of 3 15x15.
    """

    channels = 512
    stride = 16
    frozen = False

    def __init__(self, inputs: int, padding: int = 1) -> None:
        from torchvision.models import resnet18
        from torchvision.models.resnet import BasicBlock

        super().__init__()
        self.normalise = ImageNetColours() if inputs == 3 else nn.Identity()
        network = resnet18()
        network.conv1 = nn.Conv2d(inputs, 64, 3, 2, padding, bias=False)
        shortcut = nn.Sequential(nn.Conv2d(64, 64, 1, 2, bias=False), nn.BatchNorm2d(64))
        network.layer1[0] = BasicBlock(64, 64, 2, shortcut)
        for stage in (network.layer3, network.layer4):
            stage[0].conv1.stride = stage[0].downsample[0].stride = (1, 1)
        self.body = nn.Sequential(*list(network.children())[:-2])

    def forward(self, image: Shaped[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 512 rows columns"]:
        return self.body(self.normalise(image))


class ImageNetColours(nn.Module):
    """Frames 0..255 to about zero mean and unit scale."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, frames: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
        return (frames.to(self.mean.dtype) - self.mean) / self.std
