"""The drawings of the methods say what the networks do: the shapes in them are those that a clip has on its way."""

import sys
from pathlib import Path

import pytest
import torch

from avnb.data.clips import Batch
from avnb.models import METHODS, Query

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from draw_architectures import DRAWINGS, draw  # noqa: E402


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_saved_drawing_is_the_one_that_the_command_makes(name):
    assert (ROOT / "docs" / "architecture" / f"{name}.svg").read_text(encoding="utf-8") == draw(*DRAWINGS[name])


@pytest.mark.parametrize("name", DRAWINGS)
def test_the_shapes_of_a_drawing_are_those_of_the_networks(name):
    sound, picture, joined, beside = DRAWINGS[name]
    boxes = [*sound, *picture, *joined, *([beside[:3]] if beside else [])]
    drawn = {part: shape for _, shape, part in boxes if part}
    method = METHODS[name](METHODS[name].SETTINGS(preset="quick").resolve("cpu"), 11).eval()
    seen = {}
    for part, module in method.named_children():
        module.register_forward_hook(lambda _, given, found, part=part: seen.update({part: found}))
    frames = torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)
    batch = Batch(frames, 0.1 * torch.randn(2, 66_150), torch.eye(11)[:2], torch.tensor([[0, 1], [2, 3]]))
    with torch.no_grad():
        seen["localize"] = method.localize(Query.of(batch))
        method.embed(batch)
        if "separate" in drawn:
            seen["separate"] = method.separate(frames[None], batch.mixture[:1])
    compared = drawn.keys() & {part for part, value in seen.items() if isinstance(value, torch.Tensor)}
    assert len(compared) >= 5
    for part in compared:
        shape = ["N" if size == "N" else int(size) for size in drawn[part].split(" x ")]
        found = list(seen[part].shape[1:])
        if shape[0] in ("N", 1) and part in ("localize", "separate", "decoder"):
            shape, found = shape[1:], found[1:]  # as many as are asked for
        assert found == shape, part
