"""What a report says, read from a run folder. A part that the run lacks is empty, not an error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.errors import UserError
from worldeval.report.filmstrip import FOLDER, Filmstrip, read_filmstrips
from worldeval.report.gates import Gate, read_gates
from worldeval.report.number import Number, number
from worldeval.report.pairs import Pairs, pairs
from worldeval.report.table import Duel, PolicyRow, TaskRow, duels, ranked_rows, task_rows
from worldeval.run import read_json
from worldeval.runs.tables import read_outcomes
from worldeval.stats import Finding, Outcomes, Ranking, rank

SUMMARY, FACTS, RECIPE = "summary.json", "run.json", "recipe.yaml"
OUTCOMES = {"imagined": "outcomes/imagined.csv", "truth": "outcomes/truth.csv"}


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """One row of the agreement table: something that ranks, and how well it agrees with truth."""

    name: str
    measures: Mapping[str, Number]
    kind: str  # 'imagination', 'ceiling' or 'baseline'


@dataclass(frozen=True, kw_only=True)
class Group:
    """The same table for some of the policies alone."""

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
    duels: tuple[Duel, ...]  # every pair, compared from the same starts
    tasks: tuple[TaskRow, ...]
    evaluators: tuple[Evaluator, ...]
    groups: tuple[Group, ...]  # kinds of lineages: those that action error ranks well, and not
    margin: float | None  # real gap from which a pair counts for 'pairs in order'
    further: Mapping[str, Number]  # within_task_spearman and other single measures
    gates: tuple[Gate, ...]
    findings: tuple[Finding, ...]
    pairs: Pairs | None
    strips: tuple[Filmstrip, ...]
    episodes: int | None  # imagined
    seconds: Mapping[str, float]
    seconds_per_episode: float | None
    world: Mapping[str, str]  # what the world model was
    facts: Mapping[str, Any]  # of run.json
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
        """Whether any real outcome stands beside the predictions."""
        return any(row.truth is not None for row in self.rows)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures of agreement that any evaluator has, in the order of a report."""
        return tuple(
            name for name in MEASURES if any(name in each.measures for each in self.evaluators)
        )


# Name in the summary -> heading; the first four are for all evaluators.
MEASURES = {
    "pearson": "Pearson",
    "spearman": "Spearman",
    "kendall": "Kendall",
    "mmrv": "MMRV",
    "pairwise_accuracy": "Pairs in order",
    "top1_regret": "Top-1 regret",
}
FURTHER = {
    "within_task_spearman": "Spearman within a task, mean",
    "midrange_spearman": "Spearman of policies that neither always fail nor always succeed",
    "cell_mae": "Error of a policy's rate on a task, mean",
    "bias": "Optimism: predicted minus real rate, mean",
}


def read_contents(folder: Path, *, rng: np.random.Generator) -> ReportContents:
    """Read a run folder.

    The ranking is the summary's where it has one; else it is computed from the imagined outcomes.

    Args:
        rng: of the draws behind P(best), where the ranking is computed.

    Raises:
        UserError: there is no run, it holds no result yet, or a file of it is damaged.
    """
    if not folder.is_dir():
        raise UserError(
            f"There is no run folder {folder}. Make one: worldeval rank ... --out {folder}"
        )
    outcomes = {side: _outcomes(folder / name) for side, name in OUTCOMES.items()}
    imagined, truth = outcomes["imagined"], outcomes["truth"]
    summary = _mapping(folder / SUMMARY)
    if not summary and imagined is None:
        raise UserError(
            f"{folder} holds neither {SUMMARY} nor {OUTCOMES['imagined']}: nothing was ranked in "
            "it yet. Run `worldeval rank ... --out` with this folder first; it continues where it "
            "was interrupted."
        )
    ranking = summary.get("ranking")
    if not _has_rows(ranking):
        validated = truth is not None
        ranking = None if imagined is None else _computed(imagined, rng, validated=validated)
    per_episode = number(summary.get("imagined_seconds_per_episode"))
    agreement = summary.get("agreement")
    agreement = agreement if isinstance(agreement, dict) else {}
    details = summary.get("agreement_details")
    details = details if isinstance(details, dict) else {}
    margin = number(details.get("margin"))
    return ReportContents(
        name=folder.resolve().name,
        folder=folder,
        level=_level(ranking),
        rows=ranked_rows(ranking, truth, summary.get("validation_mse")),
        duels=duels(ranking),
        tasks=task_rows(ranking, imagined, truth),
        evaluators=_evaluators(agreement, agreement.get("ceiling"), summary.get("baselines")),
        groups=_groups(summary.get("groups")),
        margin=margin.value if margin else None,
        # The details bring the intervals that the summary's own keys lack.
        further=_numbers({**summary, **agreement, **details}, FURTHER),
        gates=read_gates(summary.get("gates")),
        findings=_findings(summary.get("findings", (ranking or {}).get("findings"))),
        pairs=pairs(imagined, truth) if imagined and truth else None,
        strips=tuple(read_filmstrips(folder / FOLDER)),
        episodes=_episodes(summary, imagined),
        seconds=_seconds(summary.get("seconds")),
        seconds_per_episode=per_episode.value if per_episode else None,
        world=_texts(summary.get("world")),
        facts=_mapping(folder / FACTS),
        recipe=_text(folder / RECIPE),
    )


def read_findings(folder: Path, *, rng: np.random.Generator) -> tuple[Finding, ...]:
    """What a run's result must be read with; no episode is read where its summary tells.

    Raises:
        UserError: as `read_contents`.
    """
    summary = _mapping(folder / SUMMARY)
    if not _has_rows(summary.get("ranking")):
        return read_contents(folder, rng=rng).findings
    return _findings(summary.get("findings", summary["ranking"].get("findings")))


def _computed(imagined: Outcomes, rng: np.random.Generator, *, validated: bool) -> dict[str, Any]:
    ranking: Ranking = rank(imagined, rng=rng, validated=validated)
    return ranking.to_json()


def _level(ranking: Any) -> float:
    read = number(ranking.get("level")) if isinstance(ranking, dict) else None
    return read.value if read is not None and read.value is not None else 0.95


def refusals(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings that withhold a claim."""
    return tuple(found for found in findings if found.severity == "refusal")


def warnings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings that ask for care."""
    return tuple(found for found in findings if found.severity != "refusal")


def _has_rows(ranking: Any) -> bool:
    return isinstance(ranking, dict) and bool(ranking.get("policies"))


def _evaluators(imagination: Any, ceiling: Any, baselines: Any) -> tuple[Evaluator, ...]:
    rows = [
        ("Imagination", _numbers(imagination, MEASURES), "imagination"),
        ("Noise ceiling", _numbers(ceiling, MEASURES), "ceiling"),
    ]
    if isinstance(baselines, dict):
        for name, measures in baselines.items():
            title = BASELINES.get(str(name), str(name).replace("_", " ").capitalize())
            rows.append((title, _numbers(measures, MEASURES), "baseline"))
    return tuple(
        Evaluator(name=name, measures=measures, kind=kind)
        for name, measures, kind in rows
        if measures
    )


def _groups(raw: Any) -> tuple[Group, ...]:
    found = []
    for name, item in raw.items() if isinstance(raw, dict) else ():
        if not isinstance(item, dict):
            continue
        count = number(item.get("policies"))
        baselines = {key: item[key] for key in item if key not in ("policies", "imagination")}
        group = Group(
            name=GROUPS.get(str(name), str(name).replace("_", " ").capitalize()),
            policies=int(count.value) if count and count.value is not None else None,
            evaluators=_evaluators(item.get("imagination"), None, baselines),
        )
        found += [group] if group.evaluators else []
    return tuple(found)


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


def _numbers(raw: Any, names: Mapping[str, str]) -> dict[str, Number]:
    if not isinstance(raw, Mapping):
        return {}
    read = {name: number(raw[name]) for name in names if name in raw}
    return {name: value for name, value in read.items() if value is not None}


def _findings(raw: Any) -> tuple[Finding, ...]:
    found = []
    for item in raw if isinstance(raw, list) else ():
        if isinstance(item, dict) and "text" in item:
            code, severity = str(item.get("code", "")), str(item.get("severity", "warning"))
            found.append(Finding(code=code, severity=severity, text=str(item["text"])))
        elif isinstance(item, str):
            found.append(Finding(code="", severity="warning", text=item))
    return tuple(found)


def _episodes(summary: Mapping[str, Any], imagined: Outcomes | None) -> int | None:
    told = number(summary.get("episodes"))
    if told is not None and told.value is not None:
        return int(told.value)
    return None if imagined is None else len(imagined)


def _seconds(raw: Any) -> dict[str, float]:
    if not isinstance(raw, dict):
        return {}
    read = {str(name): number(value) for name, value in raw.items()}
    return {name: n.value for name, n in read.items() if n is not None and n.value is not None}


def _texts(raw: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in raw.items()} if isinstance(raw, dict) else {}


def _outcomes(path: Path) -> Outcomes | None:
    return read_outcomes(path) if path.is_file() else None


def _mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object; it holds {type(content).__name__}.")
    return content


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
