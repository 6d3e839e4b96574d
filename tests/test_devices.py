"""Which device a run is on, and in what precision and how repeatably it counts there."""

import os

import numpy as np
import pytest
import torch

import avnb.devices
from avnb.devices import (
    all_rows,
    autocast,
    chance,
    fastest,
    full_precision,
    own_rows,
    pick_device,
    repeatable,
    rolled,
    shared_batches,
)
from avnb.errors import SettingsError


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:-1", "CPU", "cuda:99999999999999999999"])
def test_a_device_that_is_none_is_refused(name):
    assert "is no device" in refusal(name)


@pytest.mark.parametrize("name", ["cuda:99", "mps:7", "meta", "xpu"])
def test_a_device_that_this_machine_lacks_is_refused(name):
    said = refusal(name)
    assert f'device = "{name}": this machine has' in said
    assert '"auto"' in said


def test_the_cpu_is_always_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert [pick_device(name) for name in ("auto", "cpu", "cpu:0")] == ["cpu", "cpu", "cpu"]


def test_auto_takes_a_gpu_that_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == "cuda"


def test_half_precision_is_for_gpus_alone():
    half = torch.rand(2, 2) @ torch.rand(2, 2)
    with autocast("cpu"):
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == half.dtype == torch.float32
    assert not autocast("cpu")._enabled


def test_full_precision_switches_autocast_off():
    with torch.autocast("cpu", torch.bfloat16), full_precision("cpu"):
        assert (torch.rand(2, 2) @ torch.rand(2, 2)).dtype == torch.float32


def test_only_a_cpu_s_training_is_made_repeatable_and_the_setting_is_given_back():
    with repeatable("cuda"):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable("cpu"):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_gpu_s_training_is_made_repeatable_where_that_is_asked(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable("cuda", on_gpu=True):
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # without it torch refuses to multiply matrices
    assert not torch.are_deterministic_algorithms_enabled()


def test_kernels_are_tried_on_a_gpu_alone_and_the_setting_is_given_back():
    assert not torch.backends.cudnn.benchmark
    with fastest("cuda"):
        assert torch.backends.cudnn.benchmark
    with fastest("cpu"):
        assert not torch.backends.cudnn.benchmark


def refusal(name: str) -> str:
    with pytest.raises(SettingsError) as caught:
        pick_device(name)
    return str(caught.value)


def as_one_of(monkeypatch: pytest.MonkeyPatch, count: int, number: int) -> None:
    monkeypatch.setattr(avnb.devices, "process_count", lambda: count)
    monkeypatch.setattr(avnb.devices, "process_number", lambda: number)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("frames", [1, 2])
def test_each_row_of_a_shared_batch_is_one_process_s_and_so_is_its_partner(monkeypatch, count, frames):
    """A mixture's frames stay together, and row k is where row k of the batch's other half is."""
    size, found = 4 * count, []
    for number in range(count):
        as_one_of(monkeypatch, count, number)
        with shared_batches(size):
            rows = own_rows(torch.arange(size * frames))
            assert rows.tolist() == own_rows(np.arange(size * frames)).tolist()
            mixtures, pairs = own_rows(np.arange(size)), own_rows(np.arange(size // 2))
        assert rows.tolist() == [frames * mixture + frame for mixture in mixtures for frame in range(frames)]
        assert mixtures.tolist() == [*pairs, *(pairs + size // 2)]
        found += rows.tolist()
    assert sorted(found) == list(range(size * frames))


def test_chance_is_the_whole_batch_s(monkeypatch):
    parts = []
    for number in range(2):
        as_one_of(monkeypatch, 2, number)
        torch.manual_seed(0)
        with shared_batches(8):
            parts.append(chance(torch.rand, 4))
    torch.manual_seed(0)
    assert torch.equal(torch.stack(parts, dim=1).flatten(), torch.rand(8))


def test_a_batch_that_is_not_shared_has_no_other_rows(monkeypatch):
    as_one_of(monkeypatch, 2, 1)
    rows = torch.arange(6)
    assert own_rows(rows) is rows
    assert all_rows(rows) is rows
    assert torch.equal(rolled(rows, 1), rows.roll(1))


def test_under_torchrun_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [pick_device(name) for name in ("auto", "cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:3", "cuda:1", "cpu"]
    monkeypatch.setenv("LOCAL_RANK", "4")
    assert "this machine has 4 of that kind" in refusal("cuda")
