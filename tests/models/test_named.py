"""Named against the classifier written as loops in float64, its names, and what it says of real photographs.

1e-3 of logits around 10: the network is float32, with its normalisations joined to its convolutions.
"""

import json
import math
from pathlib import Path

import pytest
import torch

from avnb.data.build import open_store
from avnb.data.folder import read_info, write_dataset
from avnb.data.store import ClipShape
from avnb.errors import SettingsError
from avnb.evaluation import Trial, evaluate, trials_of
from avnb.evaluation.localization import rows_by_name
from avnb.metrics.localization import upsample
from avnb.models import METHODS, Query
from avnb.models.baselines.named import Named
from avnb.networks.encoders import _lite0
from avnb.networks.imagenet_names import KINDS, SYNONYMS, categories, every_name, imagenet_classes
from avnb.training.trained import load

CLASSES = ("violin", "guitar", "clarinet", "dog")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "real_instruments"


@pytest.fixture(scope="module")
def named() -> Named:
    return Named(CLASSES, device="cpu")


def pictures(count: int = 2, height: int = 96, width: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    small = torch.randint(0, 256, (count, 3, height // 16, width // 16), generator=generator).float()
    return upsample(small, (height, width)).round().byte()


def query(frames: torch.Tensor, classes: list[int] | None = None) -> Query:
    asked = None if classes is None else torch.tensor(classes).expand(len(frames), -1)
    return Query(frames, torch.zeros(len(frames), 100), asked)


def plain_logits(frames: torch.Tensor) -> list:
    """The package's own network in float64, its classifier a dot product at every position: [picture][row][column]."""
    network = _lite0().eval().double()
    with torch.no_grad():
        last = network.extract_features((frames.double() - 127.5) / 128)
    weights, biases = network._fc.weight.tolist(), network._fc.bias.tolist()
    return [
        [[[math.fsum(map(float.__mul__, row, position)) + bias for row, bias in zip(weights, biases, strict=True)]
          for position in line.T.tolist()] for line in picture.transpose(0, 1)]
        for picture in last
    ]  # fmt: skip


def test_a_position_s_logit_is_what_the_package_s_classifier_says_of_it(named):
    frames = pictures(1)
    _, logits = named.look(query(frames))
    expected = torch.tensor(plain_logits(frames), dtype=torch.float64).permute(0, 3, 1, 2)
    assert logits.shape == expected.shape == (1, 1000, 3, 2)
    torch.testing.assert_close(logits.double(), expected, atol=1e-3, rtol=0)


def test_of_one_position_the_map_is_what_the_whole_classifier_says(named):
    """A map of 1x1 is the logarithm of the probability that the network itself gives the picture."""
    frames = pictures(2, 32, 32)
    with torch.no_grad():
        expected = _lite0().eval()((frames.float() - 127.5) / 128).double().log_softmax(dim=1)
    guitar = torch.logsumexp(expected[:, [402, 546]], dim=1)
    maps = named.localize(query(frames, [0, 1])).double()
    torch.testing.assert_close(maps.mean(dim=(2, 3)), torch.stack([expected[:, 889], guitar], 1), atol=1e-3, rtol=0)
    torch.testing.assert_close(named.seen(query(frames, [0])).double(), expected[:, [889]].exp(), atol=1e-6, rtol=1e-3)


def test_the_mean_of_a_map_is_the_logarithm_of_how_likely_the_picture_shows_the_class(named):
    _, logits = named.look(query(frames := pictures()))
    whole = logits.double().mean(dim=(2, 3)).tolist()
    likely = [math.log(math.exp(row[889]) / sum(map(math.exp, row))) for row in whole]
    maps = named.localize(query(frames, [0]))
    assert maps.shape == (2, 1, 6, 4)  # the trunk's grid, from 3x2
    torch.testing.assert_close(maps.double().mean(dim=(1, 2, 3)), torch.tensor(likely).double(), atol=1e-3, rtol=0)


def test_classes_in_another_order_have_the_same_maps_in_that_order(named):
    frames = pictures()
    every = named.localize(query(frames))
    assert every.shape[1] == len(CLASSES)
    assert torch.equal(named.localize(query(frames, [3, 0, 2])), every[:, [3, 0, 2]])
    other = Named(CLASSES[::-1], device="cpu")
    torch.testing.assert_close(other.localize(query(frames)), every.flip(1))


def test_cached_features_stand_for_the_frames_and_the_sound_changes_nothing(named):
    asked = query(frames := pictures(), [0, 2])
    expected = named.localize(asked)
    again = Query(torch.zeros_like(frames), torch.ones(2, 100), asked.classes, named.trunk(frames))
    torch.testing.assert_close(named.localize(again), expected)


def test_a_class_without_a_name_gets_the_object_prior_as_does_whoever_names_none(named):
    frames = pictures()
    assert named.unnamed == ("clarinet",)
    prior = named.look(query(frames))[0].abs().sum(dim=1)
    shown = named.localize(query(frames, [2]))[:, 0]
    level, spread = prior.mean(dim=(1, 2), keepdim=True), prior.std(dim=(1, 2), keepdim=True, correction=0)
    torch.testing.assert_close(shown, upsample((prior - level) / spread, shown.shape[-2:]))
    nameless = Named(device="cpu")
    assert nameless.CLASSES == ("none",)
    torch.testing.assert_close(nameless.localize(query(frames, [0, 1]))[:, 1], shown)
    assert named.seen(query(frames, [2])).isnan().all()


def test_someone_who_asks_for_what_has_no_name_reads_so(named):
    assert named.about(["trumpet", "fire truck"]).class_names == ("trumpet", "fire truck")
    with pytest.raises(SettingsError, match='no name for "sitar"'):
        named.about(["violin", "sitar"])
    with pytest.raises(SettingsError, match='Did you mean "violin"'):
        named.about(["violn"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("acoustic_guitar", {"acoustic guitar"}), ("xylophone", {"marimba"}), ("Violin", {"violin"}),
        ("playing steel guitar, slide guitar", {"acoustic guitar", "electric guitar"}), ("drums", {"drum"}),
        ("typing on computer keyboard", {"computer keyboard"}), ("chimpanzee pant-hooting", {"chimpanzee"}),
        ("lions roaring", {"lion"}), ("vacuum cleaner cleaning floors", {"vacuum"}), ("drum kit", set()),
        ("church bell ringing", set()), ("railroad car, train wagon", set()), ("mouse squeaking", set()),
        ("horn", set()), ("bagpipes", set()), ("", set()), ("singing", set()),
    ],
)  # fmt: skip
def test_a_class_is_found_by_its_own_words(name, expected):
    assert {categories()[place] for place in imagenet_classes(name)} == expected


def test_the_tables_name_classes_of_imagenet_and_no_word_names_two():
    said = [word for words in SYNONYMS.values() for word in words]
    assert set(SYNONYMS) <= set(categories())
    assert len(said) == len(set(said))
    assert not {word.lower() for word in categories()} & {*said, *KINDS}
    for kind in KINDS:
        assert imagenet_classes(kind), kind
    assert {categories()[place] for place in (151, 268, 52, 68, 281, 285)} == {
        "Chihuahua", "Mexican hairless", "thunder snake", "sidewinder", "tabby", "Egyptian cat",
    }  # fmt: skip
    assert len(every_name()) > 1000


def test_it_is_loaded_by_its_name_and_is_none_of_the_methods_that_are_trained(tiny):
    assert "named" not in METHODS
    assert load("named", device="cpu").class_names == ()
    assert load("named", "tiny", device="cpu").class_names == ("bell", "drum", "horn", "whistle")


def test_real_clips_have_its_row_and_drawn_ones_have_none(tiny_folder, capsys):
    store = open_store(tiny_folder, ClipShape(size=64, rate=8000, seconds=1.0), progress=False)
    solo = trials_of(store)[0]
    [row] = rows_by_name(store, solo)
    assert (row["method"], row["classes"], row["trained"]) == ("named", "oracle", "on ImageNet alone")
    assert 0 <= row["AP"] <= 100
    assert "no name for horn" in capsys.readouterr().out
    assert rows_by_name(store, solo, progress=False) == [row]
    store.origin = "stand-in"
    assert rows_by_name(store, solo) == []


def test_on_real_photographs_it_is_a_stronger_row_than_the_square(tmp_path):
    """Every seventh photograph of the test split."""
    if not SHARED.exists():
        pytest.skip("shared/real_instruments is not here")
    said = read_info(SHARED)
    lines = (SHARED / "metadata.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines if '"split": "test", "subset": "solo"' in line][::7]
    for row in rows:
        for part in ("file_name", "audio", "mask"):
            (tmp_path / row[part]).parent.mkdir(exist_ok=True)
            (tmp_path / row[part]).symlink_to(SHARED / row[part])
    write_dataset(tmp_path, said.name, said.classes, said.origin, said.note, rows)
    store = open_store(tmp_path, ClipShape(seconds=0.5), progress=False)
    found, maps = evaluate(Named(store.classes, device="cpu"), store, Trial("solo"), progress=False)
    ap = {row["method"]: row["AP"] for row in found}
    assert ap["named"] > ap["centre"] + 8
    heard = maps["classes"][:, 0].numpy()
    assert {bool(imagenet_classes(store.classes[place])) for place in heard} == {True, False}
