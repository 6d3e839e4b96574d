"""avnb-prepare beside the ffmpeg command line doing the same work on the same files, and with more workers and clips.

Run with ``pytest tests/benchmarks/bench_prepare.py -o addopts= -s``; it prints what it measures. What is compared is
the time of the processors (user and system, of all processes), so that a busy machine does not matter; only the test
of workers looks at the clock, and wants the machine to itself. ``AVNB_CLIPS=100000`` goes further than 10,000 clips.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from avnb.prepare import command as prepare

CLIPS = int(os.environ.get("AVNB_CLIPS", "10000"))
FFMPEG = shutil.which("ffmpeg")


def processor_time() -> float:
    """Seconds of user and system time of the processes that have ended so far, and of this one."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    )


def spent(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of processor time and of the clock that ``work`` takes."""
    cpu, clock = processor_time(), time.perf_counter()
    work()
    return processor_time() - cpu, time.perf_counter() - clock


def encode(path: Path, seconds: float, seen: str = "libx264", heard: str = "aac") -> Path:
    """A video as data sets have them: 640 x 360, 30 a second, moving noise, a keyframe every 250."""
    rng = np.random.default_rng(0)
    rate, noise = 48_000, rng.integers(0, 256, (45, 80, 3), dtype=np.uint8)
    noise = np.asarray(Image.fromarray(noise).resize((800, 400), Image.Resampling.BICUBIC))
    with av.open(path, "w") as file:
        video = file.add_stream(seen, rate=30)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        fast = {"deadline": "realtime", "cpu-used": "8", "crf": "34", "b": "0"}
        video.options = {"preset": "veryfast"} if seen == "libx264" else fast
        audio = file.add_stream(heard, rate=rate, layout="stereo")
        for k in range(round(seconds * 30)):
            x, y = k % 160, k % 40
            file.mux(video.encode(av.VideoFrame.from_ndarray(noise[y : y + 360, x : x + 640].copy(), format="rgb24")))
        samples = (rng.normal(0, 2000, (round(seconds * rate), 2))).astype(np.int16)
        for start in range(0, len(samples), 960):
            frame = av.AudioFrame.from_ndarray(samples[start : start + 960].reshape(1, -1), "s16", "stereo")
            frame.rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(audio.encode(frame))
        file.mux(video.encode(None))
        file.mux(audio.encode(None))
    return path


def links(source: Path, folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for k in range(count):
        os.link(source, folder / f"{k:06d}{source.suffix}")
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory) -> dict[str, Path]:
    """10 s of H.264 and AAC, and of VP9 and Opus."""
    folder = tmp_path_factory.mktemp("films")
    return {
        "h264": encode(folder / "x.mp4", 10),
        "vp9": encode(folder / "x.webm", 10, "libvpx-vp9", "libopus"),
    }


def ffmpeg(*arguments: object) -> None:
    common = [FFMPEG, "-nostdin", "-v", "error", "-y", "-filter_threads", "1"]
    subprocess.run([str(part) for part in (*common, *arguments)], check=True)


@pytest.mark.skipif(FFMPEG is None, reason="the ffmpeg command line is not installed")
@pytest.mark.parametrize("codec", ["h264", "vp9"])
@pytest.mark.parametrize("kind", ["a clip of each", "a frame a second"])
def test_throughput_a_core_is_at_least_08_of_ffmpeg(short, tmp_path, codec, kind):
    """VGGSound's work (the middle frame of 10 s and 3 s of sound), and MUSIC's (a frame a second, the whole sound)."""
    source, count = short[codec], 60
    videos = links(source, tmp_path / "videos/noise", count)
    each = 10.0 if kind == "a clip of each" else 1.0

    def ours() -> None:
        prepare.prepare(
            "folder", prepare.Options(videos.parent, every=each, rate=22050, seconds=3.0), tmp_path / "out", workers=1,
            command="", progress=False,
        )  # fmt: skip

    def theirs() -> None:
        out = tmp_path / "ffmpeg"
        out.mkdir()
        for path in sorted(videos.iterdir()):
            picture, sound = ["-vf", "scale=-2:256", "-q:v", 3], ["-ac", 1, "-ar", 22050, "-threads", 1]
            if kind == "a clip of each":
                seen = ["-threads", 1, "-ss", 5, "-i", path]
                heard = ["-threads", 1, "-ss", 3.5, "-t", 3, "-i", path]
                still = ["-map", "0:v", *picture, "-frames:v", 1, "-threads", 1, out / f"{path.stem}.jpg"]
                ffmpeg(*seen, *heard, *still, "-map", "1:a", *sound, out / f"{path.stem}.flac")
            else:
                ffmpeg("-threads", 1, "-i", path, "-map", "0:v", "-vf", "fps=1,scale=-2:256", "-q:v", 3, "-threads", 1,
                       out / f"{path.stem}_%03d.jpg", "-map", "0:a", *sound, out / f"{path.stem}.flac")  # fmt: skip

    (our, _), (their, _) = spent(ours), spent(theirs)
    made = len(list((tmp_path / "out/frames").iterdir()))
    assert made == len(list((tmp_path / "ffmpeg").glob("*.jpg"))) == (count if each == 10 else 10 * count)
    print(f"\n{codec}, {kind}: {count / our:.1f} files/s a core, ffmpeg {count / their:.1f}: {their / our:.2f} of it")
    assert our <= their / 0.8


def test_two_workers_do_nearly_twice_as_much(short, tmp_path):
    videos = links(short["h264"], tmp_path / "videos/noise", 120)
    options = prepare.Options(videos.parent, every=1.0, rate=22050, seconds=3.0)
    clocks = {}
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        _, clocks[workers] = spent(lambda: prepare.prepare("folder", options, out, workers, progress=False))  # noqa: B023
    print(f"\n120 files of 10 s: 1 worker {clocks[1]:.1f} s, 2 {clocks[2]:.1f} s, x {clocks[1] / clocks[2]:.2f}")
    assert clocks[1] / clocks[2] > (1.7 if len(os.sched_getaffinity(0)) > 1 else 0)


def measured(script: str, *arguments: object) -> dict[str, float]:
    """What a script prints, run by an interpreter of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def sizes() -> Iterator[int]:
    size = 1000
    while size <= CLIPS:
        yield size
        size *= 10


MEASURE = """
import json, resource, sys, time
from pathlib import Path
began = time.perf_counter()
from avnb.prepare import command as prepare
from avnb.prepare import workers
first = []
do = workers.Worker.do
def timed(self, *given):
    first or first.append(time.perf_counter() - began)
    return do(self, *given)
workers.Worker.do = timed
options = prepare.Options(Path(sys.argv[1]), rate=8000, seconds=0.5)
prepare.prepare("kinetics400", options, Path(sys.argv[2]), 2, progress=False)
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(json.dumps({"start": first[0], "clock": time.perf_counter() - began, "peak": peak, "worker": worker}))
"""

# What the process itself holds is counted, not the arrays on the disk, whose pages the system takes back at will.
STORE = """
import json, sys, threading, time
from pathlib import Path
from avnb.data.build import open_store
from avnb.data.store import ClipShape

def own():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon")) / 1024

def watch():
    while True:
        peak.append(max(peak.pop(), own()))
        time.sleep(0.02)

peak, before = [own()], own()
threading.Thread(target=watch, daemon=True).start()
cpu = time.process_time()
open_store(Path(sys.argv[1]), ClipShape(32, 8000, 0.5), progress=False)
said = {"store": time.process_time() - cpu}
clock = time.perf_counter()
open_store(Path(sys.argv[1]), ClipShape(32, 8000, 0.5), progress=False)
print(json.dumps(said | {"open": time.perf_counter() - clock, "store peak": peak[0] - before}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from Linux's /proc")
def test_cost_of_a_clip_and_memory_do_not_grow_with_their_number(tmp_path, monkeypatch):
    """Clips of half a second in the frames/ + audio/ layout, prepared, decoded into a store, and the store opened."""
    monkeypatch.setenv("AVNB_DATA", str(tmp_path / "data"))
    import soundfile

    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "x.jpg")
    soundfile.write(tmp_path / "x.wav", rng.normal(0, 0.1, 4000).astype(np.float32), 8000)
    found = {}
    for size in sizes():
        media, out = tmp_path / f"media{size}", tmp_path / f"data/scale{size}"
        for part, suffix in (("frames", ".jpg"), ("audio", ".wav")):
            (media / part / "clapping").mkdir(parents=True)
            for k in range(size):
                original = tmp_path / f"x{k // 10_000}{suffix}"  # a file takes 65,000 links at most
                if not original.exists():
                    shutil.copy(tmp_path / f"x{suffix}", original)
                os.link(original, media / part / f"clapping/video{k:06d}{suffix}")
        cpu = processor_time()
        said = measured(MEASURE, media, out)
        said["prepare"] = (processor_time() - cpu) / size
        said |= measured(STORE, out)
        said["store"] /= size
        found[size] = said
        print(
            f"\n{size:,} clips: first job after {said['start']:.2f} s, {1e3 * said['prepare']:.2f} ms of CPU a clip "
            f"({size / said['clock']:.0f} clips/s), memory {said['peak']:.0f} MB, of a worker {said['worker']:.0f} MB; "
            f"store {1e3 * said['store']:.2f} ms a clip in {said['store peak']:.0f} MB, opened in {said['open']:.3f} s"
        )
        shutil.rmtree(media)
        shutil.rmtree(out)
    few, many = found[1000], found[max(found)]
    assert many["prepare"] < 1.2 * few["prepare"]
    assert many["store"] < 1.2 * few["store"]
    assert many["open"] < 1
    assert many["start"] < 1
    # A few tables have 2 MB of memory each; of the store's clips there are the numbers that its tables hold.
    assert many["peak"] - few["peak"] < 20
    assert many["store peak"] - few["store peak"] < 20 + 2e-4 * max(found)
