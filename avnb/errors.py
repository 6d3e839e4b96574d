"""The errors a user can cause: one sentence that says what is wrong, where, and what to do."""

import re
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

# What a terminal obeys instead of printing it, and what turns the direction of writing.
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""Return ``text`` with what a terminal would obey spelt out: names in files of others may hold anything.

    >>> print(printable("a\x1b[2Jb"))
    a\x1b[2Jb
    """
    spelt = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return spelt.encode(errors="backslashreplace").decode()  # half a character, too


class AvnbError(ValueError):
    """A mistake in what was asked for or in what was found on disk, said in a sentence.

    A notebook shows the sentence alone: the stack below it would name our lines, not the user's.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(printable(sentence))

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(AvnbError):
    """A setting that does not exist, has the wrong type, or is out of range."""


class DataError(AvnbError):
    """A data set that is missing, empty or broken."""


class RunError(AvnbError):
    """A run directory or checkpoint that cannot be read, written or continued."""


class RunInUseError(RunError):
    """Another process is training the run."""


class EndedError(RunError):
    """A process that trains together with others has to end, since another one has, or since it was told to."""


def answer(parser: ArgumentParser, arguments: Sequence[str] | None, work: Callable[[Namespace], str]) -> int:
    """Read a command's arguments (None: the process's), print what its ``work`` says of them and return 0.

    Returns 1 after its sentence on standard error, which says what is wrong and what to do, and 130 if stopped.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    read = parser.parse_args(arguments)
    try:
        if said := printable(work(read)):
            print(said)
    except AvnbError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # rights, a read-only disk, a folder that was taken away
        where = f"{error.filename} " if error.filename else ""
        print(printable(f"DataError: {where}cannot be read or written: {error.strerror or error}."), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. Continue with: {shlex.join([parser.prog, *arguments])}", file=sys.stderr)
        return 130
    return 0
