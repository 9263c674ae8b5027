# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false
"""How fast random training windows come off the disk, and how much memory a conversion takes.

    python benchmarks/data.py --data ../shared/data/droid
    benchmarks/interop.sh                                    # adds LeRobot's own loader

Windows are 8 frames of three views. They are read through this package, through plain PyAV (open
the file, seek, decode) and from cached latents, all from one LeRobot v3.0 copy of the data, and
printed as windows per second and as ratios. Writes benchmarks/results/data.json.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import av
import numpy as np

from worldeval.data.convert import convert
from worldeval.data.latent_cache import LatentCache, brought, build_cache
from worldeval.data.lerobot.layout import Layout, image_key
from worldeval.data.lerobot.write import LeRobotWriter
from worldeval.data.source import Head, Rows, Source, open_source
from worldeval.run import read_json, write_json

FRAMES = 8
RESULT = Path(__file__).parent / "results" / "data.json"
LONG = (40, 500, (96, 96))  # episodes, frames of each, size: 20,000 frames to convert


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Data that bring latents.")
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lerobot-python", type=Path, help="Of an environment with LeRobot 0.4.4.")
    parser.add_argument("--keep", type=Path, help="Where to put the copies, to be used again.")
    parser.add_argument("--convert-only", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.convert_only:
        measure_conversion(args.convert_only)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = args.keep or Path(made)
        copy, latents = folder / "lerobot", folder / "latents"
        origin = open_source(args.data)
        if not copy.is_dir():
            convert(origin, copy, to="lerobot")
        build_cache(origin, latents, brought, encoder="brought", views=tuple(origin.spec.views))
        source, cache = open_source(copy), LatentCache(latents)
        windows = draw(source, args.windows, np.random.default_rng(args.seed))
        decoder = None
        rates = {
            "worldeval": timed(lambda e, rows: through_source(source, e, rows), windows),
            "plain_pyav": timed(lambda e, rows: plain(source, e, rows), windows),
            "latents": timed(cache.latents, windows),
        }
        if args.lerobot_python:
            timing = lerobot(args.lerobot_python, copy, windows, folder)
            rates["lerobot"], decoder = float(timing["windows_per_second"]), timing["backend"]
        peak = conversion_peak(folder)
    result = {
        "command": " ".join(["python", *sys.argv]),
        "machine": f"{os.cpu_count()} CPU cores",
        "window": f"{FRAMES} frames, {len(source.spec.views)} views",
        "windows_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": {
            f"{one}/{other}": round(rates[one] / rates[other], 2)
            for other in ("plain_pyav", "lerobot")
            if other in rates
            for one in ("worldeval", "latents")
        },
        "lerobot_decoder": decoder,
        "convert_20000_frames": peak,
    }
    write_json(RESULT, result)
    print(RESULT.read_text())


def draw(source: Source, count: int, rng: np.random.Generator) -> list[tuple[int, np.ndarray]]:
    """Episodes and first frames, every window equally likely."""
    starts = [
        (episode, begin)
        for episode, head in enumerate(source.heads)
        for begin in range(head.length - FRAMES + 1)
    ]
    chosen = rng.choice(len(starts), count)
    return [(starts[i][0], starts[i][1] + np.arange(FRAMES)) for i in chosen]


def timed(
    read: Callable[[int, np.ndarray], object], windows: list[tuple[int, np.ndarray]]
) -> float:
    """Windows per second, after a few that warm caches up."""
    for episode, rows in windows[:5]:
        read(episode, rows)
    begin = perf_counter()
    for episode, rows in windows:
        read(episode, rows)
    return len(windows) / (perf_counter() - begin)


def through_source(source: Source, episode: int, rows: np.ndarray) -> list[np.ndarray]:
    return [source.frames(episode, view, rows) for view in source.spec.views]


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
) -> dict[str, Any]:
    """The same windows through LeRobot's own loader, in its own environment."""
    listed = folder / "windows.json"
    write_json(listed, [[episode, int(rows[0])] for episode, rows in windows])
    script = Path(__file__).with_name("interop.py")
    command = [str(python), str(script), "time", str(copy), str(listed), str(folder / "rate.json")]
    subprocess.run(command, check=True)
    return read_json(folder / "rate.json")


def conversion_peak(folder: Path) -> dict[str, float]:
    """Peak memory of converting 20,000 frames, in a process of its own."""
    command = [sys.executable, __file__, "--data", ".", "--convert-only", str(folder / "long")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, peak = done.stdout.split()
    return {"seconds": float(seconds), "peak_gib": float(peak)}


def measure_conversion(folder: Path) -> None:
    """Convert generated episodes to LeRobot; prints seconds and peak memory in GiB."""
    episodes, length, size = LONG
    names = {"action_names": ("dx", "dy"), "pose_names": ("x", "y")}
    layout = Layout(fps=10.0, views=dict.fromkeys(("left", "right"), size), **names)
    begin = perf_counter()
    with LeRobotWriter(folder, layout, fresh=True) as writer:
        for index in range(episodes):
            head = Head(id=str(index), length=length, task="generated", success=None)
            values = np.random.default_rng(index).normal(size=(length, 2)).astype(np.float32)
            parts = {view: generated(length, size) for view in layout.views}
            writer.add_parts(head, Rows(actions=values, pose=values), parts, place=index)
    convert(open_source(folder), folder.with_name("long.hdf5"), to="robomimic")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(round(perf_counter() - begin, 1), round(peak, 3))


def generated(length: int, size: tuple[int, int]):
    """A ramp that moves, in blocks of frames."""
    ramp = np.linspace(0, 200, size[0] * size[1]).reshape(size)
    for begin in range(0, length, 50):
        moved = [np.roll(ramp, begin + t, axis=1) for t in range(50)]
        yield np.stack(moved)[..., None].repeat(3, axis=-1).astype(np.uint8)


if __name__ == "__main__":
    main()
