"""A film asked about by ImageNet's names: what is seen counts as a source wherever anything sounds."""

import numpy as np
import pytest
import torch

from avnb.errors import SettingsError
from avnb.models.base import Query
from avnb.models.baselines.named import Named
from avnb.video import asker
from avnb.video.localize import localize_video
from avnb.video.summary import sentence

RATE = 22_050


@pytest.fixture(scope="module")
def film():
    """Pictures of noise, two a second, and a sound that ends after four of eight seconds."""
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (16, 64, 96, 3), dtype=np.uint8)
    sound = (0.2 * rng.normal(size=8 * RATE)).clip(-1, 1).astype(np.float32)
    sound[4 * RATE :] = 0
    return pictures, sound


def ask(film, method, **how):
    return localize_video(film[0], method, sound=film[1], fps=2, rate=RATE, per_second=1, progress=False, **how)


@pytest.fixture(scope="module")
def named():
    return Named(device="cpu")


def test_each_name_has_a_map_and_a_score_and_sounds_where_it_is_seen_and_anything_sounds(film, named, monkeypatch):
    first = ask(film, named, classes=["violin", "dog", "fire truck"])
    assert first.names == ("violin", "dog", "fire truck")
    about = named.about(first.names)
    assert ((first.scores >= 0) & (first.scores <= 1)).all()
    seen = np.median(first.scores[:3])  # of moments at which something sounds
    monkeypatch.setattr(asker, "SEEN", float(seen))
    result = ask(film, about, classes=first.names)
    for row in result.rows:
        assert row.sounds == (row.heard and row.score >= seen)
    assert any(row.sounds for row in result.rows)
    assert not all(row.sounds for row in result.rows if row.heard)
    assert not any(row.heard for row in result.rows if row.seconds >= 6)
    assert "sounds from" in sentence(result.rows, 96, 64)


def test_its_score_is_how_likely_the_picture_shows_the_thing(film, named):
    result = ask(film, named, classes=["dog"])
    about, seen = named.about(["dog"]), []
    for picture in film[0][::2]:
        small = torch.from_numpy(picture).permute(2, 0, 1)[None]
        large = torch.nn.functional.interpolate(small.float(), (224, 224), mode="bilinear").round().byte()
        seen.append(about.seen(Query(large, torch.zeros(1, RATE), torch.zeros(1, 1, dtype=torch.long))).item())
    heard = [row.score for row in result.rows if row.heard]
    assert np.allclose(np.log(heard), np.log(seen[: len(heard)]), atol=1.0)  # another way of making pictures large


def test_without_names_whatever_is_seen_is_one_source(film, named):
    result = ask(film, named)
    assert result.names == ("sound",)
    assert result.maps.shape[1] == 1


def test_what_cannot_be_looked_for_is_a_sentence(film, named):
    with pytest.raises(SettingsError, match='ImageNet has no name for "sitar"'):
        ask(film, named, classes=["sitar"])
    with pytest.raises(SettingsError, match="does not hear: say which classes"):
        ask(film, Named(["violin", "dog"], device="cpu"))
    with pytest.raises(SettingsError, match='knows no class "cat"'):
        ask(film, Named(["violin", "dog"], device="cpu"), classes=["cat"])
