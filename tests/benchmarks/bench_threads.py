"""Training steps a second, alone and beside a busy process, with threads of OpenMP that spin or sleep when they wait.

Run with ``pytest tests/benchmarks/bench_threads.py -o addopts= --benchmark-columns=median``: on two cores or more.

Two cores of an AMD EPYC, two runs each, steps a second:

                                   alone        beside one busy process
    as OpenMP does (300,000)       3.5, 3.4     0.98, 1.02
    GOMP_SPINCOUNT=3000            3.5, 3.1     1.53, 1.42
"""

import multiprocessing
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

STEPS = """
import time, torch
from avnb.data.clips import Batch
from avnb.models.one_avm import OneAVM, OneAVMSettings

method = OneAVM(OneAVMSettings(preset="quick").resolve("cpu"), 11).train()
waveforms = 0.2 * torch.randn(16, 1, 66_150)
batch = Batch(
    torch.randint(256, (16, 3, 224, 224), dtype=torch.uint8), waveforms[:, 0], torch.eye(11)[torch.arange(16) % 11],
    torch.arange(16)[:, None] % 11, source_waveforms=waveforms,
    features=torch.randn(16, method.trunk.channels, 14, 14),
)
optimizer = torch.optim.AdamW([weight for weight in method.parameters() if weight.requires_grad])
done, started = 0, None
while started is None or time.perf_counter() - started < 10:
    if done == 2:
        started = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    method.loss(batch)["total"].backward()
    optimizer.step()
    done += 1
print((done - 2) / (time.perf_counter() - started))
"""


def spin() -> None:
    while True:
        pass


@contextmanager
def busy(processes: int):
    others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no threads that wait for each other")
@pytest.mark.parametrize("others", [0, 1])
@pytest.mark.parametrize("spins", ["as OpenMP does", "3000"])
def test_steps_beside_busy_processes(benchmark, others, spins):
    """The plain rows name libgomp's own count, since avnb sets 3000 where nothing is said."""
    said = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_NUM_THREADS")}
    said |= {"GOMP_SPINCOUNT": "3000"} if spins == "3000" else {"GOMP_SPINCOUNT": "300000"}
    rates = []

    def run():
        done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, env=said, check=True)
        rates.append(float(done.stdout))

    with busy(others):
        benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["steps a second"] = round(rates[0], 2)
