"""The contents of a report, read from a run folder. Missing parts are empty, not an error."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from worldeval.errors import UserError
from worldeval.report.compared import Compared, compared_with
from worldeval.report.gates import Gate, read_gates
from worldeval.report.hashes import Fingerprint, fingerprints
from worldeval.report.pairs import Pairs, pairs
from worldeval.report.table import PolicyRow, TaskRow, ranked_rows, task_rows
from worldeval.runs.films import Filmstrip, read_filmstrips
from worldeval.runs.origin import RunFacts, read_facts, recipe_text
from worldeval.runs.paths import IMAGINED, OUTCOMES, SUMMARY, TRUTH, RunPaths
from worldeval.runs.summary import (
    AgreementSummary,
    Measures,
    ModelSummary,
    RankingSummary,
    Summary,
    find_summary,
    ranking_summary,
)
from worldeval.runs.tables import find_outcomes
from worldeval.stats import Comparison, Estimate, Finding, rank

# The agreement that a perfect evaluator reaches, given the noise (`stats.ceiling`).
BINARY = "Perfect binary evaluator, same number of starts"
GRADED = "Perfect graded evaluator"


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """A row of the agreement table: an evaluator, and how well it agrees with the measurement."""

    name: str
    measures: Mapping[str, Estimate]
    kind: str  # 'imagination', 'ceiling', 'graded ceiling' or 'baseline'


@dataclass(frozen=True, kw_only=True)
class Group:
    """The agreement table of a subset of the policies."""

    name: str
    policies: int | None
    evaluators: tuple[Evaluator, ...]


@dataclass(frozen=True, kw_only=True)
class ReportContents:
    """Everything that the templates and the viewer show of a ranking run."""

    name: str
    folder: Path
    level: float  # of every interval
    rows: tuple[PolicyRow, ...]  # best first
    duels: tuple[Comparison, ...]  # every pair, compared from the same starts
    tasks: tuple[TaskRow, ...]
    evaluators: tuple[Evaluator, ...]
    groups: tuple[Group, ...]  # kinds of lineages: those that action error ranks well, and not
    margin: float | None  # real gap from which a pair counts for 'pairs in order'
    further: Mapping[str, Estimate]  # within_task_spearman and other single measures
    gates: tuple[Gate, ...]
    findings: tuple[Finding, ...]
    pairs: Pairs | None
    strips: tuple[Filmstrip, ...]
    episodes: int | None  # imagined
    seconds: Mapping[str, float]
    seconds_per_episode: float | None
    world: Mapping[str, str]  # what the world model was
    hashes: tuple[Fingerprint, ...]  # of all that it was made from
    compared: Compared  # what predictions are compared with, in words
    facts: RunFacts  # how it was made
    recipe: str  # as YAML

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that withhold a claim."""
        return refusals(self.findings)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that ask for care."""
        return warnings(self.findings)

    @property
    def has_truth(self) -> bool:
        """Whether any outcome was measured, for comparison with the predictions."""
        return any(row.truth is not None for row in self.rows)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures of agreement that at least one evaluator has, in the order of a report."""
        return tuple(
            name for name in MEASURES if any(name in each.measures for each in self.evaluators)
        )


# Name in the summary -> heading; the first four are for all evaluators.
MEASURES = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "mmrv": "MMRV",
    "pairwise_accuracy": "Pairs ordered correctly",
    "top1_regret": "Top-1 regret",
}
FURTHER = {
    "within_task_spearman": "Spearman within a task, mean",
    "midrange_spearman": "Spearman, policies that neither always fail nor always succeed",
    "cell_mae": "Mean error of a policy's rate on a task",
    "bias": "Optimism: mean predicted minus measured rate",
}


def read_contents(folder: Path, *, rng: np.random.Generator) -> ReportContents:
    """Read a run folder.

    The ranking comes from the summary if it has one, otherwise from the imagined outcomes.

    Args:
        rng: of the draws behind P(best), where the ranking is computed.

    Raises:
        UserError: the run does not exist, has no result yet, or has a damaged file.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no run folder {folder}. Create it with: worldeval rank ... --out {folder}"
        )
    imagined, truth = find_outcomes(folder, IMAGINED), find_outcomes(folder, TRUTH)
    summary = find_summary(folder) or Summary()
    ranking = summary.ranking
    if ranking is None and imagined is None:
        raise UserError(
            f"{folder} contains neither {SUMMARY} with a ranking nor {OUTCOMES[IMAGINED]}: nothing "
            "was ranked in it yet. Run `worldeval rank ... --out` with this folder first; it "
            "continues where it was interrupted."
        )
    if imagined is not None and (ranking is None or not ranking.policies):
        made = rank(imagined, rng=rng, validated=truth is not None)
        ranking = ranking_summary(made.to_json())
    return ReportContents(
        name=folder.resolve().name,
        folder=folder,
        level=ranking.level if ranking else 0.95,
        rows=ranked_rows(ranking, truth, summary.validation_mse),
        duels=ranking.comparisons if ranking else (),
        tasks=task_rows(ranking, imagined, truth),
        evaluators=_evaluators(summary.agreement, summary.baselines),
        groups=_groups(summary.groups),
        margin=summary.agreement_details.margin if summary.agreement_details else None,
        further=_further(summary),
        gates=read_gates(summary.gates),
        findings=_findings(summary, ranking),
        pairs=pairs(imagined, truth) if imagined and truth else None,
        strips=tuple(read_filmstrips(RunPaths(folder).films)),
        episodes=len(imagined) if summary.episodes is None and imagined else summary.episodes,
        seconds=summary.seconds,
        seconds_per_episode=summary.imagined_seconds_per_episode,
        world=_texts(summary.world),
        hashes=fingerprints(RunPaths(folder), summary),
        compared=compared_with(RunPaths(folder), summary),
        facts=read_facts(folder),
        recipe=recipe_text(folder),
    )


def read_findings(folder: Path, *, rng: np.random.Generator) -> tuple[Finding, ...]:
    """Return the caveats of a run's result; episodes are read only if the summary lacks them.

    Raises:
        UserError: as `read_contents`.
    """
    summary = find_summary(folder)
    if summary is None or summary.ranking is None or not summary.ranking.policies:
        return read_contents(folder, rng=rng).findings
    return summary.all_findings


def refusals(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings that withhold a claim."""
    return tuple(found for found in findings if found.severity == "refusal")


def warnings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings that ask for care."""
    return tuple(found for found in findings if found.severity != "refusal")


def _evaluators(
    agreement: AgreementSummary | None, baselines: Mapping[str, Measures]
) -> tuple[Evaluator, ...]:
    rows = [(BASELINES.get(k, _title(k)), _values(v), "baseline") for k, v in baselines.items()]
    if agreement is not None:
        own = {name: getattr(agreement, name) for name in MEASURES}
        known = {name: value for name, value in own.items() if value is not None}
        ceiling, graded = (
            {name: found[name] for name in MEASURES if name in found}
            for found in (agreement.ceiling, agreement.ceiling_graded)
        )
        imagination = ("Imagination", known, "imagination")
        rows = [
            imagination,
            (BINARY, ceiling, "ceiling"),
            (GRADED, graded, "graded ceiling"),
            *rows,
        ]
    return tuple(
        Evaluator(name=name, measures=measures, kind=kind)
        for name, measures, kind in rows
        if measures
    )


def _groups(found: Mapping[str, Mapping[str, int | Measures]]) -> tuple[Group, ...]:
    groups = []
    for name, item in found.items():
        count = item.get("policies")
        measures = {key: value for key, value in item.items() if isinstance(value, Mapping)}
        own = _values(measures.pop("imagination", {}))
        first = (Evaluator(name="Imagination", measures=own, kind="imagination"),) if own else ()
        groups.append(
            Group(
                name=GROUPS.get(name, _title(name)),
                policies=count if isinstance(count, int) else None,
                evaluators=(*first, *_evaluators(None, measures)),
            )
        )
    return tuple(group for group in groups if group.evaluators)


GROUPS = {
    "validation_ranks_well": "Lineages that validation error is expected to rank well",
    "validation_misleads": "Lineages that validation error is expected to mislead on",
}
BASELINES = {
    "validation_mse": "Validation MSE",
    "log_validation_mse": "Log validation MSE",
    "step": "Training step",
    "training_step": "Training step",
}


def _further(summary: Summary) -> dict[str, Estimate]:
    """Return further measures, with the intervals from the details where these exist."""
    found = {}
    for name in FURTHER:
        detailed = getattr(summary.agreement_details, name, None)
        value = getattr(summary, name, None)
        if detailed is not None or value is not None:
            found[name] = detailed or Estimate(value=value)
    return found


def _values(measures: Measures) -> dict[str, Estimate]:
    known = {name: measures[name] for name in MEASURES if measures.get(name) is not None}
    return {name: Estimate(value=value) for name, value in known.items()}


def _findings(summary: Summary, ranking: RankingSummary | None) -> tuple[Finding, ...]:
    if summary.findings is not None:
        return summary.findings
    return ranking.findings if ranking else ()


def _texts(model: ModelSummary | None) -> dict[str, str]:
    told = asdict(model) if model else {}
    return {name: str(value) for name, value in told.items() if value not in (None, "")}


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()
