"""U-Nets that hear a mixture: an image of its spectrogram in, so many maps of the same size out.

``UNet`` is Sound of Pixels', seven levels deep, which MP-Net and CCoL took over. ``SlimUNet`` is the quick preset's.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from avnb.networks.encoders import SlimSound

SMALL = 1e-5  # deviation of the last weights of a network that starts next to 0
WIDTHS = (64, 128, 256, 512, 512, 512, 512)  # channels of the levels, the outermost first


class UNet(nn.Module):
    """The U-Net of Sound of Pixels: a 4x4 convolution a level halves the image, and its way back doubles it.

    Every level but the first rectifies (slope 0.2), halves and, but for the innermost, normalises; on the way back it
    rectifies, doubles bilinearly, convolves 3x3 and normalises, and is joined with the map it came from. The input is
    normalised too. Sides must be multiples of ``step``. ``narrow_start`` begins with the released weights' N(0, 0.001)
    (Sound of Pixels, MP-Net), else with torch's own (CCoL).
    """

    def __init__(self, outputs: int, inputs: int = 1, widths: Sequence[int] = (), narrow_start: bool = True) -> None:
        super().__init__()
        widths = [inputs, *(widths or WIDTHS)]
        self.step = 2 ** (len(widths) - 1)
        self.norm = nn.BatchNorm2d(inputs)
        self.downs = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1, bias=False) for a, b in pairwise(widths))
        self.down_norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in widths[2:-1])
        above = [outputs, *widths[1:-1]]  # what a level on the way back returns, the outermost first
        below = [2 * channels for channels in widths[1:-1]] + [widths[-1]]  # what it is given
        self.ups = nn.ModuleList(
            nn.Conv2d(b, a, 3, 1, 1, bias=level == 0) for level, (a, b) in enumerate(zip(above, below, strict=True))
        )
        self.up_norms = nn.ModuleList(nn.BatchNorm2d(channels) for channels in above[1:])
        if narrow_start:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.normal_(module.weight, 0.0, 0.001)
                elif isinstance(module, nn.BatchNorm2d):
                    nn.init.normal_(module.weight, 1.0, 0.02)

    def start_near_zero(self) -> None:
        """Let the maps be next to 0 until the network is trained."""
        _shrink(self.ups[0])

    def forward(self, image: Float[Tensor, "batch inputs bins frames"]) -> Float[Tensor, "batch outputs bins frames"]:
        """Return the maps; no activation behind them."""
        x, kept = self.norm(image), []
        for level, down in enumerate(self.downs):
            x = down(leaky_relu(x, 0.2) if level else x)
            if 0 < level < len(self.downs) - 1:
                x = self.down_norms[level - 1](x)
            kept.append(x)
        for level in reversed(range(len(self.ups))):
            x = x if level == len(self.ups) - 1 else torch.cat([kept[level], x], dim=1)
            x = interpolate(torch.relu(x), scale_factor=2, mode="bilinear", align_corners=True)
            x = self.ups[level](x)
            if level:
                x = self.up_norms[level - 1](x)
        return x


class SlimUNet(nn.Module):
    """The quick preset's: `SlimSound` halves the image five times, transposed convolutions double it, maps are added.

    A convolution treats all frequencies alike, but a tuba is low: every level learns an offset for each of its rows.
    Beside the U-Net stand convolutions over time alone that see a column of all ``bands`` as a vector, ``columns``
    wide, since what tells two instruments apart, a tone and its overtones, is spread over the column; a U-Net has no
    time to learn that from local patterns (`avnb.networks.mask_decoder.Columns` says by how much).
    """

    def __init__(self, outputs: int, inputs: int = 1, bands: int = 64, width: int = 16, columns: int = 128) -> None:
        super().__init__()
        sound = SlimSound(width, bands, inputs)
        self.step = 2 ** len(sound.widths)
        self.norm = nn.BatchNorm2d(inputs)
        self.downs = nn.ModuleList([sound.stem, *sound.stages])
        widths = [outputs, *sound.widths]
        self.ups, self.norms, self.offsets = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        for level, (a, b) in enumerate(zip(widths, sound.widths, strict=False)):
            self.ups.append(nn.ConvTranspose2d(b, a, 4, 2, 1, bias=level == 0))
            self.offsets.append(nn.Parameter(torch.zeros(a, bands >> level, 1)))
            if level:
                self.norms.append(nn.BatchNorm2d(a))
        self.outputs = outputs
        self.columns = nn.Sequential()
        for width in (inputs * bands, columns, columns):
            self.columns.extend(
                [nn.Conv1d(width, columns, 3, padding=1, bias=False), nn.BatchNorm1d(columns), nn.ReLU()]
            )
        self.columns.append(nn.Conv1d(columns, outputs * bands, 1))

    def start_near_zero(self) -> None:
        """Let the maps be next to 0 until the network is trained."""
        _shrink(self.ups[0])
        _shrink(self.columns[-1])

    def forward(self, image: Float[Tensor, "batch inputs bands frames"]) -> Float[Tensor, "batch outputs bands frames"]:
        """Return the maps; no activation behind them."""
        image = self.norm(image)
        x, kept = image, []
        for down in self.downs:
            x = down(x)
            kept.append(x)
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](x)
            if level:
                x = torch.relu(self.norms[level - 1](x + kept[level - 1]) + self.offsets[level])
        columns = self.columns(image.flatten(1, 2)).unflatten(1, (self.outputs, -1))
        return x + self.offsets[0] + columns


def _shrink(layer: nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d) -> None:
    """Make a layer's weights small, so that those before it still learn, and its offsets 0."""
    with torch.no_grad():
        layer.weight.mul_(SMALL / layer.weight.std())
    nn.init.zeros_(layer.bias)
