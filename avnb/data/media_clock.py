"""When the packets of a file are, whatever their time stamps say."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from avnb.errors import DataError

BACK = 1.0  # seconds by which a stream's clock may go back before it counts as begun again
PAUSE = 60.0  # seconds in which a file may hold nothing; a longer pause is a jump of its clock
PAUSES = 600.0  # seconds of pauses that a file may have in all
JUMPS = 1000  # of its clock; with more there is no telling when anything is


class Clock:
    """What the time stamps of a file's packets say, in the file's order, all streams together.

    A clock that begins again, or jumps, is moved so that what follows comes next; where it comes back from a jump it
    is moved back.
    """

    def __init__(self, start: float) -> None:
        self.start, self.end = start, start
        self.shift, self.before, self.jumps, self.paused = 0.0, 0.0, 0, 0.0
        self.counts: dict[int, int] = {}
        self.last: dict[int, float] = {}
        self.own: dict[int, float] = {}  # by how much each stream's latest packet was moved
        self.ends: dict[int, float] = {}
        self.shifts: dict[int, list[tuple[int, float]]] = {}

    def pass_by(self, packet: Any) -> None:
        """Take the next packet into account; raise DataError where there is no telling when anything is."""
        index = packet.stream_index
        number = self.counts[index] = self.counts.get(index, 0) + 1
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None:
            return
        seconds = float(stamp * packet.time_base)
        own = self.own.get(index, self.shift)
        if own != self.shift and abs(seconds + own - self.last[index]) < BACK:
            shift = own  # what comes late of the part before
        elif self._fits(index, seconds + self.shift):
            shift = self.shift
        else:
            self.jumps += 1
            if self.jumps > JUMPS:
                raise DataError(f"its clock jumps more than {JUMPS:,} times")
            back = self.before if self._fits(index, seconds + self.before) else self.end - seconds
            self.before, self.shift = self.shift, back
            shift = back
        if shift != self.own.get(index, 0.0):
            self.shifts.setdefault(index, []).append((number - 1, shift))
        self.own[index] = shift
        seconds += shift
        self.paused += max(0.0, seconds - self.end - BACK)
        self.last[index] = seconds
        lasts = float(packet.duration * packet.time_base) if packet.duration else 0.0
        self.ends[index] = max(self.ends.get(index, seconds), seconds + min(max(lasts, 0.0), PAUSE))
        self.end = max(self.end, self.ends[index])

    def _fits(self, index: int, seconds: float) -> bool:
        """Tell whether a time follows what was before: not far back in its stream, not far ahead of all streams."""
        pause = seconds - self.end
        if pause > PAUSE or (pause > BACK and self.paused + pause > PAUSES):
            return False
        return seconds >= self.last.get(index, self.start - PAUSE) - BACK


def moved(packets: Iterable[Any], shifts: Sequence[tuple[int, float]]) -> Iterator[Any]:
    """Yield a stream's packets, their times moved by as many seconds as `Clock.shifts` says, from which one on."""
    waiting, number, shift = list(shifts), 0, 0
    for packet in packets:
        if packet.size:
            while waiting and waiting[0][0] <= number:
                shift = round(Fraction(waiting.pop(0)[1]) / packet.time_base)
            number += 1
            if shift and packet.pts is not None:
                packet.pts += shift
            if shift and packet.dts is not None:
                packet.dts += shift
        yield packet
