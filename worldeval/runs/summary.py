"""summary.json: all results of a ranking, as a tree of typed records.

`Summary` mirrors the file key by key; `None` means that a key is not in the file or that the value
was not measured. Its JSON Schema is `docs/summary.schema.json`, written by `python -m
worldeval.runs.schema`. Keys are only ever added, and `schema_version` increases when they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from worldeval.errors import UserError
from worldeval.files import write_json
from worldeval.runs.files import fitted, read_record
from worldeval.runs.labels import PeopleAgreement
from worldeval.runs.paths import RunPaths
from worldeval.stats import Comparison, Estimate, Finding, first_line

SCHEMA_VERSION = 1
REFUSAL = "refusal"
SIMULATOR, REAL_TRIALS = "simulator", "real trials"  # what predictions are compared with

Measures = Mapping[str, float | None]  # pearson, spearman, ... without intervals


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """One policy of a ranking: its rate with interval, and its rank."""

    rank: int | None = None  # 1 is best; policies of equal rate share a rank
    policy: str
    lineage: str | None = None
    step: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    n: int | None = None
    clusters: int | None = None
    method: str = ""
    letters: str = ""  # two policies share one exactly if they are statistically tied
    probability_best: float | None = None
    expected_regret: float | None = None
    predictive: Estimate | None = None  # the true rate, if its interval could be fitted

    @property
    def estimate(self) -> Estimate:
        """Imagined rate over all tasks."""
        return _estimate(self)


@dataclass(frozen=True, kw_only=True)
class CellSummary:
    """One policy on one task."""

    policy: str
    task: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float | None = None
    n: int | None = None
    clusters: int | None = None
    method: str = ""

    @property
    def estimate(self) -> Estimate:
        """Rate on this task."""
        return _estimate(self)


@dataclass(frozen=True, kw_only=True)
class RankingSummary:
    """Policies from best to worst, by imagined or by measured outcomes."""

    headline: str | None = None
    level: float = 0.95  # of every interval
    policies: tuple[PolicySummary, ...] = ()  # best first
    cells: tuple[CellSummary, ...] = ()
    comparisons: tuple[Comparison, ...] = ()  # every pair
    worth: Estimate | None = None  # of an imagined rate, in trials
    worth_text: str | None = None  # the same as a sentence
    worth_quartile: float | None = None  # its lower quartile
    test: str = "betting"  # of two policies, or 'mcnemar'
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AgreementSummary:
    """Agreement of the predicted with the measured order."""

    pearson: Estimate | None = None
    spearman: Estimate | None = None
    kendall: Estimate | None = None
    mmrv: Estimate | None = None
    pairwise_accuracy: Estimate | None = None
    top1_regret: Estimate | None = None
    # Of a perfect binary evaluator with as many starts, and of a perfect graded one.
    ceiling: Mapping[str, Estimate] = field(default_factory=dict)
    ceiling_graded: Mapping[str, Estimate] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)  # measure -> method of its interval


@dataclass(frozen=True, kw_only=True)
class RatePair:
    """Predicted and measured rate of a policy."""

    predicted: float | None
    real: float | None


@dataclass(frozen=True, kw_only=True)
class AgreementDetails:
    """Further measures of agreement."""

    policies: Mapping[str, RatePair] = field(default_factory=dict)
    tasks: tuple[str, ...] = ()
    pearson_starts: Estimate | None = None
    spearman_starts: Estimate | None = None
    pearson_strong: Estimate | None = None  # among policies above the median measured rate
    task_bias: Mapping[str, Estimate] = field(default_factory=dict)  # predicted minus measured rate
    top3_regret: Estimate | None = None
    within_task_spearman: Estimate | None = None
    midrange_spearman: Estimate | None = None
    cell_mae: Estimate | None = None
    bias: Estimate | None = None
    mae: Estimate | None = None
    slope: float | None = None
    intercept: float | None = None
    permutation_p: float | None = None
    margin: float | None = None  # measured gap above which a pair counts for `pairwise_accuracy`


@dataclass(frozen=True, kw_only=True)
class CombinedSummary:
    """Real success rate of a policy, estimated from few real and many imagined trials."""

    rate: Estimate
    real_starts: int
    imagined_starts: int
    rho: float | None = None
    share_saved: float | None = None
    trials_saved: float | None = None


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    """A world model or a judge: its location and the fingerprint of its content."""

    folder: str = ""
    hash: str | None = None
    sampler_steps: int | None = None  # of a world model; None for the number it was trained with
    cost: Mapping[str, float] | None = None  # of a judge of frames: answers, tokens, seconds, cost
    people: tuple[PeopleAgreement, ...] | None = None  # where people are the judge


@dataclass(frozen=True, kw_only=True)
class StartSummary:
    """A start frame, compared with those of the passport."""

    start: str
    task: str
    p: float  # conformal p-value
    outside: bool  # p is at most the passport's false-alarm rate
    view: str = ""  # where it differs most
    block: str = ""  # in what: latent, colour, edge or background


@dataclass(frozen=True, kw_only=True)
class PassportSummary:
    """The passport of the world model and the judge (`passport.json` in the judge's folder)."""

    sha256: str = ""
    made: str = ""
    applies: bool = True  # False: something is outside of what was validated (see findings)
    starts: tuple[StartSummary, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SpentSummary:
    """How an evaluation ended that was allowed to stop early."""

    allocate: str
    why: str
    leader: str | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary.json of a run. Parts that the run lacks are None or empty.

    `read_summary` returns it. If `headline` is not None, print it above any table.
    """

    # NaN is not valid JSON, and a string is not a number.
    __pydantic_config__: ClassVar[Any] = {"allow_inf_nan": False}

    schema_version: int = 0  # 0: written before versions were recorded
    headline: str | None = None
    policies: int | None = None
    lineages: int | None = None
    tasks: tuple[str, ...] = ()
    episodes: int | None = None  # imagined
    ranking: RankingSummary | None = None
    truth: RankingSummary | None = None
    agreement: AgreementSummary | None = None
    agreement_details: AgreementDetails | None = None
    within_task_spearman: float | None = None
    midrange_spearman: float | None = None
    cell_mae: float | None = None
    groups: Mapping[str, Mapping[str, int | Measures]] = field(default_factory=dict)
    baselines: Mapping[str, Measures] = field(default_factory=dict)
    # Agreement of imagination minus that of each baseline, per measure.
    beyond_baselines: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    # True rates estimated from imagination and a policy's real trials.
    shrunk: Mapping[str, Estimate] = field(default_factory=dict)
    combined: Mapping[str, CombinedSummary] = field(default_factory=dict)
    gates: Mapping[str, Estimate] = field(default_factory=dict)
    validation_mse: Mapping[str, float] = field(default_factory=dict)  # of policies' actions
    seconds: Mapping[str, float] = field(default_factory=dict)  # by stage
    imagined_seconds_per_episode: float | None = None
    findings: tuple[Finding, ...] | None = None  # None: those of the ranking
    world: ModelSummary | None = None
    judge: ModelSummary | None = None
    spent: SpentSummary | None = None
    passport: PassportSummary | None = None  # None: the judge has none
    errors: Mapping[str, str] = field(default_factory=dict)  # policy -> why episodes are missing
    compared_with: str | None = None  # SIMULATOR or REAL_TRIALS; None: nothing, or not recorded

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """All findings, refusals first."""
        if self.findings is not None:
            return self.findings
        return self.ranking.findings if self.ranking else ()

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """Findings that withhold a claim."""
        return tuple(found for found in self.all_findings if found.severity == REFUSAL)

    @property
    def caveat(self) -> str | None:
        """Headline above the table if it must not be read as a ranking, or else None."""
        return self.headline or first_line(self.all_findings)


def read_summary(run: Path) -> Summary:
    """Read the summary of a run folder.

    Raises:
        UserError: there is none yet, it is damaged, or it does not fit `Summary`.
    """
    path = RunPaths(run).summary
    if not path.is_file():
        raise UserError(
            f"{run} contains no {path.name}. Give the folder of a finished `worldeval rank`."
        )
    return read_record(path, Summary)


def find_summary(run: Path) -> Summary | None:
    """Read the summary of a run folder; None if it has none yet."""
    return read_summary(run) if RunPaths(run).summary.is_file() else None


def write_summary(run: Path, content: Mapping[str, Any]) -> Summary:
    """Write a summary given as plain data, and return it as it will be read.

    Raises:
        UserError: the content does not fit `Summary`.
    """
    content = {"schema_version": SCHEMA_VERSION, **content}
    summary = fitted(content, Summary, where="The summary")
    write_json(RunPaths(run).summary, content)
    return summary


def ranking_summary(ranking: Mapping[str, Any]) -> RankingSummary:
    """Convert a ranking (`stats.Ranking.to_json`) to its record in a summary."""
    return fitted(ranking, RankingSummary, where="The ranking")


def _estimate(row: PolicySummary | CellSummary) -> Estimate:
    return Estimate(
        value=row.value,
        low=row.low,
        high=row.high,
        level=row.level,
        n=row.n,
        clusters=row.clusters,
        method=row.method,
    )
