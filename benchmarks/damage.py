# h5py types every item as a group, a dataset or a datatype.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false, reportCallIssue=false
# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Damage on its way in and out: killed writers, full disks, and inputs with bytes that changed.

    python benchmarks/damage.py [--json] [--quick] [--seed 0]

Every kind is tried so many times and ends in one of three ways: well, in one line (`refused`), or
in what a user must never see: a traceback, a file that is neither whole nor absent (`lost`), a
hang over 30 seconds, or a byte of a file outside of the dataset (`leaked`).
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import h5py
import numpy as np
import torch
from toy_run import make_run, toy_starts

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # for the small datasets of the tests

from tests.support.sound_datasets import FORMATS, make  # noqa: E402
from worldeval.checked_weights import load_checked, save_checked  # noqa: E402
from worldeval.data.source import open_source  # noqa: E402
from worldeval.data.video import VideoWriter, read_frames  # noqa: E402
from worldeval.errors import UserError  # noqa: E402
from worldeval.files import read_json, whole_file, write_json  # noqa: E402
from worldeval.judge.judge import load_judge  # noqa: E402
from worldeval.policy.checkpoint import load as load_policy  # noqa: E402
from worldeval.rollout.starts import read_starts, write_starts  # noqa: E402
from worldeval.world.load import load_world  # noqa: E402

RESULT = Path(__file__).parent / "results" / "damage.json"
CANARY = 231  # every value of the file that lies outside of the dataset
LIMIT = 30.0  # seconds, after which an end is a hang


@dataclass(kw_only=True)
class Ends:
    """How the attempts of one kind ended."""

    tried: int = 0
    well: int = 0
    refused: int = 0  # in one line; of a writer: there is no file
    lost: int = 0  # files neither whole nor absent
    leaked: int = 0
    hangs: int = 0
    tracebacks: list[str] = field(default_factory=list)

    def attempt(self, work: Callable[[], Any]) -> Any:
        """Try it once; what it gives where it ends well."""
        self.tried += 1
        begin = monotonic()
        try:
            found = work()
            self.well += 1
            return found
        except (UserError, OSError, UnicodeError) as error:
            self.refused += 1
            if "\n" in str(error):
                self.tracebacks.append(f"more than a line: {error!r:.200}")
        except Exception as error:
            self.tracebacks.append(f"{type(error).__name__}: {error!s:.200}")
        finally:
            self.hangs += monotonic() - begin > LIMIT
        return None


def write_video(path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (20, 64, 64, 3), dtype=np.uint8)
    with whole_file(path) as draft, VideoWriter(draft, fps=10, size=(64, 64)) as file:
        file.append(frames)


def _starts(path: Path) -> None:
    write_starts(path, toy_starts(40, np.random.default_rng(0)))


def _weights(path: Path) -> None:
    save_checked(path, {"a": torch.arange(200_000.0)})


def _summary(path: Path) -> None:
    write_json(path, {str(number): list(range(20)) for number in range(500)})


# name -> writer, and a reader that refuses what is not whole
FILES: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "starts.h5": (_starts, read_starts),
    "film.mp4": (write_video, lambda path: read_frames(path, range(20))),
    "numbers.json": (_summary, read_json),
    "weights.safetensors": (_weights, load_checked),
}


def killed_writers(home: Path, rng: np.random.Generator, times: int) -> Ends:
    """SIGKILL while HDF5, a video, a summary or weights are written: whole or absent after it."""
    ends = Ends()
    for number in range(times):
        name = list(FILES)[number % len(FILES)]
        write, read = FILES[name]
        folder = home / f"killed-{number}"
        folder.mkdir()
        child = os.fork()
        if child == 0:
            while True:
                write(folder / name)
        sleep(float(rng.uniform(0.0, 0.15)))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _whole_or_absent(ends, folder / name, read)
    return ends


def full_disks(home: Path, rng: np.random.Generator, times: int) -> Ends:
    """Files that may not grow beyond a random size: whole or absent after it."""
    ends, writers = Ends(), dict(FILES)
    for kind in ("shards", "robomimic", "lerobot-v3"):
        writers[kind] = (lambda path, kind=kind: make(kind, path), read_all)  # type: ignore[misc]
    for number in range(times):
        name = list(writers)[number % len(writers)]
        write, read = writers[name]
        folder = home / f"full-{number}"
        folder.mkdir()
        limit = int(rng.integers(100, 60_000))
        child = os.fork()
        if child == 0:
            _limited(lambda write=write, at=folder / name: write(at), limit)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, 2):
            ends.tracebacks.append(f"{name}, {limit} bytes: ended with {code}")
        _whole_or_absent(ends, folder / name, read)
    return ends


def damaged_inputs(home: Path, rng: np.random.Generator, times: int) -> Ends:
    """Datasets of every format with a bit turned, the end cut off or a stretch of zeros."""
    ends = Ends()
    for kind in FORMATS:
        make(kind, home / kind)
    for number in range(times):
        kind = FORMATS[number % len(FORMATS)]
        again = Path(shutil.copytree(home / kind, home / "again"))
        _harm(again, rng)
        ends.attempt(lambda again=again: read_all(again))
        shutil.rmtree(again)
    return ends


def damaged_models(home: Path, rng: np.random.Generator, times: int) -> Ends:
    """Cards and weights of a world, a judge and a policy, and files of starts."""
    ends = Ends()
    make_run(home / "toy", policies=("a/step-1",), starts=2)
    readers: dict[str, Callable[[Path], Any]] = {
        "world": load_world,
        "judge": load_judge,
        "policies/a/step-1": load_policy,
        "": lambda folder: read_starts(folder / "starts.h5"),
    }
    for number in range(times):
        name = list(readers)[number % len(readers)]
        again = Path(shutil.copytree(home / "toy" / name, home / "again"))
        for other in ("world", "judge", "policies", "toy.yaml") if not name else ():
            place = again / other
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        _harm(again, rng)
        ends.attempt(lambda read=readers[name], again=again: read(again))
        shutil.rmtree(again)
    return ends


def ways_out(home: Path, rng: np.random.Generator, times: int) -> Ends:
    """Links and external storage that lead to a file outside, whose content must not appear."""
    ends, outside = Ends(), home / "outside"
    outside.mkdir()
    with h5py.File(outside / "secret.h5", "w") as file:
        file["frames"] = np.full((15, 16, 32, 3), CANARY, np.uint8)
    (outside / "secret.bin").write_bytes(bytes([CANARY]) * 15 * 16 * 32 * 3)
    for number in range(times):
        kind = ("shards", "robomimic")[number % 2]
        again = make(kind, home / f"out-{number}")
        with h5py.File(next(again.glob("*.h*5")), "r+") as file:
            group = file["frames" if kind == "shards" else "data/demo_0/obs"]
            view = next(name for name in group if "top" in name)
            shape = group[view].shape
            del group[view]
            how = int(rng.integers(3))
            if how == 0:
                group[view] = h5py.ExternalLink(str(outside / "secret.h5"), "/frames")
            elif how == 1:
                size = int(np.prod(shape))
                parts = [(str(outside / "secret.bin"), 0, size)]
                group.create_dataset(view, shape, np.uint8, external=parts)
            else:
                layout = h5py.VirtualLayout(shape, np.uint8)
                secret = (15, 16, 32, 3)
                source = h5py.VirtualSource(outside / "secret.h5", "frames", shape=secret)
                layout[:] = source[: shape[0]]
                group.create_virtual_dataset(view, layout)
        found = ends.attempt(lambda again=again: read_all(again))
        ends.leaked += any((array == CANARY).all() for array in found or ())
    return ends


def read_all(path: Path) -> list[Any]:
    """Every frame and number of a dataset."""
    source = open_source(path)
    found: list[Any] = []
    for index in range(len(source)):
        rows = source.rows(index)
        found += [rows.actions, rows.pose]
        found += [source.frames(index, view) for view in source.spec.views]
    return found


KINDS: dict[str, tuple[Callable[[Path, np.random.Generator, int], Ends], int]] = {
    "2 killed writers": (killed_writers, 40),
    "2 full disks": (full_disks, 70),
    "5 6 10 14 15 damaged inputs": (damaged_inputs, 400),
    "6 15 damaged models": (damaged_models, 120),
    "11 ways out": (ways_out, 30),
}


def run_damage(home: Path, *, quick: bool, seed: int) -> dict[str, Ends]:
    """Every kind, by its name."""
    rng, told = np.random.default_rng(seed), {}
    for name, (work, times) in KINDS.items():
        place = home / name.replace(" ", "-")
        place.mkdir()
        told[name] = work(place, rng, max(6, times // 10) if quick else times)
        print(f"{name}: {told[name]}", file=sys.stderr, flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    begin = monotonic()
    with tempfile.TemporaryDirectory(prefix="damage-") as home:
        told = run_damage(Path(home), quick=args.quick, seed=args.seed)
    result = {
        "command": " ".join(["python benchmarks/damage.py", *sys.argv[1:]]),
        "seed": args.seed,
        "machine": f"{os.cpu_count()} CPU cores",
        "seconds": round(monotonic() - begin),
        "kinds": {name: asdict(ends) for name, ends in told.items()},
    }
    if not args.quick:
        write_json(RESULT, result)
    print(json.dumps(result, indent=None if args.json else 2))
    bad = [e for e in told.values() if e.tracebacks or e.lost or e.leaked or e.hangs]
    raise SystemExit(1 if bad else 0)


def _whole_or_absent(ends: Ends, path: Path, read: Callable[[Path], Any]) -> None:
    def look() -> Any:
        left = list(path.glob("[!.]*")) if path.is_dir() else [path] if path.exists() else []
        if not left:
            raise UserError("absent")
        return read(path)

    before = ends.refused
    ends.attempt(look)
    there = any(path.glob("[!.]*")) if path.is_dir() else path.exists()
    ends.lost += there and ends.refused > before


def _limited(write: Callable[[], Any], limit: int) -> None:
    """Be a process whose files may not grow beyond so many bytes; never returns."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    code = 1
    try:
        write()
        code = 0
    except (UserError, OSError):
        code = 2
    finally:
        os._exit(code)


def _harm(folder: Path, rng: np.random.Generator) -> None:
    """Change a random file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = files[int(rng.integers(len(files)))]
    whole = chosen.read_bytes()
    place, how = int(rng.integers(max(len(whole), 1))), int(rng.integers(3))
    bit = bytes([whole[place] ^ (1 << int(rng.integers(8)))]) if whole else b""
    chosen.write_bytes(
        (
            whole[:place],
            whole[:place] + bytes(min(64, len(whole) - place)) + whole[place + 64 :],
            whole[:place] + bit + whole[place + 1 :],
        )[how]
    )


if __name__ == "__main__":
    main()
