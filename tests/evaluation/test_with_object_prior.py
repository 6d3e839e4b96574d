"""A method joined with the object prior: eq. 9 of EZ-VSL in loops, for a trunk that is known and one that is not."""

import pytest
import torch

from avnb.errors import SettingsError
from avnb.evaluation import Outside
from avnb.evaluation.with_object_prior import WithObjectPrior
from avnb.metrics.localization import upsample
from avnb.models.base import Query
from avnb.networks.encoders import FrozenLite, LiteObjects

MAPS = torch.rand(2, 2, 4, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[True, False], ids=["a quick method", "another"])
def method(request):
    found = Outside(lambda *_: MAPS, "theirs", "oracle")
    if request.param:
        found.trunk = FrozenLite()
    return found


def question() -> Query:
    small = torch.randint(0, 256, (2, 3, 4, 6), generator=torch.Generator().manual_seed(2)).float()
    return Query(upsample(small, (64, 96)).byte(), torch.zeros(2, 100), torch.tensor([[0, 1], [1, 0]]))


def scaled(rows: list[list[float]]) -> list[list[float]]:
    low, high = min(map(min, rows)), max(map(max, rows))
    return [[(value - low) / (high - low) for value in row] for row in rows]


def test_maps_are_joined_as_eq_9_has_it(method):
    joined = WithObjectPrior(method, 0.6).localize(question())
    last, _ = LiteObjects()(FrozenLite()(question().frames))
    for number in range(2):
        prior = scaled(upsample(last[number].abs().sum(dim=0), (4, 6)).tolist())
        for source in range(2):
            own = scaled(MAPS[number, source].tolist())
            expected = [
                [0.6 * a + 0.4 * b for a, b in zip(*rows, strict=True)] for rows in zip(own, prior, strict=True)
            ]
            torch.testing.assert_close(joined[number, source], torch.tensor(expected), atol=1e-4, rtol=0)


def test_it_is_asked_as_the_method_is_and_a_share_that_is_none_is_a_sentence(method):
    method.class_names = ("violin", "dog")
    joined = WithObjectPrior(method)
    assert (joined.settings, joined.CLASSES, joined.class_names) == (method.settings, ("oracle",), method.class_names)
    with pytest.raises(SettingsError, match=r"alpha = 1\.5"):
        WithObjectPrior(method, 1.5)
