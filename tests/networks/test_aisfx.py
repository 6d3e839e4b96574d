"""The trained ear: the package's own network and spectrogram, heard once, and a sentence where it is not installed."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from avnb.errors import SettingsError
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.models.ez_vsl import EZVSL, EZVSLSettings
from avnb.networks import aisfx
from avnb.networks.aisfx import AisfxEar, AisfxLogMel, AisfxSound, checkpoint
from avnb.networks.spectrograms import Resample
from avnb.training.examples import gather_examples
from avnb.training.runs import saved_state
from avnb.training.trained import load_method, train

SETTINGS = AVGNSettings(
    dataset="tiny", preset="quick", dim=16, epochs=1, batch_size=8, device="cpu", audio_encoder="aisfx"
).resolve("cpu")
PACKAGE = importlib.util.find_spec("aisfx")
installed = pytest.mark.skipif(PACKAGE is None, reason="aisfx is not installed (make ear)")


def of_the_package(name):
    """A file of the installed package as a module, without what the package imports."""
    path = Path(PACKAGE.submodule_search_locations[0]) / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stub(nn.Module):
    """What stands for the network where the package is not there: it counts what it is given to hear."""

    frozen, channels = True, AisfxSound.channels

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1), requires_grad=False)
        self.heard = 0

    def forward(self, spectrogram):
        self.heard += len(spectrogram)
        level = spectrogram[:, 0].mean(dim=2)
        return level.repeat(1, 6)[:, : self.channels]


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(aisfx, "AisfxSound", Stub)


# ------------------------------------------------------------------------------------------ the package's own numbers


@installed
def test_the_network_gives_what_the_packages_own_gives():
    theirs = of_the_package("models/cnn2d.py").EmbeddingNet("max", 3, 1, 64).eval()
    state = {name.removeprefix(aisfx.PREFIX): value for name, value in checkpoint().items()}
    theirs.load_state_dict({name: state[name] for name in theirs.state_dict()})
    image = torch.rand(2, 1, 96, 100, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(image[:, 0].mT)
    torch.testing.assert_close(AisfxSound()(image), expected, rtol=1e-4, atol=1e-4)


@installed
def test_the_spectrogram_is_that_of_the_packages_code_at_44100_hz(tmp_path):
    generator = np.random.default_rng(0)
    spectrum = generator.normal(size=33_076) * (np.arange(33_076) < 27_000)  # of 3 s, up to 9 kHz
    noise = np.fft.irfft(spectrum, 66_150)
    hum = np.sin(2 * np.pi * 100 * np.arange(66_150) / 22_050)  # whose peak is the same at both rates
    low = torch.from_numpy(0.02 * noise / noise.std() + hum).float()
    high = Resample(22_050, 44_100)(low[None])[0]
    soundfile.write(tmp_path / "a.wav", (0.5 * high / high.abs().max()).numpy(), 44_100, subtype="FLOAT")
    compute = of_the_package("spectrogram/spectrogram_librosa.py").compute_spectrogram
    theirs = compute(tmp_path / "a.wav", 44_100, 2048, 1024, 96, 0.0, 22_050.0) / aisfx.LOUDEST
    ours = AisfxLogMel()(low[None])[0, 0].numpy()
    assert ours.shape == theirs.shape == (96, 130)
    assert ours[79:].max() == 0  # above 11,025 Hz, where theirs has the resampler's images of what lies below
    np.testing.assert_allclose(ours[:76, 2:-2], theirs[:76, 2:-2], atol=0.01)


@installed
def test_nothing_of_the_checkpoint_is_executed(monkeypatch):
    asked = []
    load = torch.load
    monkeypatch.setattr("torch.load", lambda *args, **how: asked.append(how) or load(*args, **how))
    assert all(isinstance(value, torch.Tensor) for value in checkpoint().values())
    assert [how["weights_only"] for how in asked] == [True]


# ------------------------------------------------------------------------------------------------ where it is not there


def test_without_the_package_the_sentence_names_the_command(monkeypatch):
    monkeypatch.setattr(aisfx, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"Run make ear, or pip install --no-deps aisfx==0\.1\.2"):
        AVGN(SETTINGS, 4)


def test_another_checkpoint_is_refused_unread(monkeypatch, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / aisfx.CHECKPOINT).write_bytes(b"another")
    monkeypatch.setattr(aisfx, "find_spec", lambda name: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    with pytest.raises(SettingsError, match=r"is not the checkpoint of aisfx 0\.1\.2"):
        checkpoint()


def test_the_paper_preset_has_its_own_ear():
    with pytest.raises(SettingsError, match="is of the quick preset"):
        EZVSL(EZVSLSettings(preset="paper", pretrained=False, audio_encoder="aisfx").resolve("cpu"), 4)


# ----------------------------------------------------------------------------------------------------------- the memory


def test_a_waveform_is_heard_once_and_known_from_the_file_later(stub, tmp_path):
    waveforms = torch.rand(3, 8000) - 0.5
    ear = AisfxEar().eval()
    ear.remember(tmp_path)
    first, again = ear(waveforms), ear(waveforms.flip(0)).flip(0)
    assert ear.network.heard == 3
    assert torch.equal(first, again)
    ear.write_down()
    later = AisfxEar().eval()
    later.load_state_dict(ear.state_dict())
    later.remember(tmp_path)
    assert torch.equal(later(waveforms), first)
    assert later.network.heard == 0
    next(tmp_path.iterdir()).write_bytes(b"damaged")
    AisfxEar().remember(tmp_path)  # heard anew


def test_what_was_heard_in_inference_can_be_trained_on(stub):
    ear, waveforms = AisfxEar(), torch.rand(4, 8000) - 0.5
    with torch.inference_mode():
        ear.eval()(waveforms)
    ear.train()(waveforms).sum().backward()
    assert ear.scale.weight.grad is not None


def test_silence_and_the_shortest_sound_are_heard(stub):
    ear = AisfxEar().eval()
    assert torch.isfinite(ear(torch.zeros(1, 66_150))).all()
    assert torch.isfinite(ear(torch.rand(1, 10))).all()


# ------------------------------------------------------------------------------------------------------------- training


def test_mixtures_come_from_a_pool_whose_sounds_come_again(stub, tiny_store):
    method = AVGN(replace(SETTINGS, epochs=6), 4)
    examples = gather_examples(method, tiny_store, progress=False)
    [stage] = method.stages()
    pairs = [
        {
            tuple(pair)
            for mixture, recipe in examples.mixtures(stage, SETTINGS, (0, epoch))
            if recipe.clips > 1
            for pair in mixture
        }
        for epoch in range(4 * AisfxEar.POOL)
    ]
    partners = {}
    for first, second in set().union(*pairs):
        partners.setdefault(first, set()).add(second)
    assert 1 < max(map(len, partners.values())) <= AisfxEar.POOL


def test_a_run_keeps_the_head_and_not_the_frozen_network(stub, tiny_folder, tiny_store, workspace):
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    method, run = train(SETTINGS, tiny_store, progress=False)
    kept = saved_state(method)
    assert {"listen.scale.weight", "listen.head.0.weight"} <= kept.keys()
    assert not any(name.startswith("listen.network") for name in kept)
    known = len(method.listen.known)
    assert known > 0
    loaded = load_method(run, tiny_store.classes, "cpu")
    sound = tiny_store.read_waveforms(np.arange(2))
    with torch.no_grad():
        torch.testing.assert_close(loaded.recognize(sound), method.recognize(sound))


def test_the_object_prior_of_ez_vsl_is_there_with_either_ear(stub):
    settings = EZVSLSettings(preset="quick", dim=16, audio_encoder="aisfx").resolve("cpu")
    method = EZVSL(settings, 4).eval()
    audio, visual = method(torch.zeros(1, 3, 64, 64, dtype=torch.uint8), torch.rand(1, 66_150) - 0.5)
    assert audio.shape == (1, 16)
    assert visual.shape[:2] == (1, 16)
