# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false
"""How fast random training windows come off the disk, and how much memory a conversion takes.

    python benchmarks/data.py --data DATA                   # DATA bring latents
    benchmarks/interop.sh DATA                              # adds LeRobot's own loader

Windows are 8 frames of every view. They are read through this package, through plain PyAV (open
the file, seek, decode) and by LeRobot with every decoder that it can use here, all from one LeRobot
v3.0 copy of the data as `worldeval data convert` writes it, and once more (`_av1`) with the videos
as LeRobot encodes them. What need not be decoded has rows of its own: shards, which hold plain
frames, and latents. The loaders take turns for a few rounds, each on the same windows of its round;
the result is the median round. Ratios are of processor time, which other work on the machine moves
little, with the lowest and highest round; those of the clock stand beside them. Writes
benchmarks/results/data.json.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import NamedTuple

import av
import numpy as np

from worldeval.data.convert import convert
from worldeval.data.formats.lerobot.layout import Layout, image_key
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.latent_cache import LatentCache, build_cache, precomputed
from worldeval.data.source import Head, Rows, Source, open_source
from worldeval.data.video import probe, read_frames
from worldeval.files import read_json, write_json

FRAMES, ROUNDS = 8, 3
LEAST = 0.2  # processor seconds of a measurement
RESULT = Path(__file__).parent / "results" / "data.json"
LONG = (40, 500, (96, 96))  # episodes, frames of each, size: 20,000 frames to convert
AV1 = {"g": "2", "crf": "30"}  # what LeRobot 0.4.4 gives to libsvtav1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Data that bring latents.")
    parser.add_argument("--windows", type=int, default=90)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lerobot-python", type=Path, help="Of an environment with LeRobot 0.4.4.")
    parser.add_argument("--keep", type=Path, help="Where to put the copies, to be used again.")
    parser.add_argument("--convert-only", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.convert_only:
        measure_conversion(args.convert_only)
        return
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as made:
        folder = args.keep or Path(made)
        copy, plainly, latents = folder / "lerobot", folder / "shards", folder / "latents"
        origin = open_source(args.data)
        if not copy.is_dir():
            convert(origin, copy, to="lerobot")
        if not plainly.is_dir():
            convert(origin, plainly, to="shards")
        theirs = as_lerobot_encodes(copy, folder / "lerobot-av1")
        views = tuple(origin.spec.views)
        build_cache(origin, latents, precomputed(views), encoder="precomputed", views=views)
        source, cache = open_source(copy), LatentCache(latents)
        shards, av1 = open_source(plainly), open_source(theirs)
        windows = draw(source, args.windows, np.random.default_rng(args.seed))
        rounds = []
        for number in range(ROUNDS):
            part = windows[number::ROUNDS]
            rates = {
                "worldeval": timed(lambda e, rows: through_source(source, e, rows), part),
                "plain_pyav": timed(lambda e, rows: plain(source, e, rows), part),
                "worldeval_av1": timed(lambda e, rows: through_source(av1, e, rows), part),
                "shards": timed(lambda e, rows: through_source(shards, e, rows), part),
                "latents": timed(cache.latents, part),
            }
            if args.lerobot_python:
                rates |= lerobot(args.lerobot_python, copy, part, folder)
                again = lerobot(args.lerobot_python, theirs, part, folder)
                rates |= {f"{name}_av1": rate for name, rate in again.items()}
            rounds.append(rates)
        peak = conversion_peak(folder)
    names = list(rounds[0])
    ours = ("worldeval", "worldeval_av1", "shards", "latents")
    pairs = [(one, other) for other in names if other not in ours for one in ours]
    # Each on the same files; and files of ours beside theirs, for whoever converts.
    pairs = [(one, other) for one, other in pairs if other.endswith("_av1") or one != ours[1]]
    result = {
        "command": "benchmarks/interop.sh" if args.lerobot_python else "benchmarks/data.py",
        "machine": f"{os.cpu_count()} CPU cores, load {load:.1f} before the start",
        "data": f"{len(source)} episodes, views {list(source.spec.views.values())}",
        "windows": f"{ROUNDS} rounds of {args.windows // ROUNDS}; each {FRAMES} frames of "
        f"{len(source.spec.views)} views",
        "windows_per_cpu_second": {
            name: round(float(np.median([rates[name].cpu for rates in rounds])), 1)
            for name in names
        },
        "windows_per_second": {
            name: round(float(np.median([rates[name].clock for rates in rounds])), 1)
            for name in names
        },
        "ratio": {
            f"{one}/{other}": {
                **spread([rates[one].cpu / rates[other].cpu for rates in rounds]),
                "clock": spread([rates[one].clock / rates[other].clock for rates in rounds]),
            }
            for one, other in pairs
        },
        "convert_20000_frames": peak,
    }
    write_json(RESULT, result)
    print(RESULT.read_text())


def spread(ratios: list[float]) -> dict[str, float]:
    """The ratio of the median round, and of the lowest and highest."""
    low, middle, high = np.quantile(ratios, (0, 0.5, 1)).round(2).tolist()
    return {"median": middle, "lowest": low, "highest": high}


def draw(source: Source, count: int, rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
    """Episodes and first frames, every window equally likely."""
    starts = [
        (episode, begin)
        for episode, head in enumerate(source.heads)
        for begin in range(head.length - FRAMES + 1)
    ]
    chosen = rng.choice(len(starts), count)
    return [(starts[i][0], starts[i][1] + np.arange(FRAMES)) for i in chosen]


class Rate(NamedTuple):
    """Windows per second, of the processor (all threads) and of the clock."""

    cpu: float
    clock: float


def timed(read: Callable[[int, np.ndarray], object], windows: list[tuple[int, np.ndarray]]) -> Rate:
    """How fast, after a few windows that warm caches up."""
    for episode, rows in windows[:5]:
        read(episode, rows)
    # Latents come so fast that a clock's tick counts: as many rounds as take a while.
    rounds, cpu, clock = 0, process_time(), perf_counter()
    while not rounds or process_time() - cpu < LEAST:
        for episode, rows in windows:
            read(episode, rows)
        rounds += 1
    count = rounds * len(windows)
    return Rate(count / (process_time() - cpu), count / (perf_counter() - clock))


def through_source(source: Source, episode: int, rows: np.ndarray) -> list[np.ndarray]:
    """Frames of every view, and the actions and poses of the same rows."""
    numbers = numbers_of(source, episode)
    frames = [source.frames(episode, view, rows) for view in source.spec.views]
    return [*frames, numbers.actions[rows], numbers.pose[rows]]


@lru_cache(maxsize=64)
def numbers_of(source: Source, episode: int) -> Rows:
    return source.rows(episode)


def as_lerobot_encodes(copy: Path, out: Path) -> Path:
    """The dataset with AV1 videos, LeRobot's default; ours are H.264."""
    if not out.is_dir():
        draft = out.with_name(f"{out.name}.draft")
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(copy, draft)
        for path in sorted(draft.rglob("*.mp4")):
            encode_av1(path)
        draft.rename(out)
    return out


def encode_av1(path: Path) -> None:
    facts = probe(path)
    with av.open(str(path.with_suffix(".av1.mp4")), "w") as container:
        stream = container.add_stream("libsvtav1", rate=round(facts.fps), options=AV1)
        stream.width, stream.height, stream.pix_fmt = facts.width, facts.height, "yuv420p"
        for begin in range(0, facts.frames, 64):
            for image in read_frames(path, np.arange(begin, min(begin + 64, facts.frames))):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    path.with_suffix(".av1.mp4").replace(path)


def plain(source: Source, episode: int, rows: np.ndarray) -> list[np.ndarray]:
    """What a first loader does: open the mp4, seek, decode until the frames are there."""
    out = []
    for view in source.spec.views:
        clip = source._entries[episode].clips[image_key(view)]  # type: ignore[attr-defined]
        first = clip.begin + rows[0] / source.spec.fps
        with av.open(str(source.spec.path / clip.file)) as container:
            stream = container.streams.video[0]
            assert stream.time_base is not None
            container.seek(int(first / stream.time_base), stream=stream)
            frames: list[np.ndarray] = []
            for frame in container.decode(stream):
                if frame.time is not None and frame.time >= first - 1e-4:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == len(rows):
                    break
            out.append(np.stack(frames))
    return out


def lerobot(
    python: Path, copy: Path, windows: list[tuple[int, np.ndarray]], folder: Path
) -> dict[str, Rate]:
    """The same windows through LeRobot's own loader, in its own environment, by each decoder."""
    listed, told = folder / "windows.json", folder / "rate.json"
    write_json(listed, [[episode, int(rows[0])] for episode, rows in windows])
    script = Path(__file__).with_name("interop.py")
    subprocess.run([python, script, "time", copy, listed, told], check=True)
    return {f"lerobot_{decoder}": Rate(*rate) for decoder, rate in read_json(told).items()}


def conversion_peak(folder: Path) -> dict[str, float]:
    """Peak memory of converting 20,000 frames, in a process of its own."""
    command = [sys.executable, __file__, "--data", ".", "--convert-only", str(folder / "long")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    return {"cpu_seconds": float(seconds), "peak_gib": float(peak)}


def measure_conversion(folder: Path) -> None:
    """Generated episodes to LeRobot, these to robomimic; prints CPU-seconds and peak GiB."""
    episodes, length, size = LONG
    names = {"action_names": ("dx", "dy"), "pose_names": ("x", "y")}
    layout = Layout(fps=10.0, views=dict.fromkeys(("left", "right"), size), **names)
    with LeRobotWriter(folder, layout, fresh=True) as writer:
        for index in range(episodes):
            head = Head(id=str(index), length=length, task="generated", success=None)
            values = np.random.default_rng(index).normal(size=(length, 2)).astype(np.float32)
            parts = {view: generated(length, size) for view in layout.views}
            writer.add_parts(head, Rows(actions=values, pose=values), parts, place=index)
    convert(open_source(folder), folder.with_name("long.hdf5"), to="robomimic")
    print(round(process_time(), 1), round(peak_gib(), 3))


def peak_gib() -> float:
    """The most memory that this program had; getrusage would count what its parent had before."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kib = next(line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(kib) / 2**20


def generated(length: int, size: tuple[int, int]):
    """A ramp that moves, in blocks of frames."""
    ramp = np.linspace(0, 200, size[0] * size[1]).reshape(size)
    for begin in range(0, length, 50):
        moved = [np.roll(ramp, begin + t, axis=1) for t in range(50)]
        yield np.stack(moved)[..., None].repeat(3, axis=-1).astype(np.uint8)


if __name__ == "__main__":
    main()
