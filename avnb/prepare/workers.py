"""A pool of worker processes that outlives what damaged files do to it: crashes, hangs, and memory without bound."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from avnb.errors import DataError
from avnb.paths import worker_environment

COMMAND = [sys.executable, "-P", "-m", "avnb.prepare.cut"]
PATIENCE = 60.0  # seconds that any file may take
BYTES_A_SECOND = 100_000  # a file may take as much longer as it is larger

TRIES = 3  # of a file whose worker is ended from outside
FROM_OUTSIDE = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT")  # what no file causes
NOTHING: dict[str, Any] = {"rows": [], "files": {}, "dropped": []}

Request = dict[str, Any]
Result = dict[str, Any]


class Worker:
    """A process that does one job after the other, and is started anew when it dies."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def do(self, request: Request, patience: float) -> Result:
        """Return the worker's result: "broken" where the decoder crashed on the file, or could not be kept alive.

        "again" where it took longer than ``patience`` seconds or was ended from outside TRIES times: the next call
        tries it again. "failed" where it died of an exception, which is our own; DataError where it cannot even start.
        """
        for _ in range(TRIES):
            result = self._try(request, patience)
            if "ended" not in result:
                return result
        return NOTHING | {"again": f"the decoder was ended from outside {TRIES} times ({result['ended']})"}

    def _try(self, request: Request, patience: float) -> Result:
        """Return the worker's result, "ended" where something else ended it."""
        if self.process is None:
            self._start()
        process, late = self.process, threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(patience, give_up)
        timer.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = ""
        finally:
            timer.cancel()
        if answer.endswith("\n"):
            return json.loads(answer)
        self.process, end = None, self._end(process)
        if late.is_set():
            return NOTHING | {"again": f"took more than {patience:.0f} s"}
        if process.returncode == 1:  # as Python ends on an exception
            return NOTHING | {"failed": end}
        if end in FROM_OUTSIDE:
            return NOTHING | {"ended": end}
        return NOTHING | {"broken": f"the decoder crashed ({end})"}

    def _start(self) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (read when the process has died)
        self.process = process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=worker_environment(),
            encoding="utf-8",
        )
        if process.stdout.readline() != "ready\n":
            self.process, end = None, self._end(process)
            raise DataError(
                f"The process that decodes files cannot start ({end}). Install avnb into a fresh "
                "environment, as README.md says."
            )

    def _end(self, process: subprocess.Popen[str]) -> str:
        """Wait for a process that ends by itself; return what it died of."""
        code = process.wait()
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 4096))
        last = self.errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        if code == 1 and last:
            return last
        if code < 0 and -code in set(signal.Signals):
            return signal.Signals(-code).name
        return f"exit status {code}"

    def stop(self) -> None:
        """End the process."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def do_all(
    requests: Iterator[tuple[Any, Request]],
    workers: int,
    scratch: Path,
    keep: Callable[[Any, Result], None],
) -> None:
    """Do the requests in ``workers`` processes and hand each result to ``keep``, one at a time, as they come.

    ``requests`` yields what a result belongs to, and the request. What is raised here or in ``keep`` stops everything.
    """
    lock, stop = threading.Lock(), threading.Event()
    done: SimpleQueue[BaseException | None] = SimpleQueue()
    pool = [Worker() for _ in range(workers)]

    def serve(number: int) -> None:
        failure = None
        try:
            while not stop.is_set():
                with lock:
                    item = next(requests, None)
                if item is None:
                    break
                what, request = item
                size = os.stat(request["job"]["source"]).st_size if os.path.exists(request["job"]["source"]) else 0
                request["scratch"] = str(scratch / f"{os.getpid()}-{number}")  # a killed run's may still be in use
                result = pool[number].do(request, PATIENCE + size / BYTES_A_SECOND)
                with lock:
                    if not stop.is_set():
                        keep(what, result)
        except BaseException as error:
            failure = error
        finally:
            done.put(failure)

    threads = [threading.Thread(target=serve, args=(number,), daemon=True) for number in range(workers)]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            if failure := done.get():
                raise failure
    finally:
        stop.set()
        for worker in pool:
            worker.stop()
        for thread, worker in zip(threads, pool, strict=True):
            thread.join()
            worker.stop()  # one that was started while the others were being stopped
