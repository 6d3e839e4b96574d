"""CLAP's audio encoder as an ear: the library's own spectrogram and vectors, on a tiny network with random weights."""

import os
import sys

import numpy as np
import pytest
import torch

from avnb.errors import SettingsError
from avnb.models.avgn import AVGN, AVGNSettings
from avnb.networks import clap
from avnb.networks.clap import ClapEar, ClapLogMel, ClapSound
from avnb.networks.spectrograms import Resample
from avnb.training.runs import saved_state
from avnb.training.trained import load_method, train

pytest.importorskip("transformers", reason="transformers is not installed (pip install 'avnb[ears]')")

SETTINGS = AVGNSettings(
    dataset="tiny", preset="quick", dim=16, epochs=1, batch_size=8, device="cpu", audio_encoder="clap"
).resolve("cpu")


def tiny():
    from transformers import ClapAudioConfig, ClapAudioModelWithProjection

    torch.manual_seed(0)
    config = ClapAudioConfig(
        patch_embeds_hidden_size=8, depths=[1, 1], num_attention_heads=[1, 2], hidden_size=16, projection_dim=12
    )
    return ClapAudioModelWithProjection(config).eval()


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A folder with a tiny network, as the Hub's cache holds the large one."""
    tiny().save_pretrained(tmp_path / "clap")
    monkeypatch.setattr(clap, "CHECKPOINT", str(tmp_path / "clap"))
    return tmp_path / "clap"


def of_the_library(waveforms, rate=48_000):
    """What the library's own code makes of waveforms: the checkpoint's settings for what it is given."""
    from transformers import ClapFeatureExtractor

    extractor = ClapFeatureExtractor(frequency_min=50, frequency_max=14_000, truncation="rand_trunc")
    return extractor(list(waveforms.numpy()), sampling_rate=rate, return_tensors="pt")["input_features"]


@pytest.mark.parametrize("samples", [144_000, 480_000, 200_001, 3_000], ids=lambda samples: f"{samples / 48_000:.2f} s")
def test_the_spectrogram_is_the_librarys(samples):
    waveforms = 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    ours, theirs = ClapLogMel()(waveforms), of_the_library(waveforms)
    assert ours.shape == (2, 1, 64, 1001)
    torch.testing.assert_close(ours.mT, theirs.float(), atol=2e-3, rtol=0)


def test_of_a_long_sound_the_first_ten_seconds_are_heard():
    waveform = torch.rand(1, 500_000) - 0.5
    torch.testing.assert_close(ClapLogMel()(waveform), ClapLogMel()(waveform[:, :480_000]))


def test_the_ear_hears_what_the_library_hears(checkpoint):
    waveforms = torch.rand(3, 66_150, generator=torch.Generator().manual_seed(2)) - 0.5
    features = of_the_library(Resample(22_050, 48_000)(waveforms))
    with torch.no_grad():
        expected = tiny()(input_features=features.float()).audio_embeds
    ear = ClapEar()
    assert ear.network.channels == 12
    torch.testing.assert_close(ear.network(ear.front(waveforms)), expected, atol=1e-4, rtol=1e-3)


def test_a_run_keeps_the_head_and_finds_the_network_again(checkpoint, tiny_folder, tiny_store, workspace):
    (workspace / "data" / "tiny").symlink_to(tiny_folder)
    method, run = train(SETTINGS, tiny_store, progress=False)
    assert not any(name.startswith("listen.network") for name in saved_state(method))
    loaded = load_method(run, tiny_store.classes, "cpu")
    sound = tiny_store.read_waveforms(np.arange(2))
    with torch.no_grad():
        torch.testing.assert_close(loaded.recognize(sound), method.recognize(sound))


def test_weights_that_would_have_to_be_unpickled_are_refused(checkpoint):
    weights = checkpoint / "model.safetensors"
    torch.save({}, checkpoint / "pytorch_model.bin")
    os.remove(weights)
    with pytest.raises(SettingsError, match=r"The weights of .* cannot be had: .*safetensors"):
        ClapSound()


def test_without_the_library_the_sentence_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SettingsError, match=r"Run pip install 'avnb\[ears\]', or set audio_encoder"):
        AVGN(SETTINGS, 4)
