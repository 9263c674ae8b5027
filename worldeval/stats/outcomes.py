"""Table of outcomes: one row per trial of a policy on a task from a start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from worldeval.axes import Array, Float, Int
from worldeval.errors import UserError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

REQUIRED = ("policy", "task", "start")
OPTIONAL = ("lineage", "step", "seed")
COLUMNS = "policy, task, start and success (0/1) or score (0-1); optional lineage, step, seed"
TRUTHS = {
    **dict.fromkeys(("true", "t", "yes", "y", "success", "succeeded", "pass", "passed"), 1.0),
    **dict.fromkeys(("false", "f", "no", "n", "failure", "failed", "fail"), 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Validated trials, stored as columns of equal length.

    A trial is `success` (0 or 1) or `score` (a probability or a graded result, 0 to 1). A start
    belongs to its task: start 3 of 'open' and start 3 of 'close' are two initial states.
    """

    policies: tuple[str, ...]  # in order of first appearance
    tasks: tuple[str, ...]
    policy: Int[Array, " n"]  # index into `policies`
    task: Int[Array, " n"]  # index into `tasks`
    start: tuple[str, ...]
    seed: tuple[str, ...]  # '' if none was given
    value: Float[Array, " n"]
    binary: bool  # from a `success` column
    lineage: Mapping[str, str] = field(default_factory=dict)  # policy -> training run
    step: Mapping[str, float] = field(default_factory=dict)  # policy -> training step

    def __len__(self) -> int:
        return len(self.value)

    def only(
        self, *, policies: Iterable[str] | None = None, tasks: Iterable[str] | None = None
    ) -> Outcomes:
        """Select the trials of some policies or tasks, in the order in which they are given."""
        policies = self.policies if policies is None else tuple(policies)
        tasks = self.tasks if tasks is None else tuple(tasks)
        _known(policies, self.policies, "policy")
        _known(tasks, self.tasks, "task")
        new_policy = _renumber(self.policies, policies)[self.policy]
        new_task = _renumber(self.tasks, tasks)[self.task]
        rows = np.flatnonzero((new_policy >= 0) & (new_task >= 0))
        return Outcomes(
            policies=policies,
            tasks=tasks,
            policy=new_policy[rows],
            task=new_task[rows],
            start=tuple(self.start[i] for i in rows),
            seed=tuple(self.seed[i] for i in rows),
            value=self.value[rows],
            binary=self.binary,
            lineage={p: self.lineage[p] for p in policies if p in self.lineage},
            step={p: self.step[p] for p in policies if p in self.step},
        )


def from_frame(
    table: pd.DataFrame,
    *,
    source: str = "table",
    lines: Sequence[int] = (),
    without_text: bool = False,
) -> Outcomes:
    """Read outcomes from a data frame.

    Args:
        table: columns policy, task, start, and success (0/1) or score (0-1); optional lineage,
            step, seed. Other columns are ignored.
        source: name of the table in error messages.
        lines: line number of each row in its file, for error messages; empty if there is no file.
        without_text: whether a task may be empty, as it is for recordings without an instruction.
    """

    def at(row: int) -> str:
        return f"{source}, line {lines[row]}" if lines else f"{source}, row {row}"

    columns = [str(c).strip() for c in table.columns]
    table = table.set_axis(columns, axis=1)
    for name in REQUIRED:
        if name not in columns:
            raise UserError(
                f"{source} has no column '{name}' (it has: {', '.join(columns)}). "
                f"Required columns: {COLUMNS}."
            )
    kinds = [name for name in ("success", "score") if name in columns]
    if len(kinds) != 1:
        found = "both 'success' and 'score'" if kinds else "neither 'success' nor 'score'"
        raise UserError(f"{source} has {found} (it has: {', '.join(columns)}). Keep exactly one.")
    if len(table) == 0:
        raise UserError(f"{source} has no rows. Add at least one trial of each policy.")

    text = {n: _strings(table, n) for n in (*REQUIRED, *OPTIONAL) if n in columns}
    for name in REQUIRED:
        for row, cell in enumerate(text[name]):
            if not cell and not (without_text and name == "task"):
                raise UserError(f"{at(row)}: '{name}' is empty. Fill it in, or remove the row.")
    value = _values(_strings(table, kinds[0]), kind=kinds[0], at=at)
    seed = text.get("seed", ("",) * len(table))

    seen: dict[tuple[str, ...], int] = {}
    for row, key in enumerate(zip(text["policy"], text["task"], text["start"], seed, strict=True)):
        if key in seen:
            policy, task, start, number = key
            which = f"seed '{number}'" if number else "no seed"
            raise UserError(
                f"{at(row)} repeats {at(seen[key])}: policy '{policy}', task '{task}', "
                f"start '{start}', {which}. Remove the duplicate. If it is another trial from the "
                "same start, add a 'seed' column (trials of one start count as one cluster)."
            )
        seen[key] = row

    policies, policy = _index(text["policy"])
    tasks, task = _index(text["task"])
    step = _per_policy(text["policy"], text.get("step"), "step", at)
    return Outcomes(
        policies=policies,
        tasks=tasks,
        policy=policy,
        task=task,
        start=text["start"],
        seed=seed,
        value=value,
        binary=kinds[0] == "success",
        lineage=_per_policy(text["policy"], text.get("lineage"), "lineage", at),
        step={name: _number(cell, name) for name, cell in step.items()},
    )


def _values(cells: tuple[str, ...], *, kind: str, at: Any) -> Float[Array, " n"]:
    value = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            word = cell.casefold()
            value[row] = TRUTHS[word] if word in TRUTHS else float(cell)
        except ValueError as error:
            words = "is empty. Fill it in, or remove the row." if not cell else "is not a number."
            raise UserError(f"{at(row)}: {kind} '{cell}' {words}") from error
        if kind == "success" and value[row] not in (0.0, 1.0):
            raise UserError(
                f"{at(row)}: success is {cell}; it must be 0 or 1. "
                "Rename the column to 'score' if it contains probabilities or graded results."
            )
        if not 0.0 <= value[row] <= 1.0:  # NaN fails too
            raise UserError(f"{at(row)}: score is {cell}; it must be between 0 and 1.")
    return value


def _strings(table: pd.DataFrame, column: str) -> tuple[str, ...]:
    cells = table.iloc[:, list(table.columns).index(column)].tolist()
    # A missing cell of a data frame is None or NaN, the only value that differs from itself.
    return tuple("" if c is None or c != c else str(c).strip() for c in cells)


def _index(names: tuple[str, ...]) -> tuple[tuple[str, ...], Int[Array, " n"]]:
    known = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return tuple(known), np.array([known[name] for name in names])


def _per_policy(
    policy: tuple[str, ...], cells: tuple[str, ...] | None, column: str, at: Any
) -> dict[str, str]:
    """Return the single value of a column for each policy, ignoring empty cells."""
    told: dict[str, str] = {}
    for row, (name, cell) in enumerate(zip(policy, cells or (), strict=bool(cells))):
        if cell and told.setdefault(name, cell) != cell:
            raise UserError(
                f"{at(row)}: policy '{name}' has {column} '{cell}', but '{told[name]}' above. "
                f"A policy has one {column}; give each checkpoint its own name."
            )
    return told


def _number(cell: str, policy: str) -> float:
    try:
        return float(cell)
    except ValueError as error:
        raise UserError(f"Policy '{policy}': step '{cell}' is not a number.") from error


def _known(asked: tuple[str, ...], known: tuple[str, ...], what: str) -> None:
    for name in asked:
        if name not in known:
            raise UserError(f"No {what} '{name}' in these outcomes.{did_you_mean(name, known)}")


def _renumber(old: tuple[str, ...], new: tuple[str, ...]) -> Int[Array, " k"]:
    place = {name: i for i, name in enumerate(new)}
    return np.array([place.get(name, -1) for name in old])
