"""One record per benchmark that is judged here: classes, subsets, thresholds, geometry. Facts, no code paths.

What is judged on a prepared folder, and by which names the papers print it, is read here; a notebook says beside its
results what the record says is wrong or unknown.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

from avnb.config import did_you_mean
from avnb.data.benchmarks import music, others, vggsound
from avnb.data.benchmarks.record import SILENT, Benchmark, Geometry, Protocol
from avnb.errors import SettingsError

_RECORDS = (
    music.MUSIC,
    music.MUSIC_SYNTHETIC,
    vggsound.VGGSOUND_INSTRUMENTS,
    vggsound.VGGSOUND_MUSIC,
    vggsound.VGGSOUND_SINGLE,
    vggsound.VGGSOUND_DUET,
    vggsound.VGGSOUND_EXTENDED,
    others.FLICKR_SOUNDNET,
    others.FLICKR_EXTENDED,
    others.IS3,
    others.AVSBENCH_S4,
    others.AVSBENCH_MS3,
    others.VOXCELEB2,
    others.AUDIOSET_INSTRUMENT,
    others.KINETICS400,
)
BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {record.name: replace(record, note=" ".join(record.note.split())) for record in _RECORDS}
)


def benchmark(name: str) -> Benchmark:
    """Return the record of a benchmark; raise SettingsError naming those there are.

    >>> benchmark("music").protocol("duet").threshold_rules["dsol"]
    'fraction_of_max(0.2)'
    """
    if name not in BENCHMARKS:
        there = f"There are: {', '.join(BENCHMARKS)}."
        raise SettingsError(f'No benchmark is called "{name}".{did_you_mean(name, BENCHMARKS)} {there}')
    return BENCHMARKS[name]


def printed_as(label: str) -> Iterator[tuple[Benchmark, Protocol]]:
    """Yield each benchmark and protocol whose numbers papers print under ``label``, the record's own name first.

    >>> [record.name for record, _ in printed_as("VGGSound-Duet")]
    ['vggsound-single', 'vggsound-duet']
    """
    for record in BENCHMARKS.values():
        for protocol in record.protocols:
            if label in protocol.published_as:
                yield record, protocol


__all__ = ["BENCHMARKS", "SILENT", "Benchmark", "Geometry", "Protocol", "benchmark", "printed_as"]
