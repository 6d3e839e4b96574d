"""Sums of batches, and of processes, are what the functions find on the whole set."""

import pytest
import torch
from torch import multiprocessing

from avnb.errors import SettingsError
from avnb.metrics.accumulated import LitShare, LocalizationAP, LocalizationIoU, MaskScores
from avnb.metrics.localization import TopHalf, average_precision, iou
from avnb.metrics.masks import f_curves, f_measure, mask_iou
from avnb.metrics.negative_audio import darkness_area, lit_share
from avnb.metrics.protocols import FRAME_WISE, MEAN_IOU, PROTOCOLS, SOURCE_WISE, UNION, numbers, source_wise, union


def drawn():
    torch.manual_seed(0)
    maps, truth = torch.rand(11, 2, 6, 12), torch.zeros(11, 2, 6, 12)
    truth[:, 0, 1:5, 1:4] = truth[:, 1, :3, 7:11] = 1
    truth[3, 1] = 0  # a source that is nowhere to be seen
    return maps, truth


def whole(protocol, maps, truth):
    overlap = torch.stack([iou(TopHalf()(maps[:, k]), truth[:, k]) for k in range(2)], dim=1).double()
    if protocol == UNION:
        return union(maps, truth, TopHalf())
    return source_wise(maps, truth, TopHalf(), (1, 2)) if protocol == SOURCE_WISE else overlap


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_batches_add_up_to_the_set(protocol):
    maps, truth = drawn()
    metric = LocalizationIoU("top_half", protocol, (1, 2))
    for part in (slice(0, 4), slice(4, 5), slice(5, 11)):
        metric.update(maps[part], truth[part])
    wanted = numbers(protocol, whole(protocol, maps, truth))
    found = {name: value.item() for name, value in metric.compute().items()}
    for name, value in wanted.items():
        if name not in ("IIoU", "IAUC"):
            assert found[name.removeprefix("C")] == pytest.approx(value, abs=1e-6)


def test_ap_is_the_mean_over_pictures():
    maps, truth = drawn()
    metric = LocalizationAP()
    first = metric(maps[:5], truth[:5])["AP"]
    metric.update(maps[5:], truth[5:])
    each = average_precision(maps.flatten(0, 1), truth.flatten(0, 1)).reshape(11, 2).nanmean(1)
    assert metric.compute()["AP"].item() == pytest.approx(each.mean().item(), abs=1e-6)
    assert first.item() == pytest.approx(each[:5].mean().item(), abs=1e-6)  # forward is of its batch alone
    metric.reset()
    assert metric.compute()["AP"].isnan()


def test_lit_shares_and_masks_add_up():
    maps, truth = drawn()
    maps, truth = maps[:, 0], truth[:, 1] > 0
    lit, masks = LitShare(0.7), MaskScores()
    for part in (slice(0, 6), slice(6, 11)):
        lit.update(maps[part])
        masks.update(maps[part], truth[part])
    shares = lit_share(maps, 0.7)
    assert lit.compute()["pIA"].item() == pytest.approx(shares.mean().item(), abs=1e-6)
    assert lit.compute()["AUC_N"].item() == pytest.approx(darkness_area(shares), abs=1e-6)
    assert masks.compute()["mIoU"].item() == pytest.approx(mask_iou(maps > 0.5, truth).mean().item(), abs=1e-6)
    assert masks.compute()["F"].item() == pytest.approx(f_measure(f_curves(maps, truth)), abs=1e-6)


def test_two_states_are_one_when_added_and_travel_in_a_state_dict():
    maps, truth = drawn()
    first, second, both = (LocalizationIoU("min_max(0.5)", MEAN_IOU) for _ in range(3))
    first.update(maps[:4], truth[:4])
    second.update(maps[4:], truth[4:])
    both.update(maps, truth)
    restored = LocalizationIoU("min_max(0.5)", MEAN_IOU)
    restored.load_state_dict(first.state_dict())
    restored.merge_state(second)
    for name, value in both.compute().items():
        torch.testing.assert_close(restored.compute()[name], value)


def of_a_process(rank, address, folder):
    torch.distributed.init_process_group("gloo", f"file://{address}", rank=rank, world_size=2)
    maps, truth = drawn()
    metric = LocalizationIoU("top_half")
    metric.update(maps[rank::2], truth[rank::2])
    torch.save(metric.synchronize().compute(), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_numbers_of_one(tmp_path):
    multiprocessing.spawn(of_a_process, (str(tmp_path / "meet"), str(tmp_path)), nprocs=2)
    maps, truth = drawn()
    alone = LocalizationIoU("top_half")
    alone.update(maps, truth)
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"{rank}.pt"), alone.compute())


def test_a_misspelt_rule_or_protocol_is_refused_at_once():
    with pytest.raises(SettingsError):
        LocalizationIoU("half")
    with pytest.raises(SettingsError):
        LocalizationIoU(protocol="frame")
    assert LocalizationIoU().protocol == FRAME_WISE
