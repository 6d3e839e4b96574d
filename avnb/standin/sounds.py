"""The sounds of the embedded MUSIC stand-in: short performances on eleven instruments, each in a room of its own.

A performance is drawn (key, scale, tempo, figures, articulation, loudness), played on the SoundFont, and recorded:
early reflections, a tail, a tilt of the spectrum and a noise floor differ from clip to clip, so that a class is known
by its instrument and not by its recording. All chance comes from one generator, so a seed is a sound.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from avnb.errors import SettingsError
from avnb.standin.soundfont import RATE, general_midi

LOUDNESS = (0.05, 0.2)  # root mean square of a clip; its peak stays below PEAK
PEAK = 0.95
BEFORE = 0.3  # seconds played before the clip starts, so that clips begin inside the music
REST = 0.25  # seconds: the longest silence between two notes
TAIL = 0.6  # seconds of silence behind the music, for the room to ring in

# Semitones above the keynote.
SCALES = (
    (0, 2, 4, 5, 7, 9, 11),
    (0, 2, 3, 5, 7, 8, 10),
    (0, 2, 3, 5, 7, 8, 11),
    (0, 2, 3, 5, 7, 9, 10),
    (0, 2, 4, 7, 9),
)
# Lengths of a bar's notes, in beats.
RHYTHMS = (
    (1, 1, 1, 1),
    (0.5,) * 8,
    (1, 0.5, 0.5, 1, 0.5, 0.5),
    (1.5, 0.5, 1, 1),
    (0.75, 0.25, 0.75, 0.25, 1, 1),
    (2, 1, 1),
    (1 / 3, 1 / 3, 1 / 3, 1, 1 / 3, 1 / 3, 1 / 3, 1),
    (0.25, 0.25, 0.5, 0.25, 0.25, 0.5, 1, 1),
)


@dataclass(frozen=True)
class Player:
    """How a class sounds and is played.

    ``voices`` are (program, lowest key, highest key); ``figures`` names of functions below; ``beats`` the tempo, a
    minute; ``together`` the chance that a melody has a second voice; ``vibrato`` its largest deviation in cents;
    ``slides`` whether notes are slid into; ``body`` resonances (Hz, dB) that stay where they are whatever the note.
    """

    voices: tuple[tuple[int, int, int], ...]
    figures: tuple[str, ...]
    beats: tuple[float, float] = (70, 160)
    together: float = 0.0
    vibrato: float = 0.0
    slides: bool = False
    body: tuple[tuple[float, float], ...] = ()


SUNG = ("scale", "tune", "tune", "arpeggio", "held", "repeated")
PLUCKED = ("picking", "picking", "strum", "strum", "tune", "scale")
PLAYERS = {
    "accordion": Player(((21, 53, 88),), (*SUNG, "vamp", "vamp"), together=0.6, body=((1500, -4), (4500, 8))),
    "acoustic_guitar": Player(((24, 40, 79), (25, 40, 79)), PLUCKED, vibrato=6, body=((110, 4), (210, 4))),
    "cello": Player(
        ((42, 36, 74),), SUNG, (60, 140), 0.15, vibrato=22, body=((110, 4), (220, 4), (600, -4), (2200, 4))
    ),
    "clarinet": Player(((71, 50, 89),), SUNG),
    # General MIDI has no erhu: its fiddle, slid and shaken as an erhu is, with the nose of a small snakeskin drum.
    "erhu": Player(
        ((110, 62, 88),),
        ("tune", "tune", "held", "scale"),
        (60, 130),
        vibrato=45,
        slides=True,
        body=((300, -8), (850, 8), (1500, 6), (3000, -8)),
    ),
    "flute": Player(((73, 60, 94),), (*SUNG, "trill"), vibrato=14),
    "saxophone": Player(((64, 56, 84), (65, 50, 80), (66, 45, 76), (67, 37, 68)), SUNG, vibrato=18),
    "trumpet": Player(((56, 55, 82),), (*SUNG, "repeated"), vibrato=10),
    "tuba": Player(((58, 28, 55),), ("vamp", "scale", "tune", "held", "repeated", "arpeggio"), (60, 130)),
    "violin": Player(
        ((40, 55, 94),),
        (*SUNG, "trill"),
        together=0.15,
        vibrato=28,
        body=((280, 3), (480, 4), (1100, -6), (2700, 8)),
    ),
    "xylophone": Player(
        ((13, 65, 100),), ("scale", "tune", "tune", "arpeggio", "roll", "repeated"), (90, 170), together=0.25
    ),
}


@dataclass(frozen=True)
class Note:
    """A note of a performance: MIDI keys pressed together, when and how long (in beats), and how accented (0..1)."""

    keys: tuple[int, ...]
    start: float
    length: float
    accent: float = 0.5


def melody(
    label: str, rng: np.random.Generator, seconds: float = 3.0, rate: int = 22_050
) -> Float32[np.ndarray, " time"]:
    """Return a short performance on ``label``, recorded: mono, RMS in 0.05..0.2 (less where the peak would
    reach 1).

    Raises SettingsError for a class the stand-in has no sound for and for a ``rate`` that does not divide 44,100.
    """
    if label not in PLAYERS:
        raise SettingsError(f'The stand-in has no sound for "{label}"; it plays {", ".join(PLAYERS)}.')
    if rate <= 0 or RATE % rate:
        raise SettingsError(
            f"The stand-in's sounds are made at {RATE} Hz or a whole fraction of it, such as 22050, not {rate}."
        )
    dry = perform(PLAYERS[label], rng, BEFORE + seconds)
    wet = recorded(dry, PLAYERS[label].body, rng, RATE // rate)
    start = round(BEFORE * rate)
    return levelled(wet[start : start + round(seconds * rate)], rng.uniform(*LOUDNESS))


def levelled(sound: Float[np.ndarray, " time"], loudness: float) -> Float32[np.ndarray, " time"]:
    """Return ``sound`` with an RMS of ``loudness``, or less where its peak would reach 1."""
    sound = sound * (loudness / np.sqrt(np.mean(sound**2)))
    return (sound * min(1.0, PEAK / np.abs(sound).max())).astype(np.float32)


# The performance


def perform(player: Player, rng: np.random.Generator, seconds: float) -> Float32[np.ndarray, " time"]:
    """Return ``seconds`` and a silent tail of a performance without a room, at the SoundFont's rate."""
    program, low, high = player.voices[rng.integers(len(player.voices))]
    beat = 60 / rng.uniform(*player.beats)
    notes = compose(player, rng, low, high, seconds / beat)
    gate = rng.choice([rng.uniform(0.25, 0.6), rng.uniform(0.7, 0.95), 1.02])  # staccato, detached, legato
    loud, swell = rng.uniform(50, 105), rng.choice([0.0, rng.uniform(-45, 45)])
    mix = np.zeros(round((seconds + TAIL) * RATE), np.float32)
    reach, speed = rng.uniform(0.2, 1) * player.vibrato, rng.uniform(4.5, 7)
    before = notes[0].keys[0]
    for note in notes:
        onset = note.start * beat
        if onset >= seconds:
            break
        swollen = loud + swell * (onset / seconds - 0.5) + 30 * (note.accent - 0.5) + rng.normal(0, 4)
        velocity = int(np.clip(swollen, 25, 127))
        length = max(note.length * beat * gate, note.length * beat - REST, 0.07)
        length = min(length, seconds - onset + 0.1)
        bend = bends(player, rng, length, reach, speed, before - note.keys[0]) if player.vibrato else None
        for i, key in enumerate(note.keys):
            # Nobody plays quite in time, and a chord's notes follow each other.
            place = round((onset + i * rng.uniform(0.002, 0.02) + abs(rng.normal(0, 0.008))) * RATE)
            sound = general_midi().note(program, key, length, velocity, bend)[: len(mix) - place]
            mix[place : place + len(sound)] += sound
        before = note.keys[0]
    mix[round(seconds * RATE) :] = 0
    return mix


def bends(
    player: Player, rng: np.random.Generator, seconds: float, reach: float, speed: float, interval: int
) -> Float[np.ndarray, " bends"]:
    """Return a note's deviation in cents: vibrato that sets in late, and a slide from below or from the note before."""
    time = np.linspace(0, seconds, max(round(seconds * 200), 2))
    cents = reach * np.clip((time - 0.1) / 0.25, 0, 1) * np.sin(2 * np.pi * speed * time + rng.uniform(0, 2 * np.pi))
    if player.slides and rng.uniform() < 0.6:
        start = np.clip(100 * interval, -400, 400) if interval and rng.uniform() < 0.6 else rng.uniform(-250, -80)
        cents += start * np.clip(1 - time / rng.uniform(0.06, 0.2), 0, 1) ** 2
    return cents + rng.normal(0, 4)


def compose(player: Player, rng: np.random.Generator, low: int, high: int, beats: float) -> list[Note]:
    """Return the notes of at least ``beats`` beats: figures in one key and register, now and then in two voices."""
    scale, tonic = SCALES[rng.integers(len(SCALES))], rng.integers(12)
    keys = [key for key in range(low, high + 1) if (key - tonic) % 12 in scale]
    # A performance keeps to a stretch of about an octave and a half somewhere on the instrument.
    span = min(len(keys), rng.integers(7, 13))
    bottom = rng.integers(len(keys) - span + 1)
    keys = keys[bottom : bottom + span]
    notes: list[Note] = []
    end = 0.0
    while end < beats:
        name = player.figures[rng.integers(len(player.figures))]
        figure = FIGURES[name](rng, keys)
        notes += [Note(note.keys, note.start + end, note.length, note.accent) for note in figure]
        end = max(note.start + note.length for note in notes)
    return doubled(notes, rng, keys) if rng.uniform() < player.together else notes


def doubled(notes: Sequence[Note], rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """Return ``notes`` with a second voice two, four or five steps of the scale above, where the stretch has it."""
    place, steps = {key: i for i, key in enumerate(keys)}, rng.choice([2, 2, 4, 5])
    with_voice = [(n, place[n.keys[0]] + steps) for n in notes]
    return [
        Note((n.keys[0], keys[above]), n.start, n.length, n.accent) if len(n.keys) == 1 and above < len(keys) else n
        for n, above in with_voice
    ]


# Figures: each returns a few beats of notes taken from ``keys``, a stretch of a scale from low to high.


def timed(rng: np.random.Generator, keys: Sequence[tuple[int, ...]], lengths: Sequence[float]) -> list[Note]:
    """Return notes one after the other; those on a beat are accented."""
    starts = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
    accents = np.where(np.isclose(starts % 1, 0), 0.65, 0.4) + rng.normal(0, 0.08, len(starts))
    return [Note(k, float(s), float(n), float(a)) for k, s, n, a in zip(keys, starts, lengths, accents, strict=True)]


def scale(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """A run up or down."""
    line = list(keys)[:: rng.choice([1, -1])][: rng.integers(5, 13)]
    return timed(rng, [(key,) for key in line], [rng.choice([0.25, 1 / 3, 0.5])] * len(line))


def arpeggio(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """A broken chord, up and down."""
    root = rng.integers(min(2, len(keys)))
    line = list(keys)[root::2][: rng.integers(3, 6)]
    line = (line + line[-2:0:-1]) * 2
    return timed(rng, [(key,) for key in line[:: rng.choice([1, -1])]], [rng.choice([0.25, 1 / 3, 0.5])] * len(line))


def tune(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """A bar of steps and small leaps."""
    lengths = RHYTHMS[rng.integers(len(RHYTHMS))]
    place, line = rng.integers(len(keys)), []
    for _ in lengths:
        line.append((keys[place],))
        place += rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 4])
        place = int(np.clip(place, 0, len(keys) - 1))
    return timed(rng, line, lengths)


def held(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """Long notes."""
    count = rng.integers(1, 3)
    return timed(rng, [(int(key),) for key in rng.choice(keys, count)], list(rng.choice([2.0, 3.0, 4.0], count)))


def repeated(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """One note many times, then perhaps its neighbour."""
    length, count = rng.choice([0.25, 1 / 3, 0.5]), rng.integers(4, 9)
    place = rng.integers(len(keys) - 1)
    line = [(keys[place],)] * count + [(keys[place + 1],)] * rng.integers(0, 5)
    return timed(rng, line, [length] * len(line))


def trill(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """Two neighbours in quick turn."""
    place = rng.integers(len(keys) - 1)
    line = [(keys[place],), (keys[place + 1],)] * rng.integers(5, 9)
    return timed(rng, line, [1 / 6] * len(line))


def roll(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """Two mallets on one or two bars, quickly: how a xylophone holds a note."""
    place = rng.integers(len(keys) - 2)
    pair = [(keys[place],), (keys[place + rng.choice([0, 2])],)] * rng.integers(4, 8)
    return timed(rng, pair, [rng.uniform(0.15, 0.22)] * len(pair))


def triad(rng: np.random.Generator, keys: Sequence[int], count: int = 3) -> tuple[int, ...]:
    """Return every other note of the stretch, ``count`` of them."""
    root = rng.integers(max(len(keys) - 2 * count + 2, 1))
    return tuple(keys[root::2][:count])


def vamp(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """Bass and after-beat: oom-pah, with a chord on the after-beat where the stretch allows one (tuba: its fifth)."""
    low, chord = keys[0], triad(rng, keys[2:])
    after = chord if keys[0] >= 45 else chord[-1:]
    return timed(rng, [(low,), after] * 4, [0.5] * 8)


def picking(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """A chord picked note by note, each left ringing."""
    chord = triad(rng, keys, 4)
    order = rng.permutation(len(chord))
    notes = timed(rng, [(chord[i],) for i in np.resize(order, 8)], [rng.choice([0.25, 0.5])] * 8)
    return [Note(n.keys, n.start, n.length * 3 if i < 5 else n.length, n.accent) for i, n in enumerate(notes)]


def strum(rng: np.random.Generator, keys: Sequence[int]) -> list[Note]:
    """A chord struck in a rhythm."""
    lengths = RHYTHMS[rng.integers(len(RHYTHMS))]
    chord = triad(rng, keys, 4)
    return timed(rng, [chord[:: rng.choice([1, 1, -1])] for _ in lengths], lengths)


FIGURES = {f.__name__: f for f in (scale, arpeggio, tune, held, repeated, trill, roll, vamp, picking, strum)}


# The recording


def recorded(
    dry: Float32[np.ndarray, " dry"], body: Sequence[tuple[float, float]], rng: np.random.Generator, fraction: int
) -> Float32[np.ndarray, " time"]:
    """Return ``dry`` as a microphone in some room hears it, at a whole ``fraction`` of its rate."""
    from scipy.fft import irfft, next_fast_len, rfft

    rate = RATE // fraction
    length = next_fast_len(-(-len(dry) // fraction), real=True)
    # Fewer bins of the spectrum are a lower rate: the low-pass filter and the decimation in one.
    sound = rfft(dry, length * fraction)[: length // 2 + 1] / fraction
    bins = np.arange(len(sound)) * (rate / length)

    octaves = np.linspace(-5, 5, 201)  # around 1 kHz; what follows is smooth, so a coarse grid will do
    colour = np.clip(rng.normal(0, 0.8), -2, 2) * octaves
    for centre, gain in body:
        # Half an octave wide; no two instruments of a kind are built quite alike.
        away = octaves - np.log2(centre / 1000) + rng.normal(0, 0.05)
        colour += gain * rng.uniform(0.8, 1.2) * np.exp(-((away / 0.35) ** 2))
    sound *= rfft(room(rng, rate), length) * np.interp(bins, 1000 * 2**octaves, decibels(colour))

    # The noise of a room falls with frequency. A spectrum of normal numbers is white noise.
    hiss = rng.standard_normal(2 * len(sound), np.float32).view(np.complex64)
    hiss *= np.interp(bins, 1000 * 2**octaves, decibels(rng.uniform(-6, -2) * octaves))
    hiss *= decibels(rng.uniform(-60, -38)) * np.linalg.norm(sound) / np.linalg.norm(hiss)
    return irfft(sound + hiss, length)


def decibels(value: Float[np.ndarray, " bins"] | float) -> Float[np.ndarray, " bins"] | float:
    """Return the factor that is ``value`` dB."""
    return 10 ** (value / 20)


def room(rng: np.random.Generator, rate: int) -> Float32[np.ndarray, " time"]:
    """Return a room's impulse response: the direct sound, a few early reflections, a tail that dies away."""
    ring = rng.uniform(0.1, TAIL - 0.05)  # seconds to fall by 60 dB
    wet = rng.uniform(0.02, 0.35)
    time = np.arange(round(ring * rate)) / rate
    response = rng.standard_normal(len(time)) * 10 ** (-3 * time / ring)
    response *= (time > 0.012) * wet / np.sqrt(np.sum(response**2))
    for _ in range(rng.integers(3, 9)):
        delay = rng.uniform(0.001, 0.04)
        response[round(delay * rate)] += rng.choice([-1, 1]) * rng.uniform(0.1, 0.5) * wet / (1 + 40 * delay)
    response[0] = 1.0
    return response.astype(np.float32)
