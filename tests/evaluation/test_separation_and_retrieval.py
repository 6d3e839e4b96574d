"""Rows of what is heard: their protocol, what stands beside them, and where they are written."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avnb import papers
from avnb.config import Settings
from avnb.data.clips import Batch
from avnb.errors import RunError, SettingsError
from avnb.evaluation.retrieval import embeddings, judge_retrieval
from avnb.evaluation.rows import pick
from avnb.evaluation.separation import judge_listening, judge_separation, take_apart
from avnb.evaluation.trials import duet_trial
from avnb.metrics.separation import separation
from avnb.models.base import Method
from avnb.training.runs import Run
from avnb.training.trained import start_from
from avnb.viewing.results import results_table


class Listener(Method):
    """Knows by its mean colours which clip a picture is of, and cheats: its sources are the true ones, a bit off."""

    rate, stft_window = 4000, (256, 64)

    def __init__(self, store, mute: bool = False) -> None:
        super().__init__()
        self.settings = Settings(device="cpu")
        self.store, self.mute = store, mute
        self.keys = store.read_frames(np.arange(len(store))).float().mean(dim=(2, 3))

    def resampled(self, waveforms: Tensor) -> Tensor:
        return waveforms[..., ::2].contiguous()

    def separate(self, frames: Tensor, mixture: Tensor, features: Tensor | None = None) -> Tensor:
        colours = frames.float().mean(dim=(3, 4))
        clip = torch.cdist(colours, self.keys.expand(len(colours), -1, -1)).argmin(dim=2)
        found = self.resampled(self.store.read_waveforms(clip.numpy()))
        noise = torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
        found = 0.9 * found + 0.1 * self.resampled(mixture)[:, None] + 0.001 * noise
        return 0 * found if self.mute else found

    def embed(self, batch: Batch) -> dict[str, Tensor]:
        spectrum = torch.fft.rfft(batch.mixture).abs()[:, :800]
        return {"audio": spectrum[:, None], "visual": spectrum.flip(1)[:, None]}


@pytest.fixture
def listener(tiny_store):
    return Listener(tiny_store)


@pytest.fixture
def rows(listener, tiny_store):
    return judge_separation(listener, tiny_store, ("nmf", "rpca", "ideal_ratio"), progress=False)


def test_rows_carry_the_protocol_of_the_other_evaluation(rows, listener, tiny_store):
    rows += judge_retrieval(listener, tiny_store, progress=False)
    keys = {"method", "benchmark", "subset", "sources", "geometry", "classes", "threshold_rule", "clips", "origin"}
    assert all(keys <= row.keys() for row in rows)
    [own] = pick(rows, subset="duet", method="", geometry="separate", origin="real", benchmark="tiny")
    assert (own["sources"], own["clips"], own["dropped"]) == (2, 8, 0)


def test_separation_is_the_mean_over_the_sources_of_every_mixture(rows, listener, tiny_store):
    trial = duet_trial(tiny_store)
    mixtures = trial.mixtures(tiny_store)
    waveforms, frames = tiny_store.read_waveforms(mixtures), tiny_store.read_frames(mixtures)
    references, mixture = listener.resampled(waveforms).numpy(), listener.resampled(waveforms.sum(dim=1)).numpy()
    estimates = listener.separate(frames, waveforms.sum(dim=1)).numpy()
    plain = separation(references, {"it": estimates}, mixture, workers=1, progress=False)["it"]
    [own] = pick(rows, method="")
    assert own["SDR"] == pytest.approx(plain.sdr.mean(), abs=0.005)  # two decimals
    assert own["SDR gain"] == pytest.approx((plain.sdr - plain.mixture_sdr).mean(), abs=0.005)


def test_clips_are_judged_together_so_that_every_core_has_work(listener, tiny_store, monkeypatch):
    counts = []

    def counted(references, *arguments, **options):
        counts.append(len(references))
        return separation(references, *arguments, **options)

    monkeypatch.setattr("avnb.evaluation.separation.separation", counted)
    monkeypatch.setattr("avnb.evaluation.chunks.ON_CPU", 3)
    alike = judge_separation(listener, tiny_store, progress=False)
    assert counts == [8]  # taken apart three at a time
    monkeypatch.setattr("avnb.evaluation.separation.AT_ONCE", 3)
    assert judge_separation(listener, tiny_store, progress=False) == alike
    assert counts[1:] == [3, 3, 2]


def test_the_mixture_and_what_needs_no_learning_stand_beside_the_method(rows):
    assert {row["method"] for row in rows} == {"", "nmf", "rpca", "ideal_ratio", "mixture"}
    [mixture], [ideal] = pick(rows, method="mixture"), pick(rows, method="ideal_ratio")
    assert mixture["SDR gain"] == 0
    assert mixture["SAR"] is None  # it has no artefacts
    assert ideal["SDR"] > mixture["SDR"] + 10


def test_nameless_parts_are_marked_as_paired_with_the_truth(rows):
    asked = {row["method"]: row["classes"] for row in rows}
    assert (asked["nmf"], asked["rpca"], asked[""], asked["mixture"]) == (
        "best_pairing",
        "best_pairing",
        "none",
        "none",
    )


def test_a_method_that_says_nothing_is_dropped_and_counted(tiny_store):
    rows = judge_separation(Listener(tiny_store, mute=True), tiny_store, progress=False)
    own, mixture = pick(rows, method="")[0], pick(rows, method="mixture")[0]
    assert (own["clips"], own["dropped"], own["SDR"]) == (0, 8, None)
    assert (mixture["clips"], mixture["dropped"]) == (8, 0)


def test_what_is_not_known_to_separate_is_refused_in_a_sentence(listener, tiny_store):
    with pytest.raises(SettingsError, match="There are: nmf, rpca, ideal_half_mixture"):
        judge_separation(listener, tiny_store, ("pca",), progress=False)


def test_retrieval_names_its_gallery_and_its_chance(listener, tiny_store):
    own, chance = judge_retrieval(listener, tiny_store, progress=False)
    assert own["gallery"] == chance["gallery"] == 8
    assert chance["IR-Acc"] == pytest.approx(100 / 8)
    assert chance["xNN-Acc"] == 25  # two clips of each of four classes
    assert chance["wNN-Acc"] == pytest.approx(100 / 7, abs=0.005)
    assert own["wNN-Acc sound"] == 100  # four pitches


def test_retrieval_is_by_vectors_that_met_no_class_and_by_the_mean_of_several(listener, tiny_store):
    clips = np.arange(6)
    plain, _ = embeddings(listener, tiny_store, clips, progress=False)
    one = listener.embed
    listener.embed = lambda batch: {name: torch.cat([value, 3 * value], 1) for name, value in one(batch).items()}
    several, _ = embeddings(listener, tiny_store, clips, progress=False)
    torch.testing.assert_close(several, 2 * plain)
    listener.encode = lambda batch: {name: value[:, 0] for name, value in one(batch).items()}
    listener.embed = lambda batch: pytest.fail("the class-aware vectors were asked for")
    torch.testing.assert_close(embeddings(listener, tiny_store, clips, progress=False)[0], plain)


def test_a_method_without_two_vectors_of_one_space_has_no_row_of_retrieval(listener, tiny_store):
    one = listener.embed
    listener.embed = lambda batch: one(batch) | {"visual": one(batch)["visual"][..., :5]}
    assert judge_retrieval(listener, tiny_store, progress=False) == []
    listener.embed = lambda batch: Method.embed(listener, batch)
    assert judge_retrieval(listener, tiny_store, progress=False) == []


def test_embeddings_do_not_depend_on_how_many_are_made_at_once(listener, tiny_store):
    clips = np.arange(30)
    audio, _ = embeddings(listener, tiny_store, clips, progress=False)
    alone, _ = embeddings(listener, tiny_store, clips[29:], progress=False)
    torch.testing.assert_close(audio[29:], alone)


def test_rows_are_written_beside_those_of_localization_and_replace_their_own(listener, tiny_store, workspace):
    run = Run(workspace / "outputs" / "x" / "tiny" / "run")
    place = {"method": "x", "subset": "solo", "AP": 50.0}
    run.write_json("metrics.json", {"origin": "real", "settings": {}, "rows": [place]})
    for _ in range(2):
        rows = judge_listening(listener, tiny_store, run, limit=4, progress=False)
    said = json.loads((run.folder / "metrics.json").read_text())
    assert said["rows"] == [place, *rows]


def test_the_table_has_the_mixture_first_and_says_what_is_shared(rows):
    table = repr(results_table(rows, beside=papers.one_avm.table2["MUSIC"]))
    lines = table.splitlines()
    assert "8 clips, 0 dropped" in lines[0]
    assert "regions by" not in lines[0]
    order = [
        next(k for k, line in enumerate(lines) if name in line) for name in ("mixture", "nmf", "ideal ratio", "CCoL")
    ]
    assert order == sorted(order)


def test_take_apart_adds_up_what_it_takes_apart(listener, tiny_store):
    mixtures = duet_trial(tiny_store, limit=3).mixtures(tiny_store)
    heard = take_apart(listener, tiny_store.read_frames(mixtures), tiny_store.read_waveforms(mixtures), ("rpca",))
    torch.testing.assert_close(heard.mixture, heard.references.sum(dim=1))
    assert heard.estimates["rpca"].shape == heard.references.shape


class Weights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)


def test_training_can_begin_where_another_run_ended(workspace):
    first, second = Weights(), Weights()
    run = Run(workspace / "outputs" / "one_avm" / "kinetics" / "quick-seed0")
    run.save_epoch(first, torch.optim.SGD(first.parameters()), {"epoch": 1, "val_loss": 1.0}, better=True)
    start_from(second, "one_avm", "kinetics/quick-seed0")
    torch.testing.assert_close(second.state_dict(), first.state_dict())


def test_beginning_where_no_run_is_names_those_that_are(workspace):
    model = Weights()
    run = Run(workspace / "outputs" / "one_avm" / "kinetics" / "quick-seed0")
    run.save_epoch(model, torch.optim.SGD(model.parameters()), {"epoch": 1, "val_loss": 1.0}, better=True)
    with pytest.raises(RunError, match="There are: kinetics/quick-seed0"):
        start_from(model, "one_avm", "kinetics/quick-seed1")
