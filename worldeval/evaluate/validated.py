"""An earlier run that was compared with measured outcomes, and the claims that it supports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from worldeval.errors import UserError, did_you_mean
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import TRUTH, RunPaths
from worldeval.runs.summary import Summary, find_summary
from worldeval.runs.tables import read_outcomes, read_side
from worldeval.stats import Finding

GATES = "actions_ignored", "false_success", "judge_uninformative", "untrusted_rollouts"
FAILED = (
    "no_better_than_chance",
    "too_few_to_tell",
    "correlation_undefined",
    *GATES,
)  # of the earlier run


@dataclass(frozen=True, kw_only=True)
class Validated:
    """An earlier comparison of the same world model and judge with measured outcomes."""

    where: str
    policies: int
    lineages: frozenset[str]
    tasks: frozenset[str]
    spearman: str  # value and interval, as text
    failed: tuple[Finding, ...]  # refusals of that comparison

    def findings(self) -> list[Finding]:
        """Return the findings about policies whose own success was not measured."""
        said = Finding(
            code="validated_elsewhere",
            severity="warning",
            text="The success of these policies was not measured in this run. "
            f"{self.where} compared {self.policies} policies with measured outcomes under the same "
            f"world model and judge: Spearman {self.spearman}.",
        )
        return [*self.failed, said]


def read_validated(
    folder: Path,
    *,
    world: str,
    judge: str,
    sampler_steps: int | None = None,
    settings: Mapping[str, int] | None = None,
) -> Validated:
    """Read the validation in a run folder.

    Args:
        folder: run folder of a `worldeval rank` with measured outcomes.
        world: fingerprint of the world model now in use.
        judge: fingerprint of the judge now in use.
        sampler_steps: sampler steps of the world model in this run; None for its default.
        settings: keys of this run's protocol that must be the same as in that run.

    Raises:
        UserError: the run has no summary or no measured outcomes, or used another world model,
            sampler, judge or settings.
    """
    summary = read_compared(folder, world=world, judge=judge)
    then = summary.world.sampler_steps if summary.world else None
    if then != sampler_steps:
        raise UserError(
            f"{folder} was imagined with --sampler-steps {then or 'not set'}, now "
            f"{sampler_steps or 'not set'}. Use the same number of steps as in that run."
        )
    earlier = read_recipe(folder) if settings and RunPaths(folder).recipe.is_file() else {}
    for key, now in (settings or {}).items():
        if (before := earlier.get(key, now)) != now:
            raise UserError(
                f"{folder} was imagined with {key} {before}, now {now}, so its comparison does not "
                f"apply here. Use --set {key}={before}, or a run with {key} {now}."
            )
    if summary.agreement is None or summary.agreement.spearman is None:
        raise UserError(
            f"{folder} was compared with measured outcomes for too few policies; at "
            "least 3 are needed."
        )
    table = read_side(folder, TRUTH, needed=("policy", "task"))
    rho = summary.agreement.spearman
    interval = f" [{rho.low:.2f}, {rho.high:.2f}]" if rho.has_interval else ""
    return Validated(
        where=str(folder),
        policies=len(set(table["policy"])),
        lineages=frozenset(table["lineage"]) - {""} if "lineage" in table else frozenset(),
        tasks=frozenset(table["task"]),
        spearman="undefined" if rho.value is None else f"{rho.value:.2f}{interval}",
        failed=tuple(
            Finding(code=found.code, severity=found.severity, text=f"In {folder}: {found.text}")
            for found in summary.refusals
            if found.code in FAILED
        ),
    )


def read_compared(folder: Path, world: str | None = None, judge: str | None = None) -> Summary:
    """Read the summary of a run with measured outcomes and this world model and judge.

    Raises:
        UserError: the run has no summary or no measured outcomes, or used another world model or
            judge.
    """
    summary = find_summary(folder)
    if summary is None:
        raise UserError(
            f"{folder} has no summary.json. Give the folder of a finished "
            "`worldeval rank ... --truth` (or --real)."
        )
    if not RunPaths(folder).outcomes(TRUTH).is_file():
        raise UserError(
            f"{folder} was not compared with measured outcomes. Rank it with --truth or --real."
        )
    for what, own, model in (("world", world, summary.world), ("judge", judge, summary.judge)):
        then = model.hash if model else None
        if own is not None and then != own:
            raise UserError(
                f"{folder} used another {what} ({then}; now {own}), so its comparison does not "
                "apply here. Give a run with the same world model and judge."
            )
    return summary


def real_trials(path: Path, cards: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Read real outcomes from a CSV (policy, task, start, success), with lineage and step of cards.

    Raises:
        UserError: the table is invalid, or names a policy or task that is not ranked here.
    """
    trials = read_outcomes(path)
    if not trials.binary:
        raise UserError(
            f"{path} contains scores, but real trials need a column 'success' with 0 or 1."
        )
    known = {"policy": list(cards["policy"]), "task": list(tasks)}
    for what, given in (("policy", trials.policies), ("task", trials.tasks)):
        for name in given:
            if name not in known[what]:
                hint = did_you_mean(name, known[what])
                raise UserError(f"{path}: the {what} '{name}' is not part of this ranking.{hint}")
    table = pd.DataFrame(
        {
            "policy": [trials.policies[k] for k in trials.policy],
            "task": [trials.tasks[t] for t in trials.task],
            "start": trials.start,
            "seed": trials.seed,
            "success": trials.value.astype(int),
        }
    )
    return table.merge(cards[["policy", "lineage", "step"]], on="policy")
