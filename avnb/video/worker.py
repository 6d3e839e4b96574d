"""The process that decodes for localize_video, and how it is asked: a file that crashes it does not crash the user's.

``python -m avnb.video.worker`` answers requests, a line of JSON each, with messages: a line of JSON and so many bytes
as it says. It is kept for the next request, ends with the process that started it, and is started anew where it died.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

import numpy as np

from avnb.errors import DataError
from avnb.paths import worker_environment

KEPT = 3  # idle processes
PATIENCE = 60.0  # seconds in which a worker must get on
ALIVE = 5.0  # seconds after which it says that it does
BLOCK = 1 << 16  # samples of sound sent at once
TRIES = 3  # times that a request is made again where the worker was ended from outside
MEMORY = 6 * 2**30  # bytes of address space; a broken header may ask for any number
CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP")  # which a file causes
_idle: list["_Worker"] = []


@atexit.register
def _stop_idle() -> None:
    while _idle:
        _idle.pop().stop()


Message = tuple[dict[str, Any], bytes]


def ask(task: str, name: str, **request: Any) -> Iterator[Message]:
    """Yield what a worker answers; raise DataError, in a sentence, where the file is refused or crashes it.

    ``name`` is what the sentence calls the file. Where the worker was ended from outside, another one is asked, and
    what has been yielded is passed over.
    """
    yielded = 0
    for number in range(TRIES + 1):
        worker = _idle.pop() if _idle else _Worker()
        again = 0
        try:
            for message in worker.messages({"task": task, "name": name} | request):
                again += 1
                if again > yielded:
                    yielded += 1
                    yield message
        except _Ended as ended:
            if ended.why in CRASHES or number == TRIES:
                raise DataError(f"{name}: the decoder crashed on it ({ended.why}).") from None
            if ended.late:
                raise DataError(f"{name}: nothing could be decoded of it for {PATIENCE:.0f} s.") from None
        except DataError:
            _idle.append(worker)
            raise
        else:
            _idle.append(worker)
            return
        finally:
            if worker not in _idle:  # it is still at work, or dead
                worker.stop()
            while len(_idle) > KEPT:
                _idle.pop(0).stop()


class _Ended(Exception):
    """A worker's end: which signal or status, and whether it was too slow."""

    def __init__(self, why: str, late: bool) -> None:
        self.why, self.late = why, late


class _Worker:
    """A process that is asked one thing after the other."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "avnb.video.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=worker_environment(),
        )

    def messages(self, request: dict[str, Any]) -> Iterator[Message]:
        """Yield the answers to a request; raise DataError where it is refused, _Ended where the process ends."""
        with suppress(OSError):
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        while True:
            head, body = self._next()
            if "alive" in head:
                continue
            if "refused" in head:
                raise DataError(head["refused"])
            if "end" in head:
                return
            yield head, body

    def _next(self) -> Message:
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.process.kill()

        timer = threading.Timer(PATIENCE, give_up)
        timer.daemon = True
        timer.start()
        try:
            line = self.process.stdout.readline()
            if line.endswith(b"\n"):
                head = json.loads(line)
                body = self.process.stdout.read(head.get("bytes", 0))
                if len(body) == head.get("bytes", 0):
                    return head, body
        finally:
            timer.cancel()
        code = self.process.wait()
        known = code < 0 and -code in set(signal.Signals)
        raise _Ended(signal.Signals(-code).name if known else f"exit status {code}", late.is_set())

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                pipe.close()


# ------------------------------------------------------------------------------------------------------ in the worker


def _answers(request: dict[str, Any]) -> Iterator[Message]:
    """Yield the answers to a request, the notes about its file last."""
    from dataclasses import asdict

    from avnb.video import decoding

    if request["task"] == "look":
        yield {"source": asdict(decoding.look(request["path"], request["name"]))}, b""
        return
    source = decoding.Source(**request["source"])
    source.notes.clear()
    if request["task"] == "photo":
        yield _picture_message(0.0, *decoding.photo(source))
    elif request["task"] == "pictures":
        for seconds, frame, planes in decoding.pictures(source, request["per_second"]):
            yield _picture_message(seconds, frame, planes)
    elif request["task"] == "sound":
        waiting: list[bytes] = []
        for piece in decoding.sound(source, request["rate"]):
            waiting.append(piece.tobytes())
            if sum(map(len, waiting)) >= 4 * BLOCK:
                yield {"bytes": sum(map(len, waiting))}, b"".join(waiting)
                waiting = []
        yield {"bytes": sum(map(len, waiting))}, b"".join(waiting)
    elif request["task"] == "track":
        decoding.write_track(source, request["target"])
    yield {"notes": source.notes}, b""


def _picture_message(seconds: float, frame: Any, planes: tuple[np.ndarray, ...]) -> Message:
    body = b"".join(plane.tobytes() for plane in planes)
    tags = {name: int(getattr(frame, name)) for name in ("color_range", "colorspace", "color_trc", "color_primaries")}
    if frame.format.name.startswith("yuvj"):
        tags["color_range"] = 2  # all of 0..255
    shape = [list(plane.shape) for plane in planes]
    return {"seconds": float(seconds), "planes": shape, "tags": tags, "bytes": len(body)}, body


def main() -> None:
    """Answer requests until the process that sends them closes its end or is no more."""
    import av

    from avnb.video import decoding

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sender's to handle
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints can be mistaken for an answer
    av.logging.set_level(None)
    if hasattr(os, "uname") and os.uname().sysname == "Linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    requests: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        for line in sys.stdin.buffer:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()

    said = time.monotonic()

    def send(head: dict[str, Any], body: bytes = b"") -> None:
        nonlocal said
        answers.write(json.dumps(head).encode() + b"\n" + body)
        answers.flush()
        said = time.monotonic()

    def alive() -> None:
        if time.monotonic() - said > ALIVE:
            send({"alive": True})

    decoding.Progress.made = staticmethod(alive)

    while True:
        request = json.loads(requests.get())
        try:
            for message in _answers(request):
                send(*message)
            send({"end": True})
        except DataError as error:
            send({"refused": str(error)})
        except BrokenPipeError:
            time.sleep(1)  # the sender is gone: listen() ends this process
        except Exception as error:  # decoders raise many types on damaged files
            reason = getattr(error, "strerror", None) or error
            send({"refused": f"{request['name']} cannot be decoded ({type(error).__name__}: {reason})."})


if __name__ == "__main__":
    main()
