"""A method asked with another sound than the picture's: who answers the same has not listened."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from avnb.errors import SettingsError
from avnb.models.base import Method, Query

SOUNDS = ("silence", "another")


class WithOtherSound(Method):
    """A trained method that hears "silence", or "another" mixture of its batch, in place of what is mixed.

    It is judged as the method is: ``evaluate(WithOtherSound(method, "silence"), store, trial)``. Raises SettingsError
    for another sound. Introduced in notebooks/14_honest_evaluation.ipynb.
    """

    def __init__(self, method: Method, sound: str) -> None:
        super().__init__()
        if sound not in SOUNDS:
            raise SettingsError(f'sound = "{sound}": there are {", ".join(SOUNDS)}.')
        self.method, self.sound, self.settings, self.trunk = method, sound, method.settings, method.trunk
        self.CLASSES, self.MAP_RANGE = method.CLASSES, method.MAP_RANGE

    def heard(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
        """Return what the method is given in place of each mixture; alone in its batch a mixture has only silence."""
        if self.sound == "silence" or len(mixture) == 1:
            return torch.zeros_like(mixture)
        return mixture.roll(1, dims=0)

    def localize(self, query: Query) -> Float[Tensor, "batch sources rows columns"]:
        """Return the method's maps of the other sound."""
        return self.method.localize(replace(query, mixture=self.heard(query.mixture)))

    def recognize(self, mixture: Float[Tensor, "batch time"]) -> Float[Tensor, "batch classes"] | None:
        """Return what the method takes the other sound for."""
        return self.method.recognize(self.heard(mixture))
