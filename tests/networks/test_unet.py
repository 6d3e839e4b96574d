"""The U-Nets: sizes of Sound of Pixels', shapes of both, and that both can start next to zero."""

import pytest
import torch

from avnb.networks.unet import SlimUNet, UNet


def test_the_seven_levels_have_the_released_codes_numbers_of_parameters():
    sizes = {
        (outputs, inputs): sum(weight.numel() for weight in UNet(outputs, inputs).parameters())
        for outputs, inputs in ((32, 1), (16, 1), (1, 2))
    }
    assert sizes == {(32, 1): 30_274_210, (16, 1): 30_255_762, (1, 2): 30_239_493}


@pytest.mark.parametrize("network", [UNet(3, 2, (4, 8, 16, 32)), SlimUNet(3, 2)], ids=["paper", "quick"])
def test_maps_are_as_large_as_the_image_and_every_weight_is_used(network):
    image = torch.randn(2, 2, 64, 2 * network.step)
    maps = network(image)
    assert maps.shape == (2, 3, 64, 2 * network.step)
    maps.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    network.start_near_zero()
    assert network.eval()(image).abs().max() < 0.02


def test_levels_are_joined_as_in_the_released_code():
    """Three levels, written out: down, down, down; up, joined with the second, up, joined with the first, up."""
    torch.manual_seed(0)
    net = UNet(2, widths=(4, 8, 16), narrow_start=False).eval()
    image = torch.randn(1, 1, 16, 24)
    x = net.norm(image)

    def leaky(y):
        return torch.where(y > 0, y, 0.2 * y)

    def doubled(y):
        return torch.nn.functional.interpolate(y.relu(), scale_factor=2, mode="bilinear", align_corners=True)

    first = net.downs[0](x)
    second = net.down_norms[0](net.downs[1](leaky(first)))
    third = net.downs[2](leaky(second))
    up = net.up_norms[1](net.ups[2](doubled(third)))
    up = net.up_norms[0](net.ups[1](doubled(torch.cat([second, up], dim=1))))
    expected = net.ups[0](doubled(torch.cat([first, up], dim=1)))
    torch.testing.assert_close(net(image), expected)
