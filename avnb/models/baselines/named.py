"""Named: where an ImageNet classifier sees the class that is asked for, without training here and without hearing.

EfficientNet-Lite0, whose first part is the quick preset's trunk, knows 1,000 names. Its classifier, applied to every
position of the last map in place of their mean, says how much each position speaks for a name: a class activation map
(Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016). On real photographs that is a row to
be beaten by whatever was trained, and a stronger one than a centre square. Which of what is seen sounds it cannot know,
unless it is lent a trained method's ear.

How the classes of a data set are found among ImageNet's names is said in `avnb.networks.imagenet_names`. A class that
has none gets EZ-VSL's object prior (its eq. 8: how active the last map is at all), and so does whatever is asked where
no classes are named. Of all that needs no name it was the best on 480 training photographs of twelve instruments: AP
40.3, the logarithm of the sum of the logits' exponentials (the classifier's energy) 36.7, the likeliest name's map
29.5, a centre square 34.1. A class with a name has 58.3 there (square 37.2) by its logits, 45.9 by the probability of
the name at each position, 55.8 by logits and prior joined in equal parts.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from avnb.config import Settings, did_you_mean
from avnb.devices import pick_device
from avnb.errors import SettingsError
from avnb.metrics.localization import upsample
from avnb.models.base import Method, Query
from avnb.models.ez_vsl import activation
from avnb.networks.encoders import FrozenLite, LiteObjects
from avnb.networks.imagenet_names import every_name, imagenet_classes


class NamedSettings(Settings):
    """What every method is told, of which only the device matters here."""

    METHOD: ClassVar[str] = "named"
    TRAINED: ClassVar[str] = "on ImageNet alone"


class Named(Method):
    """ImageNet's names as classes: a map of each of ``classes`` or, without any, one of whatever is seen.

    ``ear`` is a trained method of the same classes whose `recognize` says which of them sound; with it classes of its
    own can be asked for. It is none of METHODS, since there is nothing to train. The device is the ear's, if any.
    """

    SETTINGS = NamedSettings
    CLASSES: ClassVar = ("oracle",)

    def __init__(self, classes: Sequence[str] = (), ear: Method | None = None, device: str = "auto") -> None:
        super().__init__()
        device = ear.settings.device if ear is not None else pick_device(device)
        self.settings = NamedSettings(preset="quick", device=device)
        self.class_names, self.ear = tuple(classes), ear
        self.numbers = [list(imagenet_classes(name)) for name in self.class_names]
        self.trunk, self.objects = FrozenLite(), LiteObjects()
        if ear is not None:
            self.CLASSES = ("oracle", "predicted")
        elif not self.class_names:
            self.CLASSES = ("none",)
        self.to(device).eval()

    @property
    def unnamed(self) -> tuple[str, ...]:
        """The classes that ImageNet has no name for."""
        return tuple(name for name, numbers in zip(self.class_names, self.numbers, strict=True) if not numbers)

    def about(self, classes: Sequence[str]) -> "Named":
        """Return the same for classes that someone names; raise SettingsError where ImageNet has no name for one."""
        other = Named(classes, self.ear, self.settings.device)
        for name in other.unnamed:
            raise SettingsError(
                f'ImageNet has no name for "{name}", so that nothing can be looked for.'
                f"{did_you_mean(name.lower(), every_name())} It has 1,000, as violin, dog, fire engine."
            )
        return other

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return, for each class that is asked for, the classifier's logits, less what makes them probabilities.

        That is one number a picture, so that the mean of a map is the logarithm of how likely the picture is to show
        the class. Of a class that is several of ImageNet's the exponentials are added up. The object prior is in
        deviations from its mean.
        """
        last, logits = self.look(query)
        prior = activation(last)
        spread, level = torch.std_mean(prior, dim=(1, 2), keepdim=True, correction=0)
        prior = (prior - level) / spread.clamp_min(1e-6)
        logits = logits - logits.mean(dim=(2, 3), keepdim=True).logsumexp(dim=1, keepdim=True)
        if self.class_names:
            every = [logits[:, numbers].logsumexp(dim=1) if numbers else prior for numbers in self.numbers]
            picture = torch.arange(len(prior), device=prior.device)[:, None]
            maps = torch.stack(every, dim=1)[picture, self.asked(query)]
        else:
            maps = prior[:, None].expand(-1, query.sources, -1, -1)
        height, width = query.frames.shape[-2:]
        return upsample(maps, (-(-height // self.trunk.stride), -(-width // self.trunk.stride)))

    def seen(self, query: Query) -> Float[Tensor, "batch sources"]:
        """Return how likely each picture is to show each class that is asked for; NaN where it has no name."""
        pooled = self.look(query)[1].mean(dim=(2, 3)).softmax(dim=1)  # linear: the same as of pooled features
        nothing = pooled.new_full((len(pooled),), torch.nan)
        every = [pooled[:, numbers].sum(dim=1) if numbers else nothing for numbers in self.numbers]
        return torch.stack(every, dim=1).gather(1, self.asked(query))

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"] | None:
        """Return what the ear hears; None without one."""
        return None if self.ear is None else self.ear.recognize(mixture)

    def look(self, query: Query) -> tuple[Float[Tensor, "batch 1280 h w"], Float[Tensor, "batch 1000 h w"]]:
        """Return the classifier's last map, at a stride of 32, and its logits at each position."""
        last, logits = self.objects(self.trunk_maps(query.frames, query.features))
        return last.float(), logits.float()

    def asked(self, query: Query) -> Int[Tensor, "batch sources"]:
        """Return the classes that are asked for: all where none is named."""
        if query.classes is not None:
            return query.classes
        every = torch.arange(len(self.class_names), device=query.frames.device)
        return every.expand(len(query.frames), -1)
