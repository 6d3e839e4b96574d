"""Which device a run is on, and in what precision and how repeatably it counts there."""

import os

import pytest
import torch

from avnb.devices import autocast, fastest, full_precision, pick_device, repeatable
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
