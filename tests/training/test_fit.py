"""The training loop: what it learns from, what it keeps, and that chance is a function of the seed."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

import avnb.training.examples
import avnb.training.fit
from avnb.data.build import open_store
from avnb.data.clips import Batch, Recipe
from avnb.data.mixing import side_by_side
from avnb.data.rows import DeviceRows, FreshRows
from avnb.data.store import ClipShape, Store
from avnb.devices import repeatable
from avnb.errors import DataError, RunError, SettingsError
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.models.base import Method, Query, Stage
from avnb.networks.encoders import FrozenLite
from avnb.training.examples import Examples, cached_features, gather_examples
from avnb.training.fit import Losses, fit, validate
from avnb.training.runs import Run, saved_state

SETTINGS = AVGNSettings(
    dataset="tiny", preset="quick", dim=16, epochs=3, batch_size=8, learning_rate=1e-3, device="cpu"
).resolve("cpu")


def new_avgn(settings: AVGNSettings = SETTINGS, seed: int | None = None) -> AVGN:
    torch.manual_seed(settings.seed if seed is None else seed)
    return AVGN(settings, 4)


def new_run(folder: Path) -> Run:
    return Run(folder / "avgn" / "tiny" / "run")


def train(folder: Path, store: Store, settings: AVGNSettings = SETTINGS) -> tuple[AVGN, Run]:
    method, run = new_avgn(settings), new_run(folder)
    fit(method, store, run, progress=False)
    return method, run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_store: Store) -> tuple[AVGN, Run]:
    """A method trained for three epochs without interruption, and its run."""
    return train(tmp_path_factory.mktemp("trained"), tiny_store)


def last_weights(run: Run) -> dict[str, Tensor]:
    """The weights of a run's last epoch, and its optimizer's state."""
    from safetensors.torch import load_file

    number = f"{len(run.history) - 1:04d}.safetensors"
    return load_file(run.folder / f"weights-{number}") | load_file(run.folder / f"optimizer-{number}")


def assert_bit_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


class Meter(Method):
    """A method of one number and a trunk that is trained, to see what the loop does with it."""

    def __init__(self, stages: list[Stage], **options: Any) -> None:
        super().__init__()
        self.settings = replace(SETTINGS, **options)
        self.weight, self.trunk = nn.Parameter(torch.zeros(1)), nn.Conv2d(3, 1, 1)
        self.trunk.frozen = False
        self.plan, self.seen = stages, []

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.seen.append((self.training, batch))
        return {"total": (self.weight - torch.rand(1)).square().sum()}

    def localize(self, query: Query) -> Tensor:
        return avg_pool2d(query.frames[:, :1].float(), 16).expand(-1, query.sources, -1, -1)

    def stages(self) -> list[Stage]:
        return self.plan


@pytest.fixture
def changed_store(tiny_folder: Path, workspace: Path) -> Callable[..., Store]:
    """A function that opens a copy of the tiny benchmark whose rows went through ``change`` (None leaves one out)."""

    def make(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Store:
        folder = workspace / "data" / "changed"
        shutil.copytree(tiny_folder, folder)
        rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
        kept = [json.dumps(row) + "\n" for row in map(change, rows) if row is not None]
        (folder / "metadata.jsonl").write_text("".join(kept))
        return open_store(folder, ClipShape(size=64, rate=8000, seconds=1.0), progress=False)

    return make


def without_val(row: dict[str, Any]) -> dict[str, Any] | None:
    return None if row["split"] == "val" else row


# ------------------------------------------------------------------------------------------------------- the same again


def test_same_seed_gives_the_same_weights(trained, tiny_store, tmp_path):
    _, run = train(tmp_path, tiny_store)
    assert_bit_equal(last_weights(run), last_weights(trained[1]))


def test_threads_add_up_gradients_in_a_fixed_order():
    """Many rows of a result read from few of a parameter, as class tokens are; without it the order is chance."""
    generator = torch.Generator().manual_seed(0)
    table, rows = torch.randn(11, 128, generator=generator), torch.randint(11, (20_000,), generator=generator)
    weights = torch.randn(20_000, 128, generator=generator)

    def gradient() -> Tensor:
        parameter = table.clone().requires_grad_()
        (parameter[rows] * weights).sum().backward()
        return parameter.grad

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with repeatable("cpu"):
            first = gradient()
            assert all(torch.equal(gradient(), first) for _ in range(8))
    finally:
        torch.set_num_threads(threads)
    assert not torch.are_deterministic_algorithms_enabled()


def test_clips_kept_on_the_device_train_the_same_weights(trained, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(DeviceRows, "fit", lambda *_: True)
    _, run = train(tmp_path, tiny_store)
    assert_bit_equal(last_weights(run), last_weights(trained[1]))


def test_batches_made_at_once_train_the_same_weights(trained, tiny_store, tmp_path, monkeypatch):
    """In the thread that steps, in memory of their own."""

    def at_once(jobs: Any, make: Any, device: torch.device, rows: Any) -> Any:
        for job in jobs:
            yield job, make(job, FreshRows()).to(device)

    monkeypatch.setattr(avnb.training.examples, "ahead", at_once)
    _, run = train(tmp_path, tiny_store)
    assert_bit_equal(last_weights(run), last_weights(trained[1]))


def test_other_seed_gives_other_weights(trained, tiny_store, tmp_path):
    _, run = train(tmp_path, tiny_store, replace(SETTINGS, seed=1))
    assert not torch.equal(last_weights(run)["tokens"], last_weights(trained[1])["tokens"])


@contextmanager
def interrupted(epoch: int) -> Iterator[None]:
    """Let Ctrl-C arrive in the second batch of ``epoch``."""
    loss, calls = AVGN.loss, []

    def stopped(method: AVGN, batch: Batch) -> dict[str, Tensor]:
        calls.append(method.training)
        if sum(calls) == 3 * (epoch - 1) + 2:  # three batches of 8 make an epoch of 24 clips
            raise KeyboardInterrupt
        return loss(method, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AVGN, "loss", stopped)
        yield


@pytest.mark.parametrize("epoch", [2, 3])
def test_resumed_run_ends_bit_equal(trained, tiny_store, tmp_path, epoch):
    with interrupted(epoch), pytest.raises(KeyboardInterrupt):
        fit(new_avgn(), tiny_store, new_run(tmp_path), progress=False)
    run = new_run(tmp_path)
    assert [row["epoch"] for row in run.history] == list(range(1, epoch))
    method = new_avgn(seed=99)  # what it starts from comes from the disk
    fit(method, tiny_store, run, progress=False)
    assert_bit_equal(last_weights(run), last_weights(trained[1]))
    assert_bit_equal(saved_state(method), saved_state(trained[0]))


def test_run_stopped_in_its_first_epoch_begins_again(trained, tiny_store, tmp_path, capsys):
    """In the same kernel, with the method whose weights have moved."""
    method, run = new_avgn(), new_run(tmp_path)
    with interrupted(1), pytest.raises(KeyboardInterrupt):
        fit(method, tiny_store, run, progress=False)
    assert "Stopped in epoch 1" in capsys.readouterr().out
    fit(method, tiny_store, run, progress=False)
    assert_bit_equal(last_weights(run), last_weights(trained[1]))


def test_finished_run_is_loaded_and_not_trained(trained, tiny_store, monkeypatch):
    method, run = new_avgn(seed=99), Run(trained[1].folder)
    monkeypatch.setattr(AVGN, "loss", lambda *_: pytest.fail("it was trained"))
    assert fit(method, tiny_store, run, progress=False) == trained[1].history
    assert_bit_equal(saved_state(method), saved_state(trained[0]))


def test_history_has_a_row_for_every_epoch(trained):
    history = Run(trained[1].folder).history
    assert [row["epoch"] for row in history] == [1, 2, 3]
    terms = {"total", "loc", "audio", "visual", "token"}
    judged = {"val_loss", "val_ap", "val_ap_predicted"}
    judged |= {f"val_{part}_{rate}" for part in ("audio", "visual") for rate in ("precision", "recall", "F1")}
    for row in history:
        assert set(row) == {"epoch", "stage", *terms, *judged, "seconds", "pairs_per_second"}
        assert all(math.isfinite(value) for name, value in row.items() if name != "stage")
        assert 0 <= row["val_ap_predicted"] <= row["val_ap"] <= 100


def test_training_lowers_the_loss(trained):
    history = trained[1].history
    assert history[-1]["total"] < history[0]["total"]


def test_trained_method_holds_its_best_epoch(tiny_store, tmp_path, monkeypatch):
    scores = iter([10.0, math.nan, 30.0, 20.0])
    monkeypatch.setattr(avnb.training.fit, "validate", lambda *_: {"val_loss": 1.0, "val_ap": next(scores)})
    method, run = train(tmp_path, tiny_store, replace(SETTINGS, epochs=4))
    assert run.best == 2
    assert sorted(path.stem for path in run.folder.glob("weights*")) == ["weights-0002", "weights-0003"]
    again = new_avgn(seed=99)
    run.load_best(again)
    assert_bit_equal(saved_state(method), saved_state(again))


def test_validation_that_is_not_a_number_never_wins(tiny_store, tmp_path, monkeypatch):
    scores = iter([math.nan, 5.0, math.nan])
    monkeypatch.setattr(avnb.training.fit, "validate", lambda *_: {"val_loss": next(scores)})
    run = new_run(tmp_path)
    fit(Meter([Stage("only", 3, (Recipe(),))]), tiny_store, run, progress=False)
    assert run.best == 1


# ------------------------------------------------------------------------------------------------------------ bad ends


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_names_its_batch_and_keeps_the_epochs_before(tiny_store, tmp_path, monkeypatch, value):
    loss, anchors = AVGN.loss, []

    def broken(method: AVGN, batch: Batch) -> dict[str, Tensor]:
        if method.training:
            anchors.append(batch)
        return {"total": torch.tensor(value)} if len(anchors) == 5 else loss(method, batch)

    monkeypatch.setattr(AVGN, "loss", broken)
    with pytest.raises(RunError, match=rf"The loss is {value} in batch 2 of epoch 2 \(train\)") as caught:
        train(tmp_path, tiny_store)
    named = str(caught.value).split("first clips are ")[1].split(". Lower learning_rate")[0].split(", ")
    assert named
    assert set(named) <= {tiny_store.ids[clip].decode() for clip in tiny_store.select("train")}
    assert [row["epoch"] for row in new_run(tmp_path).history] == [1]


def test_batch_larger_than_the_split_stops_at_once(tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(FrozenLite, "forward", lambda *_: pytest.fail("features were computed first"))
    with pytest.raises(SettingsError, match=r'batch_size = 25 is larger than the training split of "tiny".* 24 solo'):
        train(tmp_path, tiny_store, replace(SETTINGS, batch_size=25))


def test_validation_clips_that_cannot_be_mixed_stop_the_run_before_it_begins(changed_store, tmp_path):
    """A mixture needs two classes; the fault shows before an epoch is trained, not after."""
    store = changed_store(lambda row: None if row["split"] == "val" and row["id"][-1] not in "04" else row)
    method = Meter([Stage("only", 1, (Recipe(2, "side_by_side"),))])
    with pytest.raises(DataError, match="cannot provide mixtures of 2 clips"):
        fit(method, store, new_run(tmp_path), progress=False)
    assert method.seen == []


def test_losses_are_added_up_without_waiting_for_the_device(monkeypatch):
    """Only what asks for numbers waits, and it names the first batch whose loss was none, however late it asks."""
    losses, values = Losses(torch.device("cpu")), [1.0, 2.0, math.nan, math.inf]
    with monkeypatch.context() as patch:
        for name in ("item", "__bool__", "__int__", "__float__", "tolist", "__index__"):
            patch.setattr(Tensor, name, lambda *_: pytest.fail("the host waits for the device"))
        for value in values:
            losses.add({"total": torch.tensor(value), "part": torch.tensor(1.0)}, np.array([f"clip {value}".encode()]))
    batch, loss, clips = losses.not_a_number()
    assert (batch, math.isnan(loss), clips) == (3, True, "clip nan")
    assert losses.means()["part"] == 1.0


def test_losses_that_are_numbers_are_not_kept_by_name():
    losses = Losses(torch.device("cpu"))
    losses.add({"total": torch.tensor(3.0)}, np.array([b"a"]))
    assert losses.not_a_number() is None
    assert losses.names == {}
    losses.add({"total": torch.tensor(5.0)}, np.array([b"b"]))
    assert losses.means() == {"total": 4.0}


@pytest.mark.parametrize(("device", "fused"), [("cpu", None), ("cuda", True)])
def test_step_is_one_kernel_on_a_gpu(device, fused):
    optimizer = avnb.training.fit._optimizer(Meter([], device=device))
    assert optimizer.defaults["fused"] is fused
    assert [group["faster"] for group in optimizer.param_groups] == [1.0]


def test_run_in_which_nothing_was_learnt_can_be_trained_again_with_the_same_method(trained, tiny_store, tmp_path):
    """A loss that is no number has spoilt the weights by the time it is noticed: they begin again."""
    method, run = new_avgn(), new_run(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(avnb.training.fit, "_train_epoch", spoilt)
        with pytest.raises(RunError, match="The loss is"):
            fit(method, tiny_store, run, progress=False)
    fit(method, tiny_store, run, progress=False)
    assert_bit_equal(last_weights(run), last_weights(trained[1]))


def spoilt(method: AVGN, *_: Any) -> None:
    with torch.no_grad():
        for weight in method.parameters():
            if weight.requires_grad:
                weight.fill_(math.nan)
    raise RunError("The loss is nan")


# ------------------------------------------------------------------------------------------------------- which clips


def test_validation_clips_are_never_trained_on(tiny_store):
    examples = gather_examples(Meter([]), tiny_store, progress=False)
    assert set(examples.train) == set(tiny_store.select("train"))
    assert set(examples.val) == set(tiny_store.select("val"))


def test_held_out_clips_are_never_trained_on(changed_store):
    store = changed_store(without_val)
    examples = gather_examples(Meter([]), store, progress=False)
    assert len(examples.val) == 2  # a tenth of 24
    assert not set(examples.train) & set(examples.val)
    assert set(examples.train) | set(examples.val) == set(store.select("train"))


def test_held_out_clips_come_from_videos_of_their_own(changed_store):
    def six_videos(row: dict[str, Any]) -> dict[str, Any] | None:
        return without_val(row | {"video": f"{row['split']} {int(row['id'][-2:]) % 6}"})

    store = changed_store(six_videos)
    examples = gather_examples(Meter([]), store, progress=False)
    videos = [set(store.clips["video"][part].tolist()) for part in (examples.train, examples.val)]
    assert [len(part) for part in videos] == [5, 1]
    assert not videos[0] & videos[1]


def test_held_out_clips_have_as_many_classes_as_a_mixture_takes(changed_store):
    store = changed_store(without_val)
    examples = gather_examples(Meter([Stage("scenes", 1, (Recipe(2, "grid"),))]), store, progress=False)
    assert store.labels[examples.val].any(axis=0).sum() == 4
    assert len(examples.val) <= 4


def test_clips_with_several_sounding_classes_are_no_sources(changed_store):
    def one_duet(row: dict[str, Any]) -> dict[str, Any]:
        is_chosen = row["id"] in ("train_solo_00", "val_solo_00")
        return row | {"labels": ["bell", "drum"]} if is_chosen else row

    store = changed_store(one_duet)
    examples = gather_examples(Meter([]), store, progress=False)
    assert (len(examples.train), len(examples.val)) == (23, 7)


def test_limit_takes_so_many_clips_of_each_split(tiny_store):
    examples = gather_examples(Meter([], limit=5, batch_size=4), tiny_store, progress=False)
    assert (len(examples.train), len(examples.val)) == (5, 5)


@pytest.mark.parametrize("limit", [8, 12, 20])
def test_limit_leaves_out_no_class(tiny_store, limit):
    """The classes of the clips take turns: of every second clip, or every third, some would be left out."""
    examples = gather_examples(Meter([], limit=limit, batch_size=4), tiny_store, progress=False)
    assert tiny_store.labels[examples.train].any(axis=0).all()


def test_every_training_clip_is_seen_once_an_epoch_and_no_other_ever(tiny_store, tmp_path):
    method = Meter([Stage("only", 2, (Recipe(2, "side_by_side"),))])
    met = []
    mixtures = Examples.mixtures

    def watched(*arguments: Any) -> Any:
        for mixture, recipe in mixtures(*arguments):
            met.append(mixture)
            yield mixture, recipe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Examples, "mixtures", watched)
        fit(method, tiny_store, new_run(tmp_path), progress=False)
    chosen = set(tiny_store.select("train"))
    anchors, partners = (np.concatenate([mixture[:, place] for mixture in met]) for place in (0, 1))
    assert set(np.unique(partners)) <= chosen
    for epoch in (anchors[:24], anchors[24:]):
        assert sorted(epoch) == sorted(chosen)
    assert not np.array_equal(anchors[:24], anchors[24:])


def test_batches_of_the_recipes_take_turns(tiny_store, tmp_path):
    method = Meter([Stage("only", 1, (Recipe(), Recipe(2, "side_by_side")))])
    fit(method, tiny_store, new_run(tmp_path), progress=False)
    assert [batch.source_classes.shape[1] for training, batch in method.seen if training] == [1, 2, 1]


# ------------------------------------------------------------------------------------------------- the frozen trunk


def test_features_of_the_frozen_trunk_are_computed_once(trained, tiny_store, tmp_path, monkeypatch):
    monkeypatch.setattr(FrozenLite, "forward", lambda *_: pytest.fail("the trunk ran again"))
    _, run = train(tmp_path, tiny_store, replace(SETTINGS, epochs=1, seed=5))
    assert len(run.history) == 1


def test_features_of_other_clips_are_computed_anew(trained, tiny_store):
    """As many clips with the same sum of numbers: the cache must not take one set for the other."""
    trunk = trained[0].trunk
    for wanted in (np.array([0, 3]), np.array([1, 2])):
        features = cached_features(trunk, tiny_store, wanted, "cpu", progress=False)
        assert all(features[clip].any() for clip in wanted)


@pytest.mark.parametrize(
    ("recipe", "laid_out"),
    [
        (Recipe(), lambda tiles: tiles[:, 0]),
        (Recipe(2, "first"), lambda tiles: tiles[:, 0]),
        (Recipe(2, "side_by_side"), side_by_side),
        (Recipe(2, "separate"), lambda tiles: tiles.flatten(0, 1)),
    ],
)
def test_cached_features_are_laid_out_as_the_frames_are(trained, tiny_store, recipe, laid_out):
    """To a thousandth of the largest value, which is what half precision keeps."""
    examples = gather_examples(trained[0], tiny_store, progress=False)
    mixture = np.stack([examples.train[:3], examples.train[3:6]], axis=1)[:, : recipe.clips]
    features = examples.batch(mixture, recipe).features
    tiles = trained[0].trunk(tiny_store.read_frames(mixture).flatten(0, 1)).unflatten(0, mixture.shape)
    torch.testing.assert_close(features, laid_out(tiles), rtol=1e-3, atol=1e-3)


# --------------------------------------------------------------------------------------------------------------- stages


def test_stage_begins_once_with_training_batches_and_with_chance_of_its_seed(tiny_store, tmp_path):
    drawn = []

    def begin(batches: Callable) -> None:
        drawn.append((torch.rand(1).item(), sum(len(batch) for _, _, batch in batches())))

    def staged() -> Meter:
        return Meter([Stage("first", 1, (Recipe(),)), Stage("second", 2, (Recipe(),), begin)])

    for attempt in ("one", "two"):
        torch.manual_seed(len(attempt) + len(drawn))
        run = new_run(tmp_path / attempt)
        fit(staged(), tiny_store, run, progress=False)
        assert [row["stage"] for row in run.history] == ["first", "second", "second"]
    assert drawn == [drawn[0]] * 2
    assert drawn[0][1] == 24


# ----------------------------------------------------------------------------------------------------------- validation


def test_validation_is_the_same_twice_and_changes_nothing(trained, tiny_store):
    method = trained[0]
    examples, (stage,) = gather_examples(method, tiny_store, progress=False), method.stages()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert validate(method, examples, stage) == validate(method, examples, stage)
    assert_bit_equal(before, method.state_dict())


def test_validation_computes_a_batch_once_and_says_what_each_question_alone_does(trained, tiny_store, monkeypatch):
    """The loss, the maps and the classes of a batch share one forward pass, and what the next batch gets is its own."""
    method, told, whole = trained[0], [], AVGN.forward
    examples, (stage,) = gather_examples(method, tiny_store, progress=False), method.stages()

    def forward(self, *asked):
        told.append(tuple(map(id, asked)))
        return whole(self, *asked)

    monkeypatch.setattr(AVGN, "forward", forward)
    shared = validate(method, examples, stage)
    assert len(told) == len(set(told)) == 2  # a batch of solos, one of mixtures
    monkeypatch.setattr(avnb.training.fit, "_answered_once", nullcontext)
    assert validate(method, examples, stage) == shared
    assert len(told) == 2 + 3 * 2
    assert "forward" not in vars(method)


def test_validation_uses_evaluation_mode_and_every_validation_clip(tiny_store):
    method = Meter([Stage("only", 1, (Recipe(), Recipe(2, "side_by_side")))]).train()
    examples = gather_examples(method, tiny_store, progress=False)
    validate(method, examples, method.plan[0])
    assert not any(training for training, _ in method.seen)
    assert [len(batch) for _, batch in method.seen] == [8, 8]


def test_method_that_shows_the_truth_validates_at_100(tiny_store, monkeypatch):
    method = Meter([Stage("only", 1, (Recipe(), Recipe(2, "side_by_side")))])
    examples = gather_examples(method, tiny_store, progress=False)
    monkeypatch.setattr(Meter, "localize", lambda self, *_: self.seen[-1][1].truth)
    assert validate(method, examples, method.plan[0])["val_ap"] == 100


def test_validation_of_predicted_classes_counts_what_is_not_named_as_nothing(tiny_store, monkeypatch):
    method = Meter([Stage("only", 1, (Recipe(2, "side_by_side"),))])
    examples = gather_examples(method, tiny_store, progress=False)
    monkeypatch.setattr(Meter, "localize", lambda self, *_: self.seen[-1][1].truth)
    monkeypatch.setattr(Meter, "recognize", lambda self, _: self.seen[-1][1].labels * torch.tensor([-1.0, 1, 1, 1]))
    row = validate(method, examples, method.plan[0])
    named = (method.seen[-1][1].source_classes != 0).double().mean().item()
    assert 0 < named < 1
    assert (row["val_ap"], row["val_ap_predicted"]) == (100, pytest.approx(100 * named))


def test_validation_counts_the_classes_that_are_said_to_sound_and_to_be_seen(tiny_store, monkeypatch):
    method = Meter([Stage("only", 1, (Recipe(), Recipe(2, "first")))])
    examples, said = gather_examples(method, tiny_store, progress=False), torch.tensor([0.9, 0.6, 0.4, 0.1])
    told = {"audio": [], "visual": []}

    def presence(self, batch):
        seen = torch.zeros_like(batch.labels).scatter_(1, batch.source_classes, 1.0)
        for name, there in (("audio", batch.labels), ("visual", seen)):
            told[name] += there.bool().tolist()
        return dict.fromkeys(told, said.expand(len(batch), -1))

    monkeypatch.setattr(Meter, "presence", presence)
    row = validate(method, examples, method.plan[0])
    for name, clips in told.items():
        right = sum(clip[0] + clip[1] for clip in clips)  # the two classes over a half are named in every clip
        precision, recall = right / (2 * len(clips)), right / sum(map(sum, clips))
        assert row[f"val_{name}_precision"] == pytest.approx(100 * precision)
        assert row[f"val_{name}_recall"] == pytest.approx(100 * recall)
        assert row[f"val_{name}_F1"] == pytest.approx(200 * precision * recall / (precision + recall))
    assert row["val_audio_recall"] != row["val_visual_recall"]  # of two that sound one is seen


def test_without_ground_truth_the_loss_chooses_the_epoch(changed_store, tmp_path):
    def labels_only(row: dict[str, Any]) -> dict[str, Any]:
        labels = [thing["label"] for thing in row["objects"] if thing["sounding"]]
        return row | {"objects": [], "mask": None, "labels": labels}

    run = new_run(tmp_path)
    fit(Meter([Stage("only", 3, (Recipe(),))]), changed_store(labels_only), run, progress=False)
    assert all("val_ap" not in row for row in run.history)
    losses = [row["val_loss"] for row in run.history]
    assert losses[run.best] == min(losses)


# --------------------------------------------------------------------------------------------------------- the schedule


def rates(tiny_store: Store, tmp_path: Path, schedule: str) -> list[float]:
    """The learning rate of each of the 30 steps of ten epochs."""
    method, seen = Meter([Stage("only", 10, (Recipe(),))], schedule=schedule), []
    step = torch.optim.AdamW.step

    def watched(optimizer: torch.optim.AdamW, *arguments: Any) -> Any:
        seen.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", watched)
        fit(method, tiny_store, new_run(tmp_path), progress=False)
    return seen


def test_constant_schedule_is_constant(tiny_store, tmp_path):
    assert set(rates(tiny_store, tmp_path, "constant")) == {SETTINGS.learning_rate}


def test_one_cycle_rises_for_a_tenth_and_then_falls_to_nothing(tiny_store, tmp_path):
    seen = rates(tiny_store, tmp_path, "one_cycle")
    assert len(seen) == 30
    assert seen.index(max(seen)) == 3
    assert max(seen) == SETTINGS.learning_rate
    assert seen[3:] == sorted(seen[3:], reverse=True)
    assert seen[-1] < 0.01 * SETTINGS.learning_rate
    assert min(seen) > 0
