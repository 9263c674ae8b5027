# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false, reportGeneralTypeIssues=false
"""Damage on its way in and out: killed writers, full disks, and inputs with bytes that changed.

    python benchmarks/damage.py [--json] [--quick] [--seed 0] [--only 11 ...]

Every attempt is made in a process of its own and ends in one of three ways: well, in one line
(`refused`), or in what a user must never see: a traceback, a process that died, a file that is
neither whole nor absent (`lost`), a hang over 30 seconds, or content of a file outside of the
dataset (`leaked`), which holds a canary. The numbers in a kind's name are those of
benchmarks/faults.py.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
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

from tests.support import tfrecords  # noqa: E402
from tests.support.sound_datasets import FORMATS, make  # noqa: E402
from worldeval.checked_weights import load_checked, save_checked  # noqa: E402
from worldeval.data.source import open_source  # noqa: E402
from worldeval.data.video import VideoWriter, read_frames  # noqa: E402
from worldeval.errors import UserError  # noqa: E402
from worldeval.files import read_json, whole_file, write_json  # noqa: E402
from worldeval.judge.load import load_judge  # noqa: E402
from worldeval.policy.checkpoint import load as load_policy  # noqa: E402
from worldeval.rollout.starts import read_starts, write_starts  # noqa: E402
from worldeval.world.load import load_world  # noqa: E402

RESULT = Path(__file__).parent / "results" / "damage.json"
CANARY = 231  # every value of the file that lies outside of the dataset
CANARY_TEXT = "canary"  # its text
ALL = (*FORMATS, "rlds")
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
        """Try it once in a process of its own; what it gives, where it ends well."""
        self.tried += 1
        here, there = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(here)
            signal.alarm(int(LIMIT))  # ends the process, also inside of C
            os.write(there, json.dumps(_outcome(work)).encode())
            os._exit(0)
        os.close(there)
        with os.fdopen(here) as line:
            said = line.read()
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == -signal.SIGALRM:
            self.hangs += 1
        elif not said:
            self.tracebacks.append(f"the process ended with {code}")
        else:
            how, found = json.loads(said)
            if how == "well":
                self.well += 1
                return found
            if how == "refused":
                self.refused += 1
                self.leaked += CANARY_TEXT in found
            else:
                self.tracebacks.append(found)
        return None


def _outcome(work: Callable[[], Any]) -> tuple[str, Any]:
    try:
        found = work()
        return "well", found if isinstance(found, bool) else None
    except (UserError, OSError, UnicodeError) as error:
        if "\n" in str(error):
            return "traceback", f"more than a line: {error!r:.200}"
        return "refused", str(error)
    except BaseException as error:
        return "traceback", f"{type(error).__name__}: {error!s:.200}"


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
        sleep(float(rng.uniform(0.0, 0.6)))
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
    for kind in ALL:
        dataset(kind, home / kind)
    for number in range(times):
        kind = ALL[number % len(ALL)]
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


def dataset(kind: str, path: Path) -> Path:
    """A small sound dataset of any format."""
    if kind != "rlds":
        return make(kind, path)
    episodes = [tfrecords.episode(index, 4, f"task {index}") for index in range(3)]
    tfrecords.write_dataset(path / "1.0.0", {"train": [episodes[:2], episodes[2:]]})
    return path


def ways_out(home: Path, rng: np.random.Generator, times: int) -> Ends:
    """Links and external storage that lead to a file outside, whose content must not appear."""
    ends, outside = Ends(), home / "outside"
    outside.mkdir()
    with h5py.File(outside / "secret.h5", "w") as file:
        file["frames"] = np.full((15, 16, 32, 3), CANARY, np.uint8)
        file["words"] = [CANARY_TEXT] * 3
    (outside / "secret.bin").write_bytes(bytes([CANARY]) * 15 * 16 * 32 * 3)
    for number in range(times):
        kind = ALL[number % len(ALL)]
        again = dataset(kind, _made(home / f"out-{number}") / "data")
        if kind in ("shards", "robomimic") and number % 4 < 3:
            _lead_out(next(again.glob("*.h*5")), outside, kind, int(rng.integers(4)))
        else:
            _move_out(again, outside / f"moved-{number}", rng)
        ends.leaked += bool(ends.attempt(lambda again=again: shows_canary(again)))
    return ends


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def shows_canary(path: Path) -> bool:
    """Whether anything that is read of a dataset comes from the outside."""
    source = open_source(path)
    told = repr([(head, source.findings) for head in source.heads])
    return CANARY_TEXT in told or any((array == CANARY).all() for array in read_all(path))


def _lead_out(path: Path, outside: Path, kind: str, how: int) -> None:
    """Let a view, or the tasks, of an HDF5 file lead to another one."""
    with h5py.File(path, "r+") as file:
        group = file["frames" if kind == "shards" else "data/demo_0/obs"]
        view = next(name for name in group if "top" in name)
        shape = group[view].shape
        if how == 3:
            group, view = file["episodes" if kind == "shards" else "mask"], "task"
            if kind == "robomimic":
                view = next(iter(group))
        del group[view]
        if how == 0:
            group[view] = h5py.ExternalLink(str(outside / "secret.h5"), "/frames")
        elif how == 1:
            parts = [(str(outside / "secret.bin"), 0, int(np.prod(shape)))]
            group.create_dataset(view, shape, np.uint8, external=parts)
        elif how == 2:
            layout = h5py.VirtualLayout(shape, np.uint8)
            secret = (15, 16, 32, 3)
            layout[:] = h5py.VirtualSource(outside / "secret.h5", "frames", shape=secret)[
                : shape[0]
            ]
            group.create_virtual_dataset(view, layout)
        else:
            group[view] = h5py.ExternalLink(str(outside / "secret.h5"), "/words")


def _move_out(folder: Path, outside: Path, rng: np.random.Generator) -> None:
    """Replace a file by a link to a copy outside, in which every task is the canary."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    chosen = files[int(rng.integers(len(files)))]
    words = CANARY_TEXT.encode()  # as long as "task 0", so that binary files stay sound
    outside.write_bytes(re.sub(rb"task \d", words, chosen.read_bytes()))
    chosen.unlink()
    chosen.symlink_to(outside)


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


def run_damage(home: Path, *, quick: bool, seed: int, only: Sequence[str] = ()) -> dict[str, Ends]:
    """Every kind, by its name."""
    told = {}
    for name, (work, times) in KINDS.items():
        if only and not set(only) & set(name.split()):
            continue
        rng = np.random.default_rng(seed)
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
    parser.add_argument("--only", nargs="+", default=[], help="numbers or words of kinds")
    args = parser.parse_args()
    begin = monotonic()
    with tempfile.TemporaryDirectory(prefix="damage-") as home:
        told = run_damage(Path(home), quick=args.quick, seed=args.seed, only=args.only)
    result: dict[str, Any] = {
        "command": " ".join(["python benchmarks/damage.py", *sys.argv[1:]]),
        "seed": args.seed,
        "machine": f"{os.cpu_count()} CPU cores",
        "seconds": round(monotonic() - begin),
        "kinds": {name: asdict(ends) for name, ends in told.items()},
    }
    if not args.quick:
        if args.only and RESULT.is_file():  # the other kinds as they were measured last
            result["kinds"] = {**json.loads(RESULT.read_text())["kinds"], **result["kinds"]}
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
