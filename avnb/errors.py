"""The errors a user can cause: one sentence that says what is wrong, where, and what to do."""

import shlex
import sys
from collections.abc import Callable, Sequence


class AvnbError(ValueError):
    """A mistake in what was asked for or in what was found on disk, said in a sentence.

    A notebook shows the sentence alone: the stack below it would name our lines, not the user's.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class SettingsError(AvnbError):
    """A setting that does not exist, has the wrong type, or is out of range."""


class DataError(AvnbError):
    """A data set that is missing, empty or broken."""


class RunError(AvnbError):
    """A run directory or checkpoint that cannot be read, written or continued."""


def answer(command: str, arguments: Sequence[str], work: Callable[[], str]) -> int:
    """Print what a command's ``work`` says and return 0; or 1 after its sentence on standard error, 130 if stopped."""
    try:
        print(work())
    except AvnbError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nStopped. Continue with: {shlex.join([command, *arguments])}", file=sys.stderr)
        return 130
    return 0
