"""What a class is called among ImageNet's 1,000 names: a table of words, and rules for how data sets name what sounds.

The names are torchvision's, the first of each class's synonyms. Further synonyms (WordNet's lemmas) are those of the
labels that the ILSVRC-2012 classes are published with, and kinds are WordNet's hyponyms among them; both are here for
what sounds alone. A word that stands for two classes ("horn": the French horn, and the cornet) names neither.
"""

import functools
import itertools
import re
from collections.abc import Mapping

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "accordion": ("piano accordion", "squeeze box"), "cello": ("violoncello",), "chain saw": ("chainsaw",),
    "chimpanzee": ("chimp",), "chime": ("bell",), "cock": ("rooster",), "cornet": ("trumpet", "trump"),
    "drum": ("membranophone", "tympan"), "electric fan": ("blower",), "fire engine": ("fire truck",),
    "flute": ("transverse flute",), "freight car": ("boxcar",), "gong": ("tam-tam",), "grand piano": ("grand",),
    "grey fox": ("gray fox",), "grey whale": ("gray whale",), "hand blower": ("hair dryer", "blow dryer"),
    "harmonica": ("mouth organ", "mouth harp"), "lawn mower": ("mower",), "marimba": ("xylophone",),
    "oboe": ("hautboy", "hautbois"), "ocarina": ("sweet potato",), "organ": ("pipe organ",),
    "panpipe": ("pandean pipe", "syrinx"), "pay-phone": ("pay-station",), "racer": ("race car", "racing car"),
    "sax": ("saxophone",), "trolleybus": ("trolley coach", "trackless trolley"), "upright": ("upright piano",),
    "vacuum": ("vacuum cleaner",), "violin": ("fiddle",),
}  # fmt: skip
KINDS: Mapping[str, tuple[str | range, ...]] = {
    "airplane": ("airliner", "warplane"), "bird": (range(7, 25), range(80, 101), range(127, 147)),
    "bus": ("minibus", "school bus", "trolleybus"),
    "car": ("beach wagon", "cab", "convertible", "jeep", "limousine", "minivan", "Model T", "racer", "sports car"),
    "cat": (range(281, 286),), "cattle": ("ox",), "chicken": ("cock", "hen"), "dog": (range(151, 269),),
    "eagle": ("bald eagle",), "elephant": ("African elephant", "Indian elephant"), "fox": (range(277, 281),),
    "guitar": ("acoustic guitar", "electric guitar"), "horse": ("sorrel",), "motorcycle": ("moped", "motor scooter"),
    "owl": ("great grey owl",), "parrot": ("African grey", "lorikeet", "macaw", "sulphur-crested cockatoo"),
    "penguin": ("king penguin",), "piano": ("grand piano", "upright"), "sheep": ("bighorn", "ram"),
    "snake": (range(52, 69),), "telephone": ("cellular telephone", "dial telephone", "pay-phone"),
    "train": ("bullet train",), "typewriter": ("typewriter keyboard",), "whale": ("grey whale", "killer whale"),
    "wolf": (range(269, 272),),
}  # fmt: skip
# Kinds that a longer name ends with: a "bass guitar" is a guitar, a "railroad car" no car.
HEADS = ("bird", "cat", "chime", "dog", "drum", "guitar", "organ", "piano")
ANOTHER_THING = ("crane", "mouse")  # with ImageNet a machine and a part of a computer


@functools.cache
def categories() -> tuple[str, ...]:
    """Return ImageNet's 1,000 names, in the order in which its classifiers count them."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])


def imagenet_classes(name: str) -> tuple[int, ...]:
    """Return the numbers of the ImageNet classes that a class of a data set is among them; () where there is none.

    >>> imagenet_classes("trumpet"), imagenet_classes("playing bass guitar"), imagenet_classes("clarinet")
    ((513,), (402, 546), ())
    """
    found = {place for part in re.split(r"[,()]", name.replace("_", " ")) for place in _of_words(part.lower().split())}
    return tuple(sorted(found))


def every_name() -> tuple[str, ...]:
    """Return all that a class can be called: names, synonyms and kinds."""
    return tuple(_known())


def _of_words(words: list[str]) -> tuple[int, ...]:
    """Return what a phrase names, without what is done ("playing ...") or what the thing does ("... barking")."""
    known = _known()
    if not words or " ".join(words) in ANOTHER_THING:
        return ()
    for phrase in (" ".join(words), " ".join([*words[:-1], words[-1].removesuffix("s")])):
        if phrase in known:
            return known[phrase]
    if len(words) > 1 and words[0].endswith("ing"):
        return _of_words(words[2:] if words[1] == "on" else words[1:])
    if len(words) > 1 and words[-1].removesuffix("s") in HEADS:
        return known[words[-1].removesuffix("s")]
    does = next((place for place, word in enumerate(words) if place and (word.endswith("ing") or "-" in word)), 0)
    return _of_words(words[:does])


@functools.cache
def _known() -> Mapping[str, tuple[int, ...]]:
    """Return the classes of every name, synonym and kind, in small letters."""
    own = {name: place for place, name in enumerate(categories())}
    known = {synonym: (own[name],) for name, synonyms in SYNONYMS.items() for synonym in synonyms}
    for kind, members in KINDS.items():
        numbers = (one if isinstance(one, range) else (own[one],) for one in members)
        known[kind] = tuple(sorted(itertools.chain.from_iterable(numbers)))
    return known | {name.lower(): (place,) for name, place in own.items() if name not in ANOTHER_THING}
