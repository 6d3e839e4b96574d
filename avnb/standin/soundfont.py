"""A SoundFont as an instrument: reads the .sf2 that pretty_midi carries and plays single notes of it.

A note is a recorded sample played faster or slower, looped while it is held, shaped by an envelope and darkened by a
filter that closes as the note dies away. This is the part of the SoundFont 2.04 specification that the stand-in's
presets use (no oscillators, no effects, no modulators but velocity's); bends come from the caller.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float32

from avnb.errors import DataError

RATE = 44_100  # notes are made at twice the stand-in's rate: less aliasing, and halving is cheap
GONE = 50  # dB: a note that has died away by so much is over
BLOCK = 2048  # samples between two settings of the filter, 46 ms

# The tables of an .sf2 file (SoundFont 2.04, section 7), by the names of their chunks.
TABLES = {
    "phdr": [("name", "S20"), ("program", "<u2"), ("bank", "<u2"), ("zone", "<u2"), ("unused", "<u4", 3)],
    "pbag": [("generator", "<u2"), ("modulator", "<u2")],
    "pgen": [("kind", "<u2"), ("amount", "<i2")],
    "inst": [("name", "S20"), ("zone", "<u2")],
    "ibag": [("generator", "<u2"), ("modulator", "<u2")],
    "igen": [("kind", "<u2"), ("amount", "<i2")],
    "shdr": [
        *(("name", "S20"), ("start", "<u4"), ("end", "<u4"), ("loop_start", "<u4"), ("loop_end", "<u4")),
        *(("rate", "<u4"), ("key", "u1"), ("cents", "i1"), ("link", "<u2"), ("kind", "<u2")),
    ],
}


class Generator(IntEnum):
    """The settings of a zone that are read here, by their numbers (section 8.1.2)."""

    LOOP_START = 2
    LOOP_END = 3
    CUTOFF = 8
    CUTOFF_ENVELOPE = 11
    CUTOFF_DELAY = 25  # an envelope is six settings in a row: delay, attack, hold, decay, sustain, release
    VOLUME_DELAY = 33
    INSTRUMENT = 41
    KEYS = 43
    ATTENUATION = 48
    COARSE_TUNE = 51
    FINE_TUNE = 52
    SAMPLE = 53
    LOOPS = 54
    ROOT_KEY = 58


Zone = dict[int, int]
ENVELOPES = (Generator.CUTOFF_DELAY, Generator.VOLUME_DELAY)
DEFAULTS = {Generator.CUTOFF: 13_500, Generator.KEYS: 127 << 8, Generator.ROOT_KEY: -1}
DEFAULTS |= {first + step: -12_000 for first in ENVELOPES for step in (0, 1, 2, 3, 5)}  # a millisecond, in timecents


def setting(zone: Zone, kind: int) -> int:
    """Return a zone's setting, or the standard's default."""
    return zone.get(kind, DEFAULTS.get(kind, 0))


@dataclass(frozen=True)
class Envelope:
    """How something rises when a key is pressed, falls by ``fall`` while it is held, and dies away; in seconds."""

    delay: float
    attack: float
    hold: float
    decay: float
    fall: float
    release: float

    @classmethod
    def of(cls, zone: Zone, first: int) -> "Envelope":
        """Return the envelope whose six settings start at number ``first``."""
        values = [setting(zone, first + i) for i in range(6)]
        return cls(*(value if i == 4 else 2.0 ** (value / 1200) for i, value in enumerate(values)))


@dataclass(frozen=True)
class Layer:
    """One sample as a preset plays it over a range of keys; ``pitch`` is the key, in cents, it was recorded at."""

    wave: Float32[np.ndarray, " samples"] = field(compare=False)  # known by where it starts in the file
    start: int
    rate: int
    loop: tuple[int, int] | None
    pitch: float
    gain: float
    volume: Envelope
    filter: Envelope
    cutoff: tuple[int, int]  # cents above 8.176 Hz: at rest, and what the filter's envelope adds


class SoundFont:
    """The presets of an .sf2 file.

    Raises DataError where ``path`` is no SoundFont.
    """

    def __init__(self, path: Path) -> None:
        self.bytes = Path(path).read_bytes()
        chunks = dict(riff_chunks(self.bytes, 0, len(self.bytes)))
        if missing := {*TABLES, "smpl"} - chunks.keys():
            raise DataError(
                f"{Path(path).name} is not a SoundFont: it has no {min(missing)} chunk. Reinstall pretty_midi."
            )
        self.samples = np.frombuffer(self.bytes, "<i2", chunks["smpl"][1] // 2, chunks["smpl"][0])
        self.tables = {
            name: np.frombuffer(self.bytes, kind, chunks[name][1] // kind.itemsize, chunks[name][0])
            for name, kind in ((name, np.dtype(fields)) for name, fields in TABLES.items())
        }
        self.pressed: dict[tuple[int, int], list[Layer]] = {}

    def note(
        self, program: int, key: int, seconds: float, velocity: int, bend: Float[np.ndarray, " bends"] | None = None
    ) -> Float32[np.ndarray, " time"]:
        """Return a note held for ``seconds`` and its dying away, mono at ``RATE`` Hz.

        ``program`` is 0-based, of bank 0; ``key`` a MIDI number; ``velocity`` 1..127. ``bend`` is the deviation from
        ``key`` in cents, evenly spaced over the held time. Raises DataError where there is no such program.
        """
        if (program, key) not in self.pressed:
            self.pressed[program, key] = self._layers(program, key)
        seconds = float(seconds)  # a NumPy number would turn the single precision below into double
        sounds = [play(layer, key, seconds, velocity, bend) for layer in self.pressed[program, key]]
        note = np.zeros(max(map(len, sounds)), np.float32)
        for sound in sounds:
            note[: len(sound)] += sound
        return note

    def _layers(self, program: int, key: int) -> list[Layer]:
        """Return what sounds when ``key`` of ``program`` is pressed."""
        presets = self.tables["phdr"]
        rows = np.flatnonzero((presets["program"] == program) & (presets["bank"] == 0))
        if not len(rows):
            raise DataError(f"The SoundFont has no program {program}.")
        zones = [
            zone
            for preset in self._zones("phdr", "pbag", "pgen", int(rows[0]))
            for zone in self._zones("inst", "ibag", "igen", preset[Generator.INSTRUMENT])
        ]
        ranges = [divmod(setting(zone, Generator.KEYS), 256) for zone in zones]  # highest, lowest
        # A preset may leave a key out between two samples: its neighbour's are taken.
        away = [max(low - key, key - high, 0) for high, low in ranges]
        layers = [self._layer(zone) for zone, far in zip(zones, away, strict=True) if far == min(away)]
        # Two that differ in loudness alone are the left and the right of one; here they sound from one place.
        heard: dict[Layer, float] = {}
        for layer in layers:
            alone = replace(layer, gain=1.0)
            heard[alone] = heard.get(alone, 0.0) + layer.gain
        return [replace(alone, gain=gain) for alone, gain in heard.items()]

    def _zones(self, head: str, bag: str, generators: str, row: int) -> list[Zone]:
        """Return the settings of each zone of a preset or an instrument."""
        bags, settings = self.tables[bag]["generator"], self.tables[generators]
        first, last = self.tables[head]["zone"][row : row + 2]
        return [{int(g["kind"]): int(g["amount"]) for g in settings[bags[z] : bags[z + 1]]} for z in range(first, last)]

    def _layer(self, zone: Zone) -> Layer:
        """Return a zone's sample with its settings in plain units."""
        head = self.tables["shdr"][zone[Generator.SAMPLE]]
        start = int(head["start"])
        loop = (
            int(head["loop_start"]) - start + setting(zone, Generator.LOOP_START),
            int(head["loop_end"]) - start + setting(zone, Generator.LOOP_END),
        )
        root = setting(zone, Generator.ROOT_KEY)
        tuned = 100 * setting(zone, Generator.COARSE_TUNE) + setting(zone, Generator.FINE_TUNE) + int(head["cents"])
        return Layer(
            wave=self.samples[start : head["end"]].astype(np.float32) / 2**15,
            start=start,
            rate=int(head["rate"]),
            loop=loop if setting(zone, Generator.LOOPS) % 2 else None,
            pitch=100 * (int(head["key"]) if root < 0 else root) - tuned,
            gain=10 ** (-setting(zone, Generator.ATTENUATION) / 200),
            volume=Envelope.of(zone, Generator.VOLUME_DELAY),
            filter=Envelope.of(zone, Generator.CUTOFF_DELAY),
            cutoff=(setting(zone, Generator.CUTOFF), setting(zone, Generator.CUTOFF_ENVELOPE)),
        )


def riff_chunks(data: bytes, place: int, end: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the name of each chunk of a RIFF file with its first byte and its length, going into lists."""
    while place + 8 <= end:
        name, size = data[place : place + 4], int.from_bytes(data[place + 4 : place + 8], "little")
        if name in (b"RIFF", b"LIST"):
            yield from riff_chunks(data, place + 12, place + 8 + size)
        else:
            yield name.decode("latin-1"), (place + 8, size)
        place += 8 + size + size % 2


def play(
    layer: Layer, key: int, seconds: float, velocity: int, bend: Float[np.ndarray, " bends"] | None
) -> Float32[np.ndarray, " time"]:
    """Return one layer of a note."""
    loud = loudness(layer.volume, seconds) * np.float32(layer.gain * (velocity / 127) ** 2)
    steps = np.full(1, 2 ** ((100 * key - layer.pitch) / 1200) * layer.rate / RATE)
    if bend is not None:
        bends = np.linspace(0, seconds * RATE, len(bend))
        steps = np.interp(np.arange(len(loud)), bends, steps[0] * 2 ** (bend / 1200))
    zeros, poles = darkness(layer, velocity, len(loud))
    done = np.empty_like(loud)
    return done[: compiled_reader()(layer.wave, layer.loop or (0, 0), steps, loud, zeros, poles, done)]


def loudness(volume: Envelope, seconds: float) -> Float32[np.ndarray, " time"]:
    """Return the factor a note held for ``seconds`` is loud by; it ends when the note is ``GONE`` dB down."""
    time = np.arange(round((seconds + GONE / 100 * max(volume.release, 0.02)) * RATE), dtype=np.float32) / RATE
    # Decay and release are straight lines in decibels, 100 dB in their nominal time; the fall is in tenths of them.
    since = np.minimum(time, seconds) - volume.attack - volume.hold
    down = np.clip(since * (100 / volume.decay), 0, volume.fall / 10)
    down += np.clip(time - seconds, 0, None) * (100 / max(volume.release, 0.02))
    down = down[: np.searchsorted(down, GONE)]
    time = time[: len(down)]
    return np.minimum(time / volume.attack, 1) * np.exp(down * np.float32(-np.log(10) / 20))


def darkness(
    layer: Layer, velocity: int, length: int
) -> tuple[Float[np.ndarray, "blocks 3"], Float[np.ndarray, "blocks 2"]]:
    """Return each block's low-pass filter, which opens with the note's attack and closes as it decays."""
    envelope, (rest, more) = layer.filter, layer.cutoff
    since = np.arange(BLOCK / 2, length + BLOCK / 2, BLOCK) / RATE - envelope.delay
    fallen = np.clip((since - envelope.attack - envelope.hold) / envelope.decay, 0, envelope.fall / 1000)
    # A soft note is a dark one: by half of what the standard asks for (section 8.4.2), which many players leave out.
    cents = rest + more * (np.clip(since / envelope.attack, 0, 1) - fallen) - 1200 * (1 - velocity / 127)
    # Two poles, no resonance (Butterworth), bilinear transform.
    k = np.tan(np.pi * np.minimum(8.176 * 2 ** (cents / 1200) / RATE, 0.45))
    scale = 1 / (1 + np.sqrt(2) * k + k**2)
    zeros = np.outer(k**2 * scale, (1, 2, 1))
    return zeros, np.stack([2 * (k**2 - 1) * scale, (1 - np.sqrt(2) * k + k**2) * scale], 1)


@cache
def compiled_reader() -> Callable[..., int]:
    """Return ``read`` as machine code: a note in a fifth of the time that whole-array steps and lfilter take."""
    from numba import njit

    return njit(cache=True)(read)


@no_type_check  # numba compiles the bare function
def read(wave, loop, steps, loud, zeros, poles, done):
    """Fill ``done`` with the sample read at ``steps``, shaped and filtered; return how many values there are."""
    start, end = loop
    place = first = second = 0.0
    for time in range(len(loud)):
        whole = int(place)
        if end == 0 and whole + 1 >= len(wave):
            return time
        below, above = wave[whole], wave[min(whole + 1, len(wave) - 1)]
        value = (below + (place - whole) * (above - below)) * loud[time]
        block = time // BLOCK
        heard = zeros[block, 0] * value + first  # direct form II, transposed
        first = zeros[block, 1] * value - poles[block, 0] * heard + second
        second = zeros[block, 2] * value - poles[block, 1] * heard
        done[time] = heard
        place += steps[time] if len(steps) > 1 else steps[0]
        if 0 < end <= place:
            place -= math.floor((place - start) / (end - start)) * (end - start)
    return len(loud)


@cache
def general_midi() -> SoundFont:
    """Return the General MIDI SoundFont that pretty_midi carries; raises DataError where it is not installed."""
    # find_spec looks without importing: the import itself takes a second.
    found = importlib.util.find_spec("pretty_midi")
    path = Path(found.origin).with_name("TimGM6mb.sf2") if found and found.origin else None
    if path is None or not path.exists():
        raise DataError(
            "The stand-in's sounds come from TimGM6mb.sf2 of pretty_midi, which is not here: pip install pretty_midi."
        )
    return SoundFont(path)
