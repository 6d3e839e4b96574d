"""A GPU in float32 says what the CPU says, and bfloat16 what float32 says: every method, both presets."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from gpu_cases import CASES, COMPARED, DEVICE, DRY, Case, apart, build, enter, noise
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from avnb.data.clips import Batch
from avnb.models.base import Method, Query, Separates, Stage

ROWS, FEW = 3 if DRY else 8, 3  # few of what takes a CPU a minute


@pytest.fixture(autouse=True)
def _whole_float32() -> Iterator[None]:
    """No TF32: its 10 bits are not what is compared here."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@contextmanager
def half() -> Iterator[None]:
    """bfloat16 as fit() has it; on a CPU nothing, since its convolutions are no measure of a GPU's."""
    with torch.autocast(DEVICE, torch.bfloat16, enabled=not DRY):
        yield


def pair(case: Case, preset: str, rows: int) -> tuple[Method, Method, Stage]:
    """Return one method on the CPU and on the GPU, of equal weights and in the same stage, and the stage."""
    on_cpu = build(case.name, preset, "cpu", **case.switches).eval()
    stage = enter(on_cpu, case)
    settle(on_cpu, noise(rows, stage.recipes[-1], on_cpu))
    on_gpu = build(case.name, preset, DEVICE, **case.switches).eval()
    on_gpu.load_state_dict(on_cpu.state_dict())
    return on_cpu, on_gpu, stage


def settle(method: Method, batch: Batch) -> None:
    """Let batch norm see a batch: with its first statistics activations, and their rounding, grow layer by layer."""
    norms = [module for module in method.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    method.train()
    with torch.no_grad():
        method.loss(batch)
    method.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def gradient(method: Method) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in method.named_parameters() if weight.grad is not None}


def flat(parts: dict[str, Tensor], names: list[str]) -> Tensor:
    return torch.cat([parts[name].detach().double().cpu().flatten() for name in names])


@pytest.mark.parametrize("preset", ["paper", "quick"])
@pytest.mark.parametrize("case", CASES + COMPARED, ids=str)
def test_loss_gradient_and_maps(case, preset, findings):
    if DRY and preset == "paper" and case in COMPARED:
        pytest.skip("seconds each, and dry the same lines as the quick preset's")
    rows = FEW if case in COMPARED else ROWS
    on_cpu, on_gpu, stage = pair(case, preset, rows)
    batch = noise(rows, stage.recipes[-1], on_cpu)
    there = batch.to(DEVICE)
    terms = [method.loss(examples) for method, examples in ((on_cpu, batch), (on_gpu, there))]
    row = {
        "loss": max(
            abs(float(terms[1][name].detach()) - float(value.detach())) / max(1.0, abs(float(value.detach())))
            for name, value in terms[0].items()
        )
    }
    for method, said in zip((on_cpu, on_gpu), terms, strict=True):
        method.zero_grad()
        said["total"].backward()
    names = sorted(gradient(on_cpu))
    whole = flat(gradient(on_cpu), names)
    row["gradient"] = apart(flat(gradient(on_gpu), names), whole)
    on_gpu.zero_grad()
    with half():
        rough = on_gpu.loss(there)
    rough["total"].backward()
    row["bf16_loss"] = abs(float(rough["total"].detach()) - float(terms[0]["total"].detach())) / abs(
        float(terms[0]["total"].detach())
    )
    row["bf16_gradient_cosine"] = float(cosine_similarity(flat(gradient(on_gpu), names), whole, dim=0))
    with torch.inference_mode():
        row |= answers(on_cpu, on_gpu, batch, there)
    findings.add("same_as_cpu", case=str(case), preset=preset, **row)
    assert row["loss"] < 1e-4
    assert row["gradient"] < 1e-2
    assert row["bf16_gradient_cosine"] > 0.98
    assert max(value for name, value in row.items() if name.startswith(("maps", "recognize", "embed"))) < 1e-3


def answers(on_cpu: Method, on_gpu: Method, batch: Batch, there: Batch) -> dict[str, float]:
    """Return how far apart the two devices' maps, probabilities, vectors and separated sounds are."""
    both = (on_cpu, batch), (on_gpu, there)
    maps = [method.localize(Query.of(examples)) for method, examples in both]
    row = {"maps": apart(maps[1], maps[0])}
    with half():
        row["bf16_maps"] = apart(on_gpu.localize(Query.of(there)).float(), maps[0])
    heard = [method.recognize(examples.mixture) for method, examples in both]
    if heard[0] is not None:
        row["recognize"] = apart(heard[1], heard[0])
    vectors = [method.embed(examples) for method, examples in both]
    row |= {f"embed_{name}": apart(vectors[1][name], value) for name, value in vectors[0].items()}
    if isinstance(on_cpu, Separates):
        sounds = [method.separate(pictures(examples), examples.mixture) for method, examples in both]
        row["separate"] = apart(sounds[1], sounds[0])
    return row


def pictures(batch: Batch) -> Tensor:
    """Return two frames for every mixture: its own and the one before it."""
    return torch.stack([batch.frames, batch.frames.roll(1, dims=0)], dim=1)
