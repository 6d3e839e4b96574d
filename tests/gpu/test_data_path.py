"""Training from the store, end to end: rows read, copied, mixed, augmented, and the step itself."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from gpu_cases import DEVICE, DRY, PRESET, build, synchronize
from tqdm import tqdm

from avnb.devices import fastest
from avnb.training import fit as training
from avnb.training.examples import gather_examples

ROWS = 8 if DRY else 256
STEPS = 3 if DRY else 60


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("kept", [False, True], ids=["made ahead", "kept on the GPU"])
@pytest.mark.parametrize("name", ["ez_vsl", "avgn"])
def test_an_epoch_of_training(name, kept, compiled, standin, findings):
    """fit()'s own epoch on the stand-in's clips, many times over, so that what comes once an epoch is not in it."""
    if DRY and (kept or compiled):
        pytest.skip("this wants a GPU")
    if kept and compiled:
        pytest.skip("each of the two is measured by itself")
    method = build(name, PRESET, batch_size=ROWS)
    device, stage = torch.device(DEVICE), method.stages()[-1]
    examples = gather_examples(method, standin, progress=False)
    times = -(-STEPS * ROWS // len(examples.train))
    examples = replace(examples, train=np.tile(examples.train, times)[: STEPS * ROWS])
    if kept:
        examples = examples.kept_on(device)
        assert examples.kept is not None
    if compiled:
        training._compile(method)
    optimizer = training._optimizer(method)
    bar = tqdm(disable=True)
    for epoch in range(2):  # the first chooses the convolutions' algorithms
        synchronize()
        began = time.perf_counter()
        with fastest(device):
            terms = training._train_epoch(
                method, method.loss, examples, stage, optimizer, (0, epoch), lambda _: 1e-5, bar
            )
        synchronize()
        seconds = time.perf_counter() - began
    rate = ROWS * STEPS / seconds
    findings.add("from_the_store", case=name, batch=ROWS, kept=kept, compiled=compiled, pairs_per_second=rate)
    assert np.isfinite(terms["total"])
