"""Features of methods and of what nobody trained: a vector a clip, whatever batches they come in."""

from typing import ClassVar

import pytest
import torch

import avnb.evaluation.features as features
from avnb.evaluation.features import embed_clips, embed_without_training
from avnb.metrics.clustering import nmi_of_features
from avnb.models import METHODS
from avnb.models.avgn import AVGN, AVGNSettings


@pytest.fixture
def solos(tiny_store):
    return tiny_store.select("test", "solo")


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_a_vector_a_clip_whatever_batches_they_come_in(name, tiny_store, solos, monkeypatch):
    torch.manual_seed(0)
    method = METHODS[name](METHODS[name].SETTINGS(preset="quick").resolve("cpu"), len(tiny_store.classes)).eval()
    together = embed_clips(method, tiny_store, solos)
    assert all(value.shape[0] == len(solos) and value.ndim == 2 for value in together.values())
    monkeypatch.setattr("avnb.evaluation.features.ON_CPU", 3)
    apart = embed_clips(method, tiny_store, solos)
    for key, value in together.items():
        # Convolutions of another batch size round otherwise, and the logarithm of a silent band magnifies that.
        assert torch.allclose(value, apart[key], atol=0.01)


def test_class_aware_features_of_an_untrained_network_know_the_class_they_are_given(tiny_store, solos):
    torch.manual_seed(0)
    method = AVGN(AVGNSettings(preset="quick").resolve("cpu"), len(tiny_store.classes)).eval()
    found = embed_clips(method, tiny_store, solos)
    labels = [tiny_store.classes[k] for k in tiny_store.labels[solos].argmax(axis=1)]
    assert set(found) == {"audio", "visual", *(f"{m}, {c} class" for m in ("audio", "visual") for c in ("true", "own"))}
    assert nmi_of_features(found["audio, true class"], labels) > 0.95  # which is why it is drawn beside "own class"


def test_features_without_training_are_of_the_sound_and_of_the_picture(tiny_store, solos):
    found = embed_without_training(tiny_store, solos)
    assert {name: value.shape for name, value in found.items()} == {"audio": (8, 128), "visual": (8, 112)}


class Elsewhere(torch.nn.Module):
    """Notes the device that it is sent to and stays where it is."""

    sent: ClassVar[list[str]] = []

    def to(self, device: str) -> "Elsewhere":
        self.sent.append(device)
        return self

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.float().reshape(len(values), 1, -1, 8)


def test_what_needs_no_training_runs_on_the_device_it_is_given(tiny_store, solos, monkeypatch):
    monkeypatch.setattr(features, "FrozenLite", Elsewhere)
    monkeypatch.setattr(features, "LogMel", Elsewhere)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, seen=Elsewhere.sent: seen.append(device) or self)
    embed_without_training(tiny_store, solos, "cuda")
    assert set(Elsewhere.sent) == {"cuda"}
    assert len(Elsewhere.sent) == 4  # two networks, a batch of sounds and one of pictures
