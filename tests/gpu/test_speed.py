"""Pairs a second of a training step with the data already on the device, by batch, and what its time goes to.

The ceiling beside them is the roofline of the step's own operations, one by one: each takes the time of its
floating-point operations at half the matrix rate measured on this device, or of its bytes at 85 % of the measured copy
rate, whichever is longer. Operations that a compiler joins need fewer bytes than that.
"""

import gc
from collections import Counter
from typing import Any

import pytest
import torch
from gpu_cases import CASES, DEVICE, DRY, PRESET, Case, build, enter, noise, seconds_of, synchronize
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torchvision.models import resnet18

from avnb.data.augment import augment
from avnb.models.base import Method

MAIN = (Case("ez_vsl"), Case("avgn"))
BATCHES = (2,) if DRY else (128, 256, 512)
LARGE = 2 if DRY else 256


@pytest.fixture(scope="module")
def rates(findings):
    """The device's bf16 matrix rate (operations a second) and copy rate (bytes a second)."""
    side, size = (64, 2**16) if DRY else (8192, 2**31)
    factor = torch.randn(side, side, device=DEVICE, dtype=torch.bfloat16)
    large = torch.empty(size, dtype=torch.uint8, device=DEVICE)
    matrix = 2 * side**3 / seconds_of(lambda: factor @ factor)
    copy = 2 * size / seconds_of(lambda: large.clone())
    findings.add("rates", matrix_tflops=matrix / 1e12, copy_tb_s=copy / 1e12)
    return matrix, copy


@pytest.fixture(autouse=True)
def _emptied():
    """The network and the caches of the test before are gone."""
    yield
    gc.collect()
    if not DRY:
        torch._dynamo.reset()
        torch.cuda.empty_cache()


class Step:
    """A training step as fit() makes it, on one batch that lies on the device."""

    def __init__(self, case: Case, rows: int, compiled: bool = False) -> None:
        self.method = build(case.name, PRESET, **case.switches)
        stage = enter(self.method, case)
        self.recipe, self.rows = stage.recipes[-1], rows
        self.batch = noise(rows, self.recipe, self.method).to(DEVICE)
        self.method.train()
        if compiled:
            compile_networks(self.method)
        weights = [weight for weight in self.method.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(weights, lr=1e-5, fused=not DRY)

    def __call__(self) -> None:
        examples = augment(self.batch, self.recipe, crop=True)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=not DRY):
            total = self.method.loss(examples)["total"]
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self.optimizer.step()


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("rows", BATCHES)
@pytest.mark.parametrize("case", MAIN, ids=str)
def test_step_by_batch(case, rows, compiled, rates, findings):
    if compiled and (DRY or rows != LARGE):
        pytest.skip("compiled once, at the largest useful batch")
    if not DRY:
        torch.backends.cudnn.benchmark = True
        torch.cuda.reset_peak_memory_stats()
    step = Step(case, rows, compiled=compiled)
    seconds = seconds_of(step)
    peak = 0 if DRY else torch.cuda.max_memory_allocated()
    row = {"pairs_per_second": rows / seconds, "peak_gb": peak / 1e9}
    if rows == LARGE and not compiled:
        row |= ceiling(step, *rates) | kernels_of(step)
    findings.add("step", case=str(case), batch=rows, compiled=compiled, **row)
    assert row["pairs_per_second"] > 0


@pytest.mark.parametrize("case", [case for case in CASES if case not in MAIN and not case.switches], ids=str)
def test_step_of_the_other_methods(case, findings):
    rows = 2 if DRY else 64
    seconds = seconds_of(Step(case, rows), times=6, warm=2)
    findings.add("step", case=str(case), batch=rows, compiled=False, pairs_per_second=rows / seconds)
    assert seconds > 0


def test_step_as_ez_vsl_was_released(findings):
    """Two torchvision ResNet-18s in float32, Adam, one direction of data layout: what the step costs as published."""
    rows = LARGE
    picture, sound = resnet18().to(DEVICE), resnet18().to(DEVICE)
    sound.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False).to(DEVICE)
    networks = [nn.Sequential(*list(network.children())[:-2]) for network in (picture, sound)]
    heads = nn.ModuleList([nn.Conv2d(512, 512, 1), nn.Linear(512, 512)]).to(DEVICE)
    weights = [weight for part in (*networks, heads) for weight in part.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-4)
    side = 64 if DRY else 224
    frames = torch.randn(rows, 3, side, side, device=DEVICE)
    spectrogram = torch.randn(rows, 1, 257, 64 if DRY else 276, device=DEVICE)
    target = torch.arange(rows, device=DEVICE)

    def step() -> None:
        seen = normalize(heads[0](networks[0](frames)), dim=1)
        heard = normalize(heads[1](networks[1](spectrogram).amax(dim=(2, 3))), dim=1)
        score = torch.einsum("ndhw,md->nmhw", seen, heard).flatten(2).amax(dim=2) / 0.03
        loss = cross_entropy(score, target) + cross_entropy(score.T, target)
        optimizer.zero_grad()
        loss.backward()
        loss.item()  # its progress bar reads the loss in every step
        optimizer.step()

    seconds = seconds_of(step)
    findings.add("released_step", case="ez_vsl", batch=rows, pairs_per_second=rows / seconds)
    assert seconds > 0


def compile_networks(method: Method) -> None:
    """Compile what looks and what listens, in place; the loss is left as it is."""
    method.trunk.compile()
    method.listen.compile()


class Operations(TorchDispatchMode):
    """The floating-point operations and the bytes of every operation that is run inside."""

    def __init__(self) -> None:
        super().__init__()
        self.costs: list[tuple[float, float]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [value for value in tree_leaves((args, kwargs, out)) if isinstance(value, Tensor)]
            count = flop_registry.get(func._overloadpacket)
            operations = count(*args, **(kwargs or {}), out_val=out) if count else 0
            self.costs.append((float(operations), float(sum(map(bytes_of, tensors)))))
        return out


def bytes_of(tensor: Tensor) -> int:
    """Return the bytes that an operation reads or writes of a tensor: of windows upon windows, what lies below them."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def ceiling(step: Step, matrix: float, copy: float) -> dict[str, float]:
    """Return the operations and bytes of a pair, and the pairs a second that they allow."""
    with Operations() as run:
        step()
    seconds = sum(max(flops / (0.5 * matrix), size / (0.85 * copy)) for flops, size in run.costs)
    flops, size = (sum(costs) / step.rows for costs in zip(*run.costs, strict=True))
    return {"gflop_a_pair": flops / 1e9, "mb_a_pair": size / 1e6, "roofline_pairs_per_second": step.rows / seconds}


def kernels_of(step: Step) -> dict[str, Any]:
    """Return how long a step's kernels take, in milliseconds, and the share of each kind."""
    if DRY:
        return {}
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        step()
        synchronize()
    shares: Counter[str] = Counter()
    for event in seen.key_averages():
        shares[kind(event.key)] += event.self_device_time_total / 1e3
    return {"kernels_ms": shares.total(), "kernels": dict(shares.most_common())}


def kind(kernel: str) -> str:
    """Return the kind of work that a kernel's name stands for."""
    words = {
        "convolution": ("conv", "wgrad", "dgrad", "xmma", "cudnn", "implicit", "fprop", "cutlass"),
        "matrix product": ("gemm", "cublas", "sm90_"),
        "batch norm": ("batch_norm", "bn_", "batchnorm"),
        "spectrogram": ("fft", "dft"),
        "optimizer": ("adam", "multi_tensor"),
        "copy": ("memcpy", "memset", "copy"),
        "pooling": ("pool",),
        "elementwise": ("elementwise", "vectorized", "reduce"),
    }
    name = kernel.lower()
    return next((title for title, parts in words.items() if any(part in name for part in parts)), "other")
