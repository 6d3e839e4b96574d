"""The protocol is a setting of a trial: every row names it, and one asking is judged under all of them."""

from dataclasses import replace

import pytest
import torch

from avnb.data.mixing import truth_of
from avnb.errors import SettingsError
from avnb.evaluation import Outside, Trial, evaluate, under_every_protocol
from avnb.metrics.localization import MinMax, upsample
from avnb.metrics.protocols import FRAME_WISE, MEAN_IOU, PROTOCOLS, SOURCE_WISE, UNION, numbers, source_wise, union
from avnb.viewing.results import results_table

DUET = Trial("duet", 2, "side_by_side", "min_max(0.5)")


@pytest.fixture
def asked(tiny_store):
    """Rows of a function with drawn maps under every protocol and two rules, its maps, and how often it was asked."""
    calls = []

    def drawn(frames, mixture, classes):
        calls.append(len(frames))
        return torch.rand(*classes.shape, 4, 8, generator=torch.Generator().manual_seed(len(calls)))

    trials = under_every_protocol(DUET, ["min_max(0.5)", "top_half"])
    rows, maps = evaluate(Outside(drawn, "drawn", "oracle"), tiny_store, trials[0], progress=False, also=trials[1:])
    return rows, maps["maps"], calls


def test_one_asking_is_judged_under_every_protocol_and_rule(asked):
    rows, _, calls = asked
    own = [row for row in rows if row["method"] == "drawn"]
    assert sum(calls) == 8
    assert [(row["protocol"], row["threshold_rule"]) for row in own] == [
        (protocol, rule) for protocol in PROTOCOLS for rule in ("min_max(0.5)", "top_half")
    ]
    assert len({row["CAP"] for row in own}) == 1  # ranking knows no protocol
    beside = {(row["protocol"], row["threshold_rule"]) for row in rows if row["method"] == "tile_each"}
    assert beside == {(row["protocol"], row["threshold_rule"]) for row in own}


def test_rows_have_the_numbers_of_their_protocol(asked, tiny_store):
    rows, maps, _ = asked
    truth = truth_of(tiny_store, DUET.mixtures(tiny_store), DUET.recipe)
    large = upsample(maps, truth.shape[-2:])
    wanted = {
        SOURCE_WISE: numbers(SOURCE_WISE, source_wise(large, truth, MinMax(0.5), (1, 2))),
        UNION: numbers(UNION, union(large, truth, MinMax(0.5))),
    }
    for row in rows:
        if row["method"] != "drawn" or row["threshold_rule"] != "min_max(0.5)":
            continue
        for name, value in wanted.get(row["protocol"], {}).items():
            assert row[name] == pytest.approx(100 * value, abs=0.006)
        assert ("mean IoU" in row) == (row["protocol"] == MEAN_IOU)
        assert ("IIoU" in row) == (row["protocol"] == FRAME_WISE)


def test_the_table_names_the_protocols(asked):
    rows, *_ = asked
    assert "judged frame-wise" in repr(results_table([row for row in rows if row["protocol"] == FRAME_WISE]))
    assert "protocol" in results_table(rows).data.columns


def test_of_one_source_only_the_mean_iou_is_another_protocol():
    assert [one.protocol for one in under_every_protocol(Trial("solo"))] == [FRAME_WISE, MEAN_IOU]
    assert {one.threshold_rule for one in under_every_protocol(Trial("solo"))} == {"top_half"}


def test_trials_of_other_mixtures_and_misspelt_protocols_are_refused(tiny_store):
    with pytest.raises(SettingsError, match="is of other mixtures than"):
        evaluate(Outside(lambda *_: None), tiny_store, DUET, progress=False, also=[replace(DUET, limit=3)])
    with pytest.raises(SettingsError, match='no protocol "framewise"'):
        Trial("duet", 2, protocol="framewise")
