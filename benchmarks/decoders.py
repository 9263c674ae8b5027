# decord and torchcodec need not be installed.
# pyright: reportMissingImports=false
"""Processor time of decoding through PyAV, decord and torchcodec, and whether they agree.

    python benchmarks/decoders.py --data DATA [--lerobot COPY]

DATA is a folder of mp4 files (DROID), COPY a LeRobot copy of it as `worldeval data convert` writes
it. Each decoder keeps its files open and uses one thread. They take turns for three rounds on
windows of 8 frames, blocks of 64 and whole files; the result is the median round. What is not
installed is left out. Puts the result into benchmarks/results/data.json under "decoders".
"""

import argparse
import os
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import process_time

import numpy as np

from worldeval.data.video import probe, read_frames
from worldeval.files import read_json, write_json

ROUNDS, FILES, WINDOWS = 3, 27, 6
RESULT = Path(__file__).parent / "results" / "data.json"
Job = tuple[Path, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lerobot", type=Path)
    args = parser.parse_args()
    decoders: dict[str, Callable[[Path, np.ndarray], np.ndarray]] = {"av": read_frames}
    if find_spec("decord"):
        decoders["decord"] = lambda file, rows: read_frames(file, rows, backend="decord")
    if find_spec("torchcodec"):
        decoders["torchcodec"] = by_torchcodec
    load, found = os.getloadavg()[0], {}
    for name, folder in (("as recorded", args.data), ("as worldeval writes", args.lerobot)):
        if folder is None:
            continue
        jobs = jobs_of(sorted(folder.rglob("*.mp4"))[:FILES])
        found[name] = {
            kind: {
                decoder: round(float(np.median([rate(read, listed) for _ in range(ROUNDS)])), 1)
                for decoder, read in decoders.items()
            }
            for kind, listed in jobs.items()
        }
        found[name]["largest difference from av"] = {
            decoder: max(
                int(np.abs(read(*job).astype(int) - read_frames(*job)).max())
                for job in jobs["windows of 8"][::10]
            )
            for decoder, read in decoders.items()
            if decoder != "av"
        }
    result = {
        "command": "benchmarks/decoders.py",
        "machine": f"{os.cpu_count()} CPU cores, load {load:.1f} before the start",
        "versions": {decoder: version(decoder) for decoder in decoders},
        "reads_per_cpu_second": found,
    }
    write_json(RESULT, {**read_json(RESULT), "decoders": result})
    print(result)


def jobs_of(files: list[Path]) -> dict[str, list[Job]]:
    """What is read: files and frames of them."""
    rng, counts = np.random.default_rng(0), {file: probe(file).frames for file in files}
    windows = [
        (file, int(rng.integers(0, counts[file] - 8)) + np.arange(8))
        for file in files
        for _ in range(WINDOWS)
    ]
    blocks = [
        (file, np.arange(begin, min(begin + 64, counts[file])))
        for file in files
        for begin in range(0, counts[file], 64)
    ]
    return {
        "windows of 8": [windows[place] for place in rng.permutation(len(windows))],
        "blocks of 64": blocks,
        "whole files": [(file, np.arange(count)) for file, count in counts.items()],
    }


def rate(read: Callable[[Path, np.ndarray], np.ndarray], jobs: list[Job]) -> float:
    """Reads per processor second, all threads together."""
    for job in jobs[:5]:
        read(*job)
    began = process_time()
    for job in jobs:
        read(*job)
    return len(jobs) / (process_time() - began)


def by_torchcodec(file: Path, rows: np.ndarray) -> np.ndarray:
    return _opened(file).get_frames_at(indices=rows.tolist()).data.numpy()


@lru_cache(maxsize=64)
def _opened(file: Path):
    from torchcodec.decoders import VideoDecoder

    return VideoDecoder(str(file), dimension_order="NHWC", num_ffmpeg_threads=1)


if __name__ == "__main__":
    main()
