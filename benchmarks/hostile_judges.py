# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false
"""Judges on hostile servers: does any of them crash a ranking, or become a success?

    python benchmarks/hostile_judges.py [--json] [--only vlm|ws]

The episodes of a toy run are judged again by the command itself, once for each server in
`hostile_chat.py` (`vlm:`) and in `hostile_sockets.py` (`ws://`). A server answers one half of the
episodes properly, with "no", and treats the other half as its name says; liars answer all of them
with "yes". A row says what came of it: the exit status, verdicts, episodes without one and why, and
successes. A crash is an exit status other than 0 and 2, or a traceback; a hang takes over a minute.
"""

import argparse
import io
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hostile_chat
import hostile_sockets
import pandas as pd
from toy_run import make_run

import worldeval as we
from worldeval.cli import main as command
from worldeval.files import write_json
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.summary import read_summary
from worldeval.runs.tables import read_side

RESULT = Path(__file__).parent / "results" / "hostile_judges.json"
LONG = 60.0  # seconds that count as a hang
Serve = Callable[[str], AbstractContextManager[str]]  # a case -> its server's address


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of judge, and what its servers do."""

    prefix: str
    options: str
    serve: Serve
    cases: tuple[str, ...]
    liars: tuple[str, ...]


KINDS = {
    "vlm": Kind(
        prefix="vlm:",
        options="model=toy&frames=2&samples=2&retries=1&timeout=2&concurrency=4",
        serve=hostile_chat.chat_server,
        cases=tuple(hostile_chat.CHAT),
        liars=tuple(hostile_chat.LIARS),
    ),
    "ws": Kind(
        prefix="",
        options="timeout=1&wait=1",
        serve=hostile_sockets.judge_server,
        cases=hostile_sockets.SOCKET,
        liars=tuple(hostile_sockets.LIARS),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one hostile server."""

    judge: str  # vlm or ws
    case: str
    outcome: str  # refused, abstained, judged (hostile answers were "no" too), not a ranking
    status: int
    verdicts: int
    without: int  # episodes without a verdict
    successes: int
    said: str  # the error, or why there is no verdict
    seconds: float


def ask(kind: str, case: str, run: Path, out: Path) -> Row:
    """Judge the run again by one server."""
    how = KINDS[kind]
    begin = time.monotonic()
    with how.serve(case) as address:
        ref = f"{how.prefix}{address}?{how.options}"
        status, heard = told("judge", "again", str(run), "--judge", ref, "--out", str(out))
    seconds = time.monotonic() - begin
    scores, codes = pd.Series(dtype=float), list[str]()
    if status == 0:
        scores = read_side(out, IMAGINED, needed=("score",))["score"]
        codes = [each.code for each in read_summary(out).refusals]
    reasons = without(out)
    outcome = "abstained" if reasons else "judged"
    if status:
        outcome = "refused" if status == 2 else "crashed"
    elif "judge_constant" in codes:
        outcome = "not a ranking"
    if "Traceback (most" in heard and "bug in worldeval" in heard:
        outcome = "crashed"
    said = reasons.most_common(1)[0][0] if status == 0 and reasons else heard.strip()
    return Row(
        judge=kind,
        case=case,
        outcome=outcome,
        status=status,
        verdicts=len(scores),
        without=sum(reasons.values()) if status == 0 else 0,
        successes=int((scores > 0.5).sum()),
        said="judge_constant"
        if outcome == "not a ranking"
        else _plain(said)
        if status or reasons
        else "",
        seconds=round(seconds, 1),
    )


def told(*words: str) -> tuple[int, str]:
    """Run the command in this process; returns its exit status and what it says on stderr."""
    heard, quiet = io.StringIO(), io.StringIO()
    argv = patch.object(sys, "argv", ["worldeval", *words])
    with argv, redirect_stdout(quiet), redirect_stderr(heard):
        try:
            command()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(end.code is not None)
            return status, heard.getvalue()
    return 0, heard.getvalue()


def without(out: Path) -> Counter[str]:
    """Count the reasons why episodes have no verdict."""
    path = RunPaths(out).errors
    lines = path.read_text().splitlines() if path.is_file() else []
    said = Counter[str]()
    for line in map(json.loads, lines):
        said[line["error"].removeprefix("the judge abstains: ")] += len(line["starts"])
    return said


def _plain(text: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    for word in line.split():  # a port is another one each time
        if "127.0.0.1:" in word or "localhost:" in word:
            line = line.replace(word, "URL")
    return line[:160]


def run_all(kinds: list[str]) -> dict[str, Any]:
    """Ask every server once."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        protocol = make_run(folder / "toy", policies=("a/step-1", "b/step-1"), starts=3)
        run = folder / "run"
        we.rank(protocol=str(protocol), out=run, films=0, jobs=1, progress=False)
        for kind in kinds:
            for case in (*KINDS[kind].cases, *KINDS[kind].liars):
                rows.append(ask(kind, case, run, folder / f"out-{len(rows)}"))
                print(json.dumps(asdict(rows[-1])), file=sys.stderr)
    liars = {liar for kind in kinds for liar in KINDS[kind].liars}
    honest = [row for row in rows if row.case not in liars]
    return {
        "cases": len(rows),
        "crashes": sum(row.outcome == "crashed" for row in rows),
        "hangs": sum(row.seconds > LONG for row in rows),
        "successes": sum(row.successes for row in honest),
        "liars_ranked": sum(row.outcome != "not a ranking" for row in rows if row.case in liars),
        "outcomes": dict(Counter(row.outcome for row in rows)),
        "slowest_s": max(row.seconds for row in rows),
        "rows": [asdict(row) for row in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=list(KINDS))
    options = parser.parse_args()
    begin = time.monotonic()
    result: dict[str, Any] = {
        "command": " ".join(["python benchmarks/hostile_judges.py", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} CPU cores",
        **run_all([options.only] if options.only else list(KINDS)),
        "seconds": round(time.monotonic() - begin),
    }
    if not options.only:
        write_json(RESULT, result)
    if options.json:
        print(json.dumps(result))
        return
    for row in result["rows"]:
        print(f"{row['judge']:4} {row['outcome']:14} {row['case']}: {row['said']}")
    print({key: value for key, value in result.items() if key != "rows"})


if __name__ == "__main__":
    main()
