"""What a network is whose weights somebody else has trained, and that no run changes or keeps."""

from torch import nn


class Frozen(nn.Module):
    """A network that stays as it is: without gradients, in evaluation mode, and fetched anew where a run is loaded."""

    frozen = True

    def freeze(self) -> None:
        """Take no gradients from now on; called when the network is whole."""
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stay in evaluation mode: the statistics of a frozen network are frozen too."""
        return super().train(False)
