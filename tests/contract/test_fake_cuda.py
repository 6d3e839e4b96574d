"""Every method on a GPU that is not there: fake tensors have a device, a type and a shape, but no values.

They refuse to meet a tensor of another device, and raise where Python asks for a value: that is where a training step
would wait for the GPU, and where torch.compile would break off. What is backward of them cannot be run.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from contract_batches import BATCH, PRESETS, batch_for, built, through_stages
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from avnb.data.augment import augment
from avnb.data.clips import Batch, Recipe
from avnb.devices import autocast
from avnb.models import METHODS, Method, Query, Separates

INDEXING = (torch.ops.aten.index.Tensor, torch.ops.aten.index_put_.default, torch.ops.aten.index_put.default)


class PretendedGpu(FakeTensorMode):
    """Fake tensors that do not take another device's indices either, from which plain ones copy without a word."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in INDEXING:
            devices = {index.device.type for index in args[1] if isinstance(index, torch.Tensor)}
            if devices - {args[0].device.type}:
                raise RuntimeError(f"a tensor on {args[0].device.type} is indexed with one on {devices}")
        return super().__torch_dispatch__(func, types, args, kwargs or {})


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Let there be a GPU whose tensors hold nothing, with CUDA's rules of autocast."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # which knows no fake tensors
    try:
        with (
            patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
            patch("torch.cuda.is_bf16_supported", return_value=True),
            PretendedGpu(allow_non_fake_inputs=True),
        ):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def on_gpu(method: Method, batch: Batch) -> tuple[Method, Batch]:
    return method.to("cuda", memory_format=torch.channels_last), batch.to("cuda")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", METHODS)
def test_a_step_stays_on_the_gpu_and_never_waits_for_it(name, preset):
    method = built(name, preset)
    for stage in through_stages(method):
        for recipe in stage.recipes:
            there, batch = copy.deepcopy(method), batch_for(recipe)  # copied here: what is fake cannot be
            with pretended_gpu():
                there, batch = on_gpu(there, batch)
                with autocast("cuda"):
                    terms = there.train().loss(augment(batch, recipe, crop=True))
            for term, value in terms.items():
                assert isinstance(value, FakeTensor)
                assert (value.device.type, value.dtype) == ("cuda", torch.float32), term


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", METHODS)
def test_all_that_a_method_can_be_asked_is_answered_on_the_gpu(name, preset):
    method = built(name, preset)
    last = method.stages()[-1].name
    for stage in through_stages(method):
        if preset == "paper" and stage.name != last:
            continue  # what a phase changes is the same in both presets
        there, batch = copy.deepcopy(method).eval(), batch_for(Recipe(2, "side_by_side"))
        with pretended_gpu():
            there, batch = on_gpu(there, batch)
            with torch.inference_mode(), autocast("cuda"):
                found = {"maps": there.localize(Query.of(batch))}
                if stage.name == last:  # before, it is only asked for the validation's maps
                    found |= {"all": there.localize(Query(batch.frames, batch.mixture))}
                    found |= {"one": there.localize(Query(batch.frames, batch.mixture, batch.source_classes[:, :1]))}
                    found |= there.embed(batch) | there.encode(batch)
                    if isinstance(there, Separates):
                        found["sounds"] = there.separate(batch.source_frames, batch.mixture)
                if (heard := there.recognize(batch.mixture)) is not None:
                    found["heard"] = heard
                    assert heard.dtype == torch.float32  # half precision has 1.0 from a logit of 6.2 on
        assert {value.device.type for value in found.values()} == {"cuda"}, stage.name
        assert found["maps"].shape[:2] == (BATCH, 2)
