"""`worldeval next`: a blinded schedule of real trials in random order, and their outcomes.

A schedule is a folder. `schedule.csv` has a row per trial: its number, a code in place of the
policy's name, task, start, and `success`, which the person at the robot fills in. `key.json` maps
codes to policies and should not be opened by the person who judges the trials. `schedule.html` is
a version to print, and `trials.csv` contains the outcomes by policy, for `worldeval rank --real`.
"""

import html
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd

from worldeval.errors import UserError
from worldeval.evaluate.value_zero import RunValues, measured_in, run_values
from worldeval.files import read_json, whole_file, write_json
from worldeval.runs.paths import IMAGINED
from worldeval.runs.summary import find_summary, read_summary
from worldeval.runs.tables import read_cells, read_outcomes, read_side, write_table
from worldeval.stats import adviser
from worldeval.stats.value_zero import ValueCheck, spread_order

SCHEDULE, KEY, TRIALS, PAGE = "schedule.csv", "key.json", "trials.csv", "schedule.html"
COLUMNS = ("trial", "code", "task", "start", "success")
ANSWERS = {"1": 1, "yes": 1, "y": 1, "true": 1, "0": 0, "no": 0, "n": 0, "false": 0}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A policy of the run with its predicted rate and its trials so far."""

    policy: str
    predicted: float
    successes: int = 0
    trials: int = 0
    waiting: int = 0  # open trials of the schedule


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of a schedule. `success` is None until it was run."""

    number: int
    code: str
    task: str
    start: str
    success: int | None = None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The conclusion from the trials so far, and the next trials."""

    candidates: tuple[Candidate, ...]
    chosen: str  # the policy to choose now
    confidence: float  # probability that it is within `regret` of the best
    regret: float
    enough: bool  # the requested confidence is reached
    phi: float  # number of trials that an imagined rate counted as
    validated: bool  # phi was measured; otherwise it is a cautious assumption
    schedule: tuple[Trial, ...]  # finished and open trials
    folder: Path
    by_value: bool = False  # trials are spread over easy and hard starts
    value_check: ValueCheck | None = None  # of V0, on policies left out; None: not fitted

    @property
    def open(self) -> int:
        """The number of trials in the schedule without an outcome."""
        return sum(trial.success is None for trial in self.schedule)


def advise(
    run: Path,
    folder: Path,
    *,
    trials: int,
    real: Path | None = None,
    regret: float = 0.05,
    confidence: float = 0.9,
    phi: float | None = None,
    by_value: bool = False,
    seed: int = 0,
) -> Advice:
    """Read the outcomes so far, and extend the schedule in `folder` until `trials` are open.

    Nothing is added once the chosen policy is within `regret` of the best with probability
    `confidence`. Call it again with the same folder to continue.

    Args:
        run: a finished `worldeval rank`.
        folder: of the schedule.
        real: further trials (policy, task, start, success) made outside the schedule.
        phi: trials that an imagined rate counts as; measured by the run where it can be.
        by_value: predict success from every start (V0), and spread each policy's trials over easy
            and hard starts, which leaves its rate unbiased and makes it vary less.

    Raises:
        UserError: the run ranks fewer than two policies, a number is out of range, or the schedule
            or the trials do not fit the run.
    """
    for name, value, fine, wanted in (
        ("--trials", trials, trials > 0, "above 0"),
        ("--regret", regret, 0 <= regret < 1, "at least 0 and below 1"),
        ("--confidence", confidence, 0 < confidence < 1, "between 0 and 1"),
        ("--phi", phi, phi is None or phi > 0, "above 0"),
    ):
        if not fine:
            raise UserError(f"{name} is {value}; it must be {wanted}.")
    ranking = read_summary(run).ranking
    rows = ranking.policies if ranking is not None else ()
    if ranking is None or len(rows) < 2:
        raise UserError(f"{run} ranks {len(rows)} policies, but at least two are needed.")
    measured = ranking.worth_quartile
    phi = phi or measured or adviser.UNVALIDATED
    starts = _starts(run)
    key, done = _read(folder, [row.policy for row in rows], starts, seed)
    names = {code: policy for policy, code in key.items()}
    won, tried = _counts(done, names, real, list(key))
    candidates = tuple(
        Candidate(
            policy=row.policy,
            predicted=_predicted(row.predictive.value if row.predictive else row.value),
            successes=won[row.policy],
            trials=tried[row.policy],
        )
        for row in rows
    )
    belief = _belief(candidates, phi)
    rng = np.random.default_rng([seed, len(done)])
    sure = adviser.regret_confidence(belief, regret=regret, rng=rng)
    waiting = sum(trial.success is None for trial in done)
    values = _values(run, done, names, real, seed) if by_value else None
    if sure < confidence and waiting < trials:
        plan = adviser.allocate(belief, trials - waiting)
        chosen = [candidates[k].policy for k in plan]
        orders = _orders(key, starts, values, seed)
        done = (*done, *_new_trials(chosen, key, orders, done, rng))
    opened = Counter(names[trial.code] for trial in done if trial.success is None)
    advice = Advice(
        candidates=tuple(replace(each, waiting=opened[each.policy]) for each in candidates),
        chosen=candidates[int(belief.chosen[0])].policy,
        confidence=sure,
        regret=regret,
        enough=sure >= confidence,
        phi=phi,
        validated=measured is not None,
        schedule=tuple(done),
        folder=folder,
        by_value=by_value,
        value_check=values.check if values is not None else None,
    )
    _write(advice, key)
    return advice


def answered(advice: Advice, number: int, success: bool) -> Advice:
    """Store the outcome of one trial in the schedule's files at once."""
    schedule = tuple(
        replace(trial, success=int(success)) if trial.number == number else trial
        for trial in advice.schedule
    )
    advice = replace(advice, schedule=schedule)
    _write(advice, read_json(advice.folder / KEY))
    return advice


def worth_knowing(run: Path) -> dict[str, float]:
    """Return how much is gained by knowing each policy of a run better, 0 to 1.

    Policies that are tied with another one have 1/2, and up to 1/2 more by the knowledge gradient
    of further trials (`stats/adviser.py`), relative to the largest; policies that are separated
    from all others have 0. Where nothing separates or ties them, all have 1.
    """
    summary = find_summary(run)
    ranking = summary.ranking if summary is not None else None
    rows = ranking.policies if ranking is not None else ()
    marks = Counter("".join(row.letters for row in rows))
    tied = [any(marks[letter] > 1 for letter in row.letters) for row in rows]
    if ranking is None or not any(tied):
        return {row.policy: 1.0 for row in rows}
    candidates = [
        Candidate(
            policy=row.policy,
            predicted=_predicted(row.predictive.value if row.predictive else row.value),
        )
        for row in rows
    ]
    belief = _belief(candidates, ranking.worth_quartile or adviser.UNVALIDATED)
    gain = adviser.knowledge_gradient(belief)[0]
    gain = gain / max(float(gain.max()), 1e-12)
    return {
        row.policy: (1 + float(own)) / 2 if is_tied else 0.0
        for row, own, is_tied in zip(rows, gain, tied, strict=True)
    }


def _predicted(value: float | None) -> float:
    return 0.5 if value is None else value


def _belief(candidates: Sequence[Candidate], phi: float) -> adviser.RateBelief:
    belief = adviser.begin(np.array([[each.predicted for each in candidates]]), phi)
    won = np.array([[float(each.successes) for each in candidates]])
    return belief.after(won, np.array([[float(each.trials) for each in candidates]]))


def _starts(run: Path) -> dict[str, list[str]]:
    """Task -> its starts, in the order of the run."""
    table = read_side(run, IMAGINED, needed=("policy", "task", "start"))
    return {
        str(task): list(dict.fromkeys(map(str, rows["start"])))
        for task, rows in table.groupby("task", sort=True)
    }


def _read(
    folder: Path, policies: Sequence[str], starts: Mapping[str, Sequence[str]], seed: int
) -> tuple[dict[str, str], tuple[Trial, ...]]:
    """Read the schedule: policy -> code, and its trials; policies without a code get one."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; a schedule needs a folder. Give another --out.")
    path, key_path = folder / SCHEDULE, folder / KEY
    key: dict[str, str] = {}
    if key_path.is_file():
        key = read_json(key_path)
        if not isinstance(key, dict) or not all(isinstance(code, str) for code in key.values()):
            raise UserError(f"{key_path} must contain a code for each policy. Give another --out.")
    elif path.is_file():
        raise UserError(
            f"{path} has no {KEY} beside it, so its codes cannot be mapped to policies. Restore "
            f"{KEY}, or give another --out."
        )
    if gone := [policy for policy in key if policy not in policies]:
        raise UserError(f"{key_path} names '{gone[0]}', which the run does not rank.")
    new = [policy for policy in policies if policy not in key]
    free = [code for code in _codes(len(policies)) if code not in key.values()]
    order = np.random.default_rng(seed).permutation(len(new))
    key |= {new[k]: code for k, code in zip(order, free, strict=False)}
    if not path.is_file():
        return key, ()
    cells = read_cells(path, needed=COLUMNS)
    done = []
    for line, row in enumerate(cells[list(COLUMNS)].itertuples(index=False), start=2):
        number, code, task, start, success = (str(cell).strip() for cell in row)
        if not number.isdigit():
            raise UserError(f"{path}, line {line}: trial '{number}' is not a number.")
        if code not in key.values() or start not in starts.get(task, ()):
            raise UserError(
                f"{path}, line {line}: code '{code}', task '{task}' and start '{start}' are not "
                "in this schedule. Change only the column `success`."
            )
        if success and success.lower() not in ANSWERS:
            raise UserError(
                f"{path}, line {line}: success is '{success}'; write 1 or 0, or leave it empty."
            )
        done.append(
            Trial(
                number=int(number),
                code=code,
                task=task,
                start=start,
                success=ANSWERS[success.lower()] if success else None,
            )
        )
    return key, tuple(done)


def _codes(count: int) -> list[str]:
    """A, B, ..., Z, AA, AB, ..."""
    letters = string.ascii_uppercase
    one = list(letters)
    return (
        (one + [a + b for a in letters for b in letters])[:count]
        if count <= 702
        else [f"P{n}" for n in range(count)]
    )


def _counts(
    done: Sequence[Trial], names: Mapping[str, str], real: Path | None, policies: Sequence[str]
) -> tuple[Counter[str], Counter[str]]:
    """Count successes and trials of each policy, in the schedule and in further trials."""
    won: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    for trial in done:
        if trial.success is not None:
            won[names[trial.code]] += trial.success
            tried[names[trial.code]] += 1
    if real is not None:
        outcomes = read_outcomes(real)
        if not outcomes.binary:
            raise UserError(
                f"{real} contains scores, but real trials need a column 'success' with 0 or 1."
            )
        for k, value in zip(outcomes.policy, outcomes.value, strict=True):
            policy = outcomes.policies[k]
            if policy not in policies:
                raise UserError(f"{real}: the policy '{policy}' is not ranked in this run.")
            won[policy] += int(value)
            tried[policy] += 1
    return won, tried


def _new_trials(
    plan: Sequence[str],
    key: Mapping[str, str],
    orders: Mapping[str, Mapping[str, Sequence[str]]],
    done: Sequence[Trial],
    rng: np.random.Generator,
) -> list[Trial]:
    """Create shuffled trials of the planned policies: tasks in turn, least used starts first.

    `orders` has each policy's starts by task, the first ones first among those used alike.
    """
    used = Counter((trial.code, trial.task, trial.start) for trial in done)
    on_task = Counter((trial.code, trial.task) for trial in done)
    chosen = []
    for policy in plan:
        code, starts = key[policy], orders[policy]
        task = min(starts, key=lambda name: on_task[code, name])
        start = min(starts[task], key=lambda name: used[code, task, name])
        used[code, task, start] += 1
        on_task[code, task] += 1
        chosen.append((code, task, start))
    first = 1 + max((trial.number for trial in done), default=0)
    return [
        Trial(number=first + place, code=chosen[k][0], task=chosen[k][1], start=chosen[k][2])
        for place, k in enumerate(rng.permutation(len(chosen)))
    ]


def _values(
    run: Path,
    done: Sequence[Trial],
    names: Mapping[str, str],
    real: Path | None,
    seed: int,
) -> RunValues:
    """Predict every trial from the imagined episodes and the outcomes so far."""
    imagined = read_side(run, IMAGINED, needed=("policy", "task", "start", "score"))
    rows = [
        (names[trial.code], trial.task, trial.start, trial.success)
        for trial in done
        if trial.success is not None
    ]
    measured = [*measured_in(run), pd.DataFrame(rows, columns=["policy", *COLUMNS[2:]])]
    if real is not None:
        found = read_outcomes(real)
        measured.append(
            pd.DataFrame(
                {
                    "policy": [found.policies[k] for k in found.policy],
                    "task": [found.tasks[t] for t in found.task],
                    "start": list(found.start),
                    "success": found.value,
                }
            )
        )
    lineage = {}
    if "lineage" in imagined:
        lineage = dict(zip(imagined["policy"], imagined["lineage"], strict=True))
    return run_values(run, imagined, measured, lineage, seed=seed)


def _orders(
    key: Mapping[str, str],
    starts: Mapping[str, Sequence[str]],
    values: RunValues | None,
    seed: int,
) -> dict[str, Mapping[str, Sequence[str]]]:
    """Policy -> task -> its starts, as they come or spread over easy and hard ones."""
    if values is None:
        return dict.fromkeys(key, starts)
    orders = {}
    for policy in key:
        own = {}
        for task, every in starts.items():
            shift = np.random.default_rng([seed, crc32(f"{policy} {task}".encode())]).random()
            order = spread_order(values.of(policy, task, every), float(shift))
            own[task] = [every[place] for place in order]
        orders[policy] = own
    return orders


def _write(advice: Advice, key: Mapping[str, str]) -> None:
    folder = advice.folder
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / KEY, dict(key))
    rows = [
        (
            str(t.number),
            t.code,
            t.task,
            t.start,
            "" if t.success is None else str(t.success),
        )
        for t in advice.schedule
    ]
    write_table(folder / SCHEDULE, pd.DataFrame(rows, columns=list(COLUMNS)), edited=True)
    names = {code: policy for policy, code in key.items()}
    filled = [t for t in advice.schedule if t.success is not None]
    write_table(
        folder / TRIALS,
        pd.DataFrame(
            [(names[t.code], t.task, t.start, t.number, t.success) for t in filled],
            columns=["policy", "task", "start", "seed", "success"],
        ),
    )
    with whole_file(folder / PAGE) as draft:
        draft.write_text(_page(advice))


def _page(advice: Advice) -> str:
    """Format the open trials as a page to print, with boxes to tick."""
    rows = "\n".join(
        f"<tr><td>{t.number}</td><td class=code>{html.escape(t.code)}</td>"
        f"<td>{html.escape(t.task)}</td><td>{html.escape(t.start)}</td>"
        "<td>&#9744; success &nbsp; &#9744; failure</td></tr>"
        for t in advice.schedule
        if t.success is None
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Trials to run</title><style>
body {{ font: 12pt sans-serif; margin: 2em; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ border: 1px solid #999; padding: .5em; text-align: left; }}
.code {{ font-weight: bold; }} tr {{ page-break-inside: avoid; }}
</style></head><body>
<h1>{advice.open} trials to run, in this order</h1>
<p>Set up the scene as in the given start, run the policy with the given code, tick the outcome, and
enter it in the column <code>success</code> of {SCHEDULE} (1 or 0).</p>
<table><tr><th>trial</th><th>policy</th><th>task</th><th>start</th><th>outcome</th></tr>
{rows}
</table></body></html>
"""
