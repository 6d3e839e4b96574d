"""Tables that are too long for memory: SQLite databases that lie in no folder and end with the process."""

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from avnb.errors import DataError


def new_database() -> sqlite3.Connection:
    """Return an empty database; it takes 2 MB of memory, the rest lies in the system's folder of temporary files."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # its users take turns
    database.execute("PRAGMA journal_mode = OFF")
    database.execute("PRAGMA synchronous = OFF")
    return database


@contextmanager
def enough_space() -> Iterator[None]:
    """Raise DataError where the tables used in the block outgrow the folder of temporary files."""
    try:
        yield
    except sqlite3.Error as error:
        raise DataError(
            f"The list of clips cannot be kept in {tempfile.gettempdir()} ({error}): free some space there, or set "
            "TMPDIR to a folder that has it."
        ) from None


class Names(Mapping[str, str]):
    """A text for each name, in the order of the names; where a name is given twice the smaller text is kept.

    >>> files = Names([("b", "b.mp4"), ("a", "a.webm"), ("a", "a.mp4")])
    >>> list(files.items()), "c" in files
    ([('a', 'a.mp4'), ('b', 'b.mp4')], False)
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._database = new_database()
        self._database.execute("CREATE TABLE names (name TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")
        self.add(pairs)

    def add(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Add names with their texts."""
        self._database.execute("BEGIN")
        self._database.executemany(
            "INSERT INTO names VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET text = min(text, excluded.text)", pairs
        )
        self._database.execute("COMMIT")

    def __getitem__(self, name: str) -> str:
        try:
            found = self._database.execute("SELECT text FROM names WHERE name = ?", (name,)).fetchone()
        except UnicodeEncodeError:  # half a character, which JSON can spell: no name that was added is so
            found = None
        if found is None:
            raise KeyError(name)
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return (name for (name,) in self._database.execute("SELECT name FROM names ORDER BY name"))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Yield the names with their texts, in one pass."""
        return iter(self._database.execute("SELECT name, text FROM names ORDER BY name"))

    def __len__(self) -> int:
        return self._database.execute("SELECT count(*) FROM names").fetchone()[0]

    def __bool__(self) -> bool:
        return self._database.execute("SELECT 1 FROM names LIMIT 1").fetchone() is not None
