"""Fixtures of the GPU's tests: the report that they write, and the stand-in that they train on."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from gpu_cases import DRY, SAMPLES, SIZE, Findings

from avnb.data.build import open_store
from avnb.data.store import ClipShape, Store
from avnb.standin.build import render

TINY = {("train", "solo"): 44, ("val", "solo"): 11, ("test", "solo"): 22, ("test", "duet"): 6}


@pytest.fixture(scope="session")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Where the figures go: the file that AVNB_GPU_REPORT names, and without a GPU nowhere that stays."""
    named = os.environ.get("AVNB_GPU_REPORT", "")
    path = tmp_path_factory.mktemp("report") / "gpu.json" if DRY or not named else Path(named)
    report = Findings(path)
    device = "cpu (dry)" if DRY else torch.cuda.get_device_name()
    report.add("machine", device=device, torch=torch.__version__, cores=os.cpu_count())
    return report


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """The store of the stand-in of MUSIC, all 1,496 clips; a few where there is no GPU."""
    base = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVNB_DATA", str(base / "data"))
        patch.setenv("AVNB_OUTPUTS", str(base / "outputs"))
        render(base / "data" / "music-standin", counts=TINY if DRY else None, progress=False)
        yield open_store(base / "data" / "music-standin", ClipShape(SIZE, 22_050, SAMPLES / 22_050), progress=False)
