"""Kill everything that can be killed in a ranking run, go on, and compare with a run in peace.

    python benchmarks/faults.py [--json] [--quick] [--seed 0] [--only rankings ray ...]

Prints {kills, resumed_equal, lost, duplicated, hostile_messages, crashes}: how often something was
killed or broken, after how many of those the continued run gave the same verdicts bit for bit, how
many episodes were missing or counted twice then, and what hostile messages did to the servers.

A killed ranking is `worldeval rank` in a process of its own, forked after the imports, so that most
kills fall into work and not into the loading of libraries.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from toy_run import make_policy, make_run

from worldeval.data.video import read_frames
from worldeval.evaluate.truth import read_truth
from worldeval.files import write_json
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.store import RolloutStore

RESULT = Path(__file__).parent / "results" / "faults.json"
KINDS = (
    "rankings", "interrupts", "films", "truth", "records", "disk", "workers", "servers", "ray",
    "hostile",
)  # fmt: skip
SIMULATOR = f"{Path(__file__).parent / 'toy_code.py'}:Simulator"
TINY_DISK = 192  # KiB of the disk that fills up


@dataclass(kw_only=True)
class Tally:
    """What was broken, and what came of it."""

    kills: int = 0
    resumed_equal: int = 0
    lost: int = 0
    duplicated: int = 0
    hostile_messages: int = 0
    crashes: int = 0
    by_kind: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unequal: list[str] = field(default_factory=list)

    def add(self, kind: str, kills: int, reference: dict, run: Path) -> None:
        """Compare a run that was broken `kills` times with the one in peace."""
        found = Counter(fact.key for fact, _ in RolloutStore(RunPaths(run).imagined).verdicts())
        stored = verdicts(run)
        self.kills += kills
        self.by_kind[kind] = self.by_kind.get(kind, 0) + kills
        self.lost += len(reference.keys() - stored.keys())
        rows = Counter(line.rsplit(",", 4)[0] for line in table(run)[1:])
        self.duplicated += sum((found - Counter(stored.keys())).values())
        self.duplicated += sum(count - 1 for count in rows.values())
        if stored == reference and len(rows) == len(reference):
            self.resumed_equal += kills
        else:
            self.unequal.append(f"{kind}: {run}")


class Bench:
    """A toy evaluation, its verdicts in peace, and rankings of it that can be killed."""

    def __init__(self, home: Path, rng: np.random.Generator, *, starts: int = 12) -> None:
        self.home, self.rng = home, rng
        self.protocol = make_run(home / "toy", starts=starts)
        self.runs = 0
        self.peace = self.fresh()
        begin = monotonic()
        assert self.rank(self.peace) == 0
        self.seconds = monotonic() - begin
        self.reference = verdicts(self.peace)

    def fresh(self) -> Path:
        """A run folder that is not there yet."""
        self.runs += 1
        return self.home / f"run-{self.runs}"

    def rank(
        self,
        run: Path,
        *more: str,
        after: float | None = None,
        by: signal.Signals = signal.SIGKILL,
    ) -> int:
        """The exit status of `worldeval rank`, or minus the signal that ended it.

        With `after` it is sent the signal `by` after so many seconds.
        """
        return _end_of(self.begin(run, *more), after, by)

    def begin(self, run: Path, *more: str, jobs: int = 1) -> int:
        """The process of a ranking that has begun."""
        words = ["rank", str(self.protocol), "--out", str(run), "--films", "0"]
        child = os.fork()
        if child == 0:
            _become([*words, "--jobs", str(jobs), *more], self.home / "log.txt")
        return child

    def when(self) -> float:
        """A moment of a run, at random."""
        return float(self.rng.uniform(0.0, self.seconds))


def killed_rankings(bench: Bench, tally: Tally, kills: int) -> None:
    """SIGKILL at random moments, again and again, until the ranking is through."""
    done = 0
    while done < kills:
        run, here = bench.fresh(), 0
        while done + here < kills and bench.rank(run, after=bench.when()) == -signal.SIGKILL:
            here += 1
        status = bench.rank(run)
        assert status == 0, f"the continued run ended with {status}; see {bench.home}/log.txt"
        tally.add("ranking", here, bench.reference, run)
        done += here


def interrupted_rankings(bench: Bench, tally: Tally, times: int) -> None:
    """Ctrl-C: exit status 130, and the same command goes on."""
    for _ in range(times):
        run = bench.fresh()
        status = bench.rank(run, after=bench.when(), by=signal.SIGINT)
        assert status in (0, 130), f"an interrupted run ended with {status}"
        assert bench.rank(run) == 0
        tally.add("interrupt", 1, bench.reference, run)


def killed_films(bench: Bench, tally: Tally, kills: int) -> None:
    """SIGKILL while films, the summary and the tables of a finished imagination are written."""
    peace = Path(shutil.copytree(bench.peace, bench.fresh()))
    begin = monotonic()
    assert bench.rank(peace, "--films", "2") == 0
    seconds, reference = monotonic() - begin, summary(peace)
    for _ in range(kills):
        run = Path(shutil.copytree(bench.peace, bench.fresh()))
        for path in (RunPaths(run).summary, RunPaths(run).outcomes(IMAGINED)):
            path.unlink()
        bench.rank(run, "--films", "2", after=float(bench.rng.uniform(0.2, 1.0)) * seconds)
        assert bench.rank(run, "--films", "2") == 0
        for film in run.rglob("*.mp4"):
            read_frames(film, range(1))
        tally.add("films and summary", 1, bench.reference, run)
        if summary(run) != reference:
            tally.unequal.append(f"summary: {run}")
        shutil.rmtree(run)


def killed_truth(bench: Bench, tally: Tally, kills: int) -> None:
    """SIGKILL of a ranking with `--truth`: neither an imagined nor a simulated episode is lost."""
    peace = bench.fresh()
    begin = monotonic()
    assert bench.rank(peace, "--truth", SIMULATOR) in (0, 1)
    seconds, simulated = monotonic() - begin, read_truth(RunPaths(peace).truth)
    assert len(simulated)
    run = bench.fresh()
    for _ in range(kills):
        bench.rank(run, "--truth", SIMULATOR, after=float(bench.rng.uniform(0.1, 1.0)) * seconds)
    assert bench.rank(run, "--truth", SIMULATOR) in (0, 1)
    found = read_truth(RunPaths(run).truth)
    tally.add("ranking with --truth", kills, verdicts(peace), run)  # starts of the simulator
    tally.lost += len(simulated) - len(found)
    key = ["policy", "task", "start", "seed"]
    tally.duplicated += int(found.duplicated(key).sum())
    if not found.sort_values(key, ignore_index=True).equals(
        simulated.sort_values(key, ignore_index=True)
    ):
        tally.unequal.append(f"truth: {run}")


def truncated_records(bench: Bench, tally: Tally, times: int) -> None:
    """A file of the store cut short at a random place."""
    run = bench.fresh()
    assert bench.rank(run) == 0
    for _ in range(times):
        files = RolloutStore(RunPaths(run).imagined).files()
        chosen = files[int(bench.rng.integers(len(files)))]
        os.truncate(chosen, int(bench.rng.integers(chosen.stat().st_size)))
        assert bench.rank(run) == 0
        tally.add("truncated record", 1, bench.reference, run)


def full_disk(bench: Bench, tally: Tally) -> None:
    """The store on a disk with room for a part of it, which is then made larger."""
    disk = bench.home / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={TINY_DISK}k", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        tally.skipped["full disk"] = f"no disk can be mounted here: {mounted.stderr.strip()}"
        return
    try:
        run = disk / "run"
        status = bench.rank(run)
        assert status == 2, f"on a full disk the run ended with {status}, not 2"
        assert 0 < len(verdicts(run)) < len(bench.reference)
        larger = ["mount", "-o", "remount,size=64m", str(disk)]
        subprocess.run(larger, check=True, capture_output=True)
        assert bench.rank(run) == 0
        tally.add("full disk", 1, bench.reference, run)
    finally:
        subprocess.run(["umount", str(disk)], check=False, capture_output=True)


def killed_workers(bench: Bench, tally: Tally, kills: int) -> None:
    """Processes that imagine for a ranking, which goes on with others."""
    run, done = bench.fresh(), 0
    child, seen = bench.begin(run, jobs=2), 0
    while done < kills:
        sleep(0.05)
        ended, _ = os.waitpid(child, os.WNOHANG)
        if ended:
            tally.skipped["workers"] = f"the ranking was done after {done} kills"
            break
        files = len(RolloutStore(RunPaths(run).imagined).files())
        workers = _children(child)
        if files > seen and workers:
            seen = files
            os.kill(int(bench.rng.choice(workers)), signal.SIGKILL)
            done += 1
    else:
        assert _end_of(child) == 0
    tally.add("worker", done, bench.reference, run)


def ray_cluster(bench: Bench, tally: Tally, *, actors: int) -> None:
    """Two nodes of Ray, of which one is lost in the middle; actors are killed before."""
    try:
        import ray_faults
    except ImportError as error:
        tally.skipped["ray"] = f"Ray is not installed: {error}"
        return
    run = bench.fresh()
    broken = ray_faults.ranking_on_a_dying_cluster(bench.protocol, run, bench.rng, actors=actors)
    assert bench.rank(run) == 0  # nothing is missing: it is summed up
    tally.add("ray", broken, bench.reference, run)


def killed_servers(bench: Bench, tally: Tally, kills: int) -> None:
    """A policy behind `worldeval serve-policy`, whose server dies: no outcome is not a failure."""
    name = "served/step-1"
    make_policy(bench.home / "toy/policies" / name, name)
    ref = str(bench.home / "toy/policies" / name)
    peace = bench.fresh()
    with serving(ref, bench.home) as (address, _):
        assert bench.rank(peace, "--policies", address) == 0
    reference = verdicts(peace)
    for _ in range(kills):
        run = bench.fresh()
        with serving(ref, bench.home) as (address, server):
            child = bench.begin(run, "--policies", f"{address}?wait=1.0&timeout=5.0")
            sleep(bench.when())
            server.kill()
            status = _end_of(child)
        assert status in (0, 1, 2), f"with its server gone the ranking ended with {status}"
        with serving(ref, bench.home) as (address, _):
            assert bench.rank(run, "--policies", address) == 0
        tally.add("policy server", 1, reference, run)


@contextmanager
def serving(ref: str, home: Path):
    """(address, process) of a policy server that is up."""
    port = 18_100 + os.getpid() % 800
    words = [sys.executable, "-m", "worldeval", "serve-policy", ref, "--port", str(port)]
    with (home / "server.txt").open("a") as out:
        server = subprocess.Popen(words, stdout=out, stderr=out)
    try:
        _wait_for_port(port, server)
        yield f"ws://localhost:{port}", server
    finally:
        server.kill()
        server.wait()


def hostile(tally: Tally, *, quick: bool) -> None:
    """Messages that servers must survive."""
    try:
        from hostile import run_hostile
    except ImportError as error:
        tally.skipped["hostile messages"] = f"the benchmark of the servers is not here: {error}"
        return
    found = run_hostile(quick)
    tally.hostile_messages, tally.crashes = found["hostile_messages"], found["crashes"]


def verdicts(run: Path) -> dict:
    """(policy, start, seed) -> everything that was said of it."""
    return {
        fact.key: (verdict.probability, verdict.step, verdict.votes)
        for fact, verdict in RolloutStore(RunPaths(run).imagined).verdicts()
    }


def summary(run: Path) -> dict:
    """A run's numbers, without its times."""
    found = json.loads(RunPaths(run).summary.read_text())
    return {key: value for key, value in found.items() if key in ("policies", "pairs", "groups")}


def table(run: Path) -> list[str]:
    """The lines of a run's outcomes."""
    return RunPaths(run).outcomes(IMAGINED).read_text().splitlines()


def run_faults(
    home: Path, *, quick: bool, seed: int, only: Sequence[str], say: Callable[[str], None]
) -> Tally:
    """Everything, or the kinds in `only`, in `home`."""
    tally, bench = Tally(), Bench(home, np.random.default_rng(seed))
    say(f"a ranking in peace takes {bench.seconds:.1f} s here")
    works = {
        "rankings": lambda: killed_rankings(bench, tally, 4 if quick else 20),
        "interrupts": lambda: interrupted_rankings(bench, tally, 1 if quick else 3),
        "films": lambda: killed_films(bench, tally, 2 if quick else 12),
        "truth": lambda: killed_truth(bench, tally, 1 if quick else 4),
        "records": lambda: truncated_records(bench, tally, 1 if quick else 5),
        "disk": lambda: full_disk(bench, tally),
        "workers": lambda: killed_workers(bench, tally, 1 if quick else 3),
        "servers": lambda: killed_servers(bench, tally, 1 if quick else 2),
        "ray": lambda: ray_cluster(bench, tally, actors=0 if quick else 2),
        "hostile": lambda: hostile(tally, quick=quick),
    }
    for name in KINDS:
        if not only or name in only:
            works[name]()
            say(f"{name}: {tally.resumed_equal} of {tally.kills} kills came to the same verdicts")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--quick", action="store_true", help="a few kills of every kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=[], help="some kinds")
    args = parser.parse_args()
    begin = monotonic()
    # Ray tells of every death on stdout, which is for the result.
    with tempfile.TemporaryDirectory(prefix="faults-") as home, redirect_stdout(sys.stderr):
        tally = run_faults(
            Path(home),
            quick=args.quick,
            seed=args.seed,
            only=args.only,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )
    result = {
        "command": " ".join(["python benchmarks/faults.py", *sys.argv[1:]]),
        "seed": args.seed,
        "machine": f"{os.cpu_count()} CPU cores",
        "seconds": round(monotonic() - begin),
        **asdict(tally),
    }
    if not args.quick and not args.only:
        write_json(RESULT, result)
    if args.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    whole = (
        not tally.unequal
        and tally.resumed_equal == tally.kills
        and tally.lost == tally.duplicated == 0
    )
    raise SystemExit(0 if whole and tally.crashes == 0 else 1)


def _become(words: list[str], log: Path) -> None:
    """Be `worldeval WORDS` from here on; never returns."""
    status = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = ["worldeval", *words]
        from worldeval.cli import main as command

        command()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:  # before the command line was there to catch it
        status = 130
    finally:
        sys.stdout.flush()
        os._exit(status)


def _end_of(child: int, after: float | None = None, by: signal.Signals = signal.SIGKILL) -> int:
    """A child's exit status, or minus the signal that ended it; `by` is sent after so long."""
    if after is not None:
        deadline = monotonic() + after
        while monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            sleep(0.002)
        os.kill(child, by)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _children(parent: int) -> list[int]:
    """Processes that `parent` began to imagine with."""
    found = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(parent)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line.split(maxsplit=1) for line in found.stdout.splitlines()]
    return [int(pid) for pid, args in lines if "spawn_main" in args]


def _wait_for_port(port: int, server: subprocess.Popen) -> None:
    import socket

    deadline = monotonic() + 180
    while monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server ended with {server.returncode}")
        try:
            with socket.create_connection(("localhost", port), timeout=1.0):
                return
        except OSError:
            sleep(0.2)
    raise RuntimeError("the server is not up after three minutes")


if __name__ == "__main__":
    main()
