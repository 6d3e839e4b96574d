"""Arguments that do not fit are refused in a sentence by every public metric, and never become a number.

They are tried in a process without the shape checks that the tests themselves run under: a user's has none.
"""

import json
import subprocess
import sys

import pytest

CALLS = {
    "maps smaller than the truth": ("average_precision(rand(2, 7, 7), ones(2, 8, 8))", "shape 2 x 8 x 8"),
    "truth smaller than the maps": ("average_precision(rand(2, 8, 8), ones(2, 7, 7))", "upsample enlarges"),
    "more maps than truths": ("average_precision(rand(3, 8, 8), ones(2, 8, 8))", "must be the same"),
    "more truths than maps": ("average_precision(rand(2, 8, 8), ones(3, 8, 8))", "must be the same"),
    "a map without its first dimension": ("average_precision(rand(8, 8), ones(8, 8))", "3 dimensions"),
    "an array for a tensor": ("average_precision(rand(2, 8, 8).numpy(), ones(2, 8, 8))", "must be a tensor"),
    "truth of 0 and 255": ("average_precision(rand(2, 8, 8), 255 * ones(2, 8, 8))", "compare it with 0"),
    "truth below 0": ("average_precision(rand(2, 8, 8), -ones(2, 8, 8))", "must be in 0..1"),
    "truth of NaN": ("average_precision(rand(2, 8, 8), nan(2, 8, 8))", "must be in 0..1"),
    "maps of NaN": ("average_precision(nan(2, 8, 8), ones(2, 8, 8))", "holds a NaN"),
    "a region and 255": ("iou(rand(2, 8, 8) > 0.5, 255 * ones(2, 8, 8))", "from 255 to 255"),
    "a region and bytes of 255": ("iou(rand(2, 8, 8) > 0.5, (255 * ones(2, 8, 8)).byte())", "from 255 to 255"),
    "a map that was not cut": ("iou(rand(2, 8, 8), ones(2, 8, 8))", "True or False"),
    "a region that is too small": ("iou(rand(2, 1, 8) > 0.5, ones(2, 8, 8))", "must be the same"),
    "a map of NaN under MinMax": ("MinMax(0.4)(nan(1, 8, 8))", "holds a NaN"),
    "a map of NaN under TopHalf": ("TopHalf()(nan(1, 8, 8))", "holds a NaN"),
    "a map of NaN under FractionOfMax": ("FractionOfMax(0.1)(nan(1, 8, 8))", "holds a NaN"),
    "a map of NaN under Absolute": ("Absolute(0.5)(nan(1, 8, 8))", "holds a NaN"),
    "joint maps of another size": ("piap(rand(2, 2, 7, 7), ones(2, 2, 8, 8))", "must be the same"),
    "joint maps without sources": ("piap(rand(2, 8, 8), ones(2, 8, 8))", "4 dimensions"),
    "IoUs in percent": ("success_rate(100 * rand(9), 0.5)", "divide percentages by 100"),
    "a curve of percents": ("area_under_curve(100 * rand(9))", "divide percentages by 100"),
    "precision of percents": ("precision_at(100 * rand(9), 0.5)", "divide percentages by 100"),
    "class means of one row": ("class_mean(rand(9))", "2 dimensions"),
    "fewer confidences than IoUs": ("f1_at(rand(9), rand(8), 0.5, rand(9) > 0)", "belong together"),
    "silences of other images": ("nsa(rand(2, 3, 8, 8), rand(3, 3) > 0.5)", "belong together"),
    "maps for other sources": ("in_best_order(rand(2, 2, 7, 7), ones(2, 2, 8, 8))", "must be the same"),
    "pictures of other clips": ("retrieval(rand(4, 8), rand(5, 8), torch.zeros(4))", "a row each"),
    "classes of other clips": ("retrieval(rand(4, 8), rand(4, 8), torch.zeros(5))", "a row each"),
    "clusters of other points": ("nmi([1, 2, 3], [1, 2])", "one of each a point"),
    "sources without clips": ("separation(wave(2, 400), {}, wave(400), progress=False)", "clips, sources, samples"),
    "a mixture of another length": ("separation(wave(1, 2, 400), {}, wave(1, 300), progress=False)", "need (1, 400)"),
    "waveforms of whole numbers": (
        "separation(wave(1, 2, 400).astype(int), {}, wave(1, 400), progress=False)",
        "floating point, not int",
    ),
}
CODE = """
import json, sys, torch, numpy as np
from avnb.errors import AvnbError
from avnb.metrics.clustering import nmi
from avnb.metrics.localization import *
from avnb.metrics.retrieval import retrieval
from avnb.metrics.separation import separation

rand, ones, nan = torch.rand, torch.ones, lambda *shape: torch.full(shape, torch.nan)
wave = lambda *shape: np.random.default_rng(0).normal(size=shape)
said = {}
for name, call in json.loads(sys.argv[1]).items():
    try:
        said[name] = f"a number: {eval(call)}"
    except AvnbError as error:
        said[name] = f"refused: {error}"
    except Exception as error:
        said[name] = f"a traceback: {error!r}"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    calls = json.dumps({name: call for name, (call, _) in CALLS.items()})
    done = subprocess.run([sys.executable, "-c", CODE, calls], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", CALLS)
def test_it_is_refused_in_a_sentence(said, name):
    assert said[name].startswith("refused: ")
    assert CALLS[name][1] in said[name]
