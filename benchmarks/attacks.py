"""Each kind of attack through the command line, as a user or a stranger's file would make it.

    python benchmarks/attacks.py [--json]

Every command runs in a process of its own and must end well or in one line of error with status 1
or 2 (never in a traceback), within 30 seconds on an idle machine; no output may hold a canary. The
numbers are those of the table in benchmarks/RESULTS.md.
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from urllib.parse import quote

import h5py
import numpy as np
from toy_run import make_run
from typer.testing import CliRunner

from worldeval.cli import app
from worldeval.cli import main as worldeval_command
from worldeval.files import write_json
from worldeval.runs.paths import FACTS, MANIFEST, STARTS, SUMMARY, RunPaths
from worldeval.runs.store import RolloutStore

RESULT = Path(__file__).parent / "results" / "attacks.json"
CODE = Path(__file__).parent / "toy_code.py"
CANARY = "canary-7f3a"
LIMIT = 300  # seconds after which a process is ended, many times what an idle machine needs


@dataclass(kw_only=True)
class Kind:
    """How the attacks of one kind ended."""

    tried: int = 0
    well: int = 0
    one_line: int = 0
    slowest_s: float = 0.0
    wrong: list[str] = field(default_factory=list)  # tracebacks, hangs, leaks, other verdicts


class Attacks:
    """A toy evaluation that has been ranked, and commands that are tried on copies of it."""

    def __init__(self, home: Path) -> None:
        self.home, self.kinds, self._count = home, dict[str, Kind](), 0
        self.protocol = make_run(home / "toy", policies=("a/step-1", "b/step-1"), starts=4)
        self.run = home / "run"
        # In this process, so that the others are forked after the imports.
        done = CliRunner().invoke(app, self.ranking(self.run))
        assert done.exit_code == 0, done.output
        self.verdicts = verdicts(self.run)

    def ranking(self, run: Path, *more: str) -> list[str]:
        """The words of a ranking into `run`."""
        return [
            "rank", str(self.protocol), "--out", str(run), "--films", "0", "--jobs", "1", *more
        ]  # fmt: skip

    def copy(self) -> Path:
        """A copy of the finished run."""
        self._count += 1
        return Path(shutil.copytree(self.run, self.home / f"copy-{self._count}"))

    def fresh(self) -> Path:
        """A folder that is not there yet."""
        self._count += 1
        return self.home / f"fresh-{self._count}"

    def attempt(
        self,
        kind: str,
        name: str,
        words: Sequence[str],
        *,
        ends: Sequence[int] = (0, 1, 2),
        **env: str,
    ) -> int:
        """Run a command and note how it ended; `ends` are the statuses that are right."""
        found, begin = self.kinds.setdefault(kind, Kind()), monotonic()
        status, said = command(words, self.home, **env)
        found.tried += 1
        found.slowest_s = round(max(found.slowest_s, monotonic() - begin), 1)
        for wrong, why in (
            (status not in ends, f"status {status}"),
            ("Traceback (most recent" in said, "traceback"),
            (CANARY in said, "canary"),
        ):
            if wrong:
                found.wrong.append(f"{name}: {why}: {said.strip()[-200:]}")
                return status
        found.well += status == 0
        found.one_line += status != 0
        return status

    def same(self, kind: str, name: str, run: Path, names: Sequence[str] = ("a/step-1",)) -> None:
        """The policies' verdicts are those in peace."""
        now = verdicts(run)
        for key, value in self.verdicts.items():
            if key[0] in names and now.get(key) != value:
                self.kinds[kind].wrong.append(f"{name}: other verdicts")
                return


def command(words: Sequence[str], home: Path, **env: str) -> tuple[int, str]:
    """Exit status and output of `worldeval WORDS` in a process of its own."""
    log = home / "log.txt"
    child = os.fork()
    if child == 0:
        _become(words, log, env)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status, log.read_text(errors="replace")


def _become(words: Sequence[str], log: Path, env: dict[str, str]) -> None:
    signal.alarm(LIMIT)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(env)
    status = 70
    try:
        sys.argv = ["worldeval", *words]
        worldeval_command()
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def verdicts(run: Path) -> dict[tuple, tuple]:
    """(policy, start, seed) -> what was said of it."""
    return {
        fact.key: (verdict.probability, verdict.step, verdict.votes)
        for fact, verdict in RolloutStore(RunPaths(run).imagined).verdicts()
    }


def shared_arrays(at: Attacks) -> None:
    """1: a policy that rewrites its observation is judged as one that does not."""
    ref = at.home / "toy/policies/a/step-1"
    run = at.fresh()
    both = [f"{CODE}:Wrapped?ref={ref}&name={n}&spoils={s}" for n, s in (("x", 0), ("y", 1))]
    words = [word for each in both for word in ("--policies", each)]
    at.attempt("1", "spoils", at.ranking(run, *words), ends=(0,))
    found: dict[str, dict] = {"x": {}, "y": {}}
    for (name, *key), value in verdicts(run).items():
        if name in found:
            found[name][tuple(key)] = value
    if not found["x"] or found["x"] != found["y"]:
        at.kinds["1"].wrong.append("other verdicts of a policy that rewrites its observation")


def names_like_numbers(at: Attacks) -> None:
    """3 and 13: names that look like numbers or formulas stay names, in every table."""
    ref, run = at.home / "toy/policies/a/step-1", at.fresh()
    names = ("010000", "NA", "1e5", "None", "true", "=1+1")
    words = [
        word
        for name in names
        for word in ("--policies", f"{CODE}:Wrapped?ref={ref}&name={quote(name)}")
    ]
    at.attempt("3", "names", at.ranking(run, *words), ends=(0,))
    at.attempt("3", "report", ["report", str(run)], ends=(0,))
    missing = set(names) - {key[0] for key in verdicts(run)}
    if missing:
        at.kinds["3"].wrong.append(f"missing: {missing}")
    at.kinds["13"] = Kind(tried=1, well=1)
    for table in run.rglob("*.csv"):
        if any(cell.lstrip('"').startswith("=") for cell in table.read_text().split(",")):
            at.kinds["13"].wrong.append(f"a formula in {table.name}")


def not_finite(at: Attacks) -> None:
    """5: starts, and actions, that are no numbers."""
    kept = (at.home / "toy/starts.h5").read_bytes()
    for value in (np.nan, np.inf):
        with h5py.File(at.home / "toy/starts.h5", "r+") as file:
            pose = np.array(file["pose"])  # pyright: ignore[reportArgumentType]
            pose[1, 0] = value
            del file["pose"]
            file["pose"] = pose
        at.attempt("5", f"start {value}", at.ranking(at.fresh()), ends=(2,))
        (at.home / "toy/starts.h5").write_bytes(kept)
    run = at.fresh()
    at.attempt("5", "actions", at.ranking(run, "--policies", f"{CODE}:NotFinite"), ends=(0, 1))
    if not all(np.isfinite(value[0]) for value in verdicts(run).values()):
        at.kinds["5"].wrong.append("verdicts that are not finite")


def flipped_bits(at: Attacks) -> None:
    """6: a bit of a stored batch, and of weights."""
    rng = np.random.default_rng(0)
    for _ in range(6):
        run = at.copy()
        files = RolloutStore(RunPaths(run).imagined).files()
        _flip(files[int(rng.integers(len(files)))], rng)
        at.attempt("6", "batch", at.ranking(run), ends=(0,))
        at.same("6", "batch", run, ("a/step-1", "b/step-1"))
    for part in ("world", "judge", "policies/a/step-1"):
        path = next((at.home / "toy" / part).glob("*.safetensors"))
        kept = path.read_bytes()
        _flip(path, rng, after=len(kept) // 2)
        at.attempt("6", f"weights of {part}", at.ranking(at.fresh()), ends=(1, 2))
        path.write_bytes(kept)


def unruly_policies(at: Attacks) -> None:
    """7 and 8: policies that hang, exit, are killed or interrupt, beside one that is well."""
    for kind, name in (("7", "Hangs"), ("8", "Exits"), ("8", "Leaves"), ("8", "Killed"),
                       ("8", "Interrupts")):  # fmt: skip
        run = at.fresh()
        words = ["--policies", str(at.home / "toy/policies/a/step-1")]
        words += ["--policies", f"tests.policy.unruly:{name}?name={name}", "--policy-timeout", "5"]
        at.attempt(kind, name, at.ranking(run, *words), ends=(1,))
        at.same(kind, name, run)


def one_line(at: Attacks) -> None:
    """15: broken files of a run, and impossible options."""
    broken = (
        b"", b"\xff\xfe", b"[" * 100_000, b"[]", b'{"policies": 3}',
    )  # fmt: skip
    for name in (FACTS, MANIFEST, SUMMARY):
        for number, content in enumerate(broken):
            run = at.copy()
            path = next(iter(run.rglob(name)), run / name)
            path.write_bytes(content)
            for verb in (["report", str(run)], ["merge", str(run), str(at.run), "--out",
                         str(at.fresh())]):  # fmt: skip
                at.attempt("15", f"{verb[0]} {name} {number}", verb)
    for part, card in (("world", "world.json"), ("judge", "judge.json")):
        path = at.home / "toy" / part / card
        kept = path.read_bytes()
        for number, content in enumerate(broken):
            path.write_bytes(content)
            at.attempt("15", f"{card} {number}", at.ranking(at.fresh()), ends=(1, 2))
        path.write_bytes(kept)
    (at.home / "file").write_text("x")
    for words in (
        ["--seed", "-1"], ["--set", "starts=0"], ["--set", "batch=0"], ["--set", "tasks=[]"],
        ["--set", "horizon=0"], ["--set", "policies=[]"], ["--set", "starts_file=/dev/null"],
        ["--set", f"world={at.home}/file"], ["--set", "world=a\udc80b"],
        ["--set", "x=" + "y" * 5000],
    ):  # fmt: skip
        at.attempt("15", " ".join(words)[:60], at.ranking(at.fresh(), *words), ends=(1, 2))
    for out in (f"{at.home}/file/below", "/proc/nowhere", "/dev/null", "x" * 5000):
        at.attempt("15", f"--out {out[-20:]}", at.ranking(Path(out)), ends=(1, 2))


def ways_out_of_runs(at: Attacks) -> None:
    """11 and 12: a copied run that leads to files outside, or names a server."""
    (at.home / "secret.json").write_text(json.dumps({"title": CANARY}))
    with h5py.File(at.home / "secret.h5", "w") as file:
        file["id"] = [CANARY] * 8
    for name in (FACTS, MANIFEST, SUMMARY):
        run = at.copy()
        path = next(iter(run.rglob(name)), run / name)
        path.unlink(missing_ok=True)
        path.symlink_to(at.home / "secret.json")
        at.attempt("11", f"link {name}", ["report", str(run)])
    run = at.copy()
    starts = next(iter(run.rglob(STARTS)), None)
    if starts is not None:
        with h5py.File(starts, "r+") as file:
            del file["id"]
            file["id"] = h5py.ExternalLink(str(at.home / "secret.h5"), "/id")
        at.attempt("11", "starts", at.ranking(run), ends=(0, 1, 2))
        at.attempt("11", "starts, report", ["report", str(run)])


def _flip(path: Path, rng: np.random.Generator, *, after: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[int(rng.integers(after, len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)


WORKS: tuple[Callable[[Attacks], None], ...] = (
    one_line, ways_out_of_runs, flipped_bits, not_finite, shared_arrays, unruly_policies,
    names_like_numbers,
)  # fmt: skip


def run_attacks(home: Path) -> Iterator[tuple[str, dict[str, Kind]]]:
    """What is known after every group of attacks."""
    at = Attacks(home)
    for work in WORKS:
        work(at)
        yield work.__name__, at.kinds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    args = parser.parse_args()
    begin = monotonic()
    result: dict[str, object] = {}
    kinds: dict[str, Kind] = {}
    with tempfile.TemporaryDirectory(prefix="attacks-") as home:
        for name, kinds in run_attacks(Path(home)):
            print(f"{name}: {kinds}", file=sys.stderr, flush=True)
            result = {
                "command": " ".join(["python benchmarks/attacks.py", *sys.argv[1:]]),
                "machine": f"{os.cpu_count()} CPU cores",
                "seconds": round(monotonic() - begin),
                "kinds": {number: asdict(kind) for number, kind in sorted(kinds.items())},
            }
            write_json(RESULT, result)
    print(json.dumps(result, indent=None if args.json else 2))
    raise SystemExit(any(kind.wrong for kind in kinds.values()))


if __name__ == "__main__":
    main()
