"""The jobs of one call of avnb-prepare: planned a little ahead of the workers, so that these start at once."""

import pickle
import sqlite3
from collections.abc import Iterator
from itertools import islice

from avnb.data.scratch import new_database
from avnb.errors import DataError
from avnb.prepare.plan import Job

AHEAD = 50  # jobs planned for each that is handed out: after a fiftieth of the work its extent is known


class Queue:
    """Jobs in the order in which they are planned, on the disk; ``database`` has each one's file and, once known, key.

    ``total`` is their number, None while they are still being planned. Raises DataError where two would write the same
    file.
    """

    def __init__(self, jobs: Iterator[Job]) -> None:
        self.database = new_database()
        self.database.execute("CREATE TABLE jobs (place INTEGER PRIMARY KEY, file TEXT UNIQUE, job BLOB, key BLOB)")
        self.jobs = jobs
        self.planned, self.total = 0, None
        self._plan()

    def __iter__(self) -> Iterator[tuple[int, Job]]:
        """Yield each job with its place."""
        place = 0
        while place < self.planned:
            (job,) = self.database.execute("SELECT job FROM jobs WHERE place = ?", (place,)).fetchone()
            yield place, pickle.loads(job)  # what _plan() has pickled
            place += 1
            if self.total is None:
                self._plan()

    def set_key(self, place: int, key: bytes) -> None:
        """Write down under which key the journal has a job."""
        self.database.execute("UPDATE jobs SET key = ? WHERE place = ?", (key, place))

    def sorted_keys(self) -> Iterator[bytes]:
        """Yield the keys by the names of the jobs' files, as merge() sorts them."""
        return (key for (key,) in self.database.execute("SELECT key FROM jobs ORDER BY file"))

    def _plan(self) -> None:
        some = list(islice(self.jobs, AHEAD))
        for job in some:
            file = f"{job.id}.flac"
            try:
                self.database.execute(
                    "INSERT INTO jobs VALUES (?, ?, ?, NULL)", (self.planned, file, pickle.dumps(job))
                )
            except sqlite3.IntegrityError:
                (twin,) = self.database.execute("SELECT job FROM jobs WHERE file = ?", (file,)).fetchone()
                raise DataError(
                    f'Two files would both become "{job.id}": {pickle.loads(twin).source} and {job.source}. Rename one '
                    "of them."
                ) from None
            self.planned += 1
        if len(some) < AHEAD:
            self.total = self.planned
