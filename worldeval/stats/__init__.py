"""The statistics of choosing a policy. Plain arrays: numpy and scipy, no torch."""

from worldeval.stats.agreement import Agreement, agreement, baseline
from worldeval.stats.estimate import Estimate
from worldeval.stats.findings import Finding
from worldeval.stats.outcomes import Outcomes, from_frame, read_outcomes
from worldeval.stats.ranking import RankedPolicy, Ranking, rank
from worldeval.stats.rates import clopper_pearson, clustered_rate, jeffreys, rate, wilson

__all__ = [
    "Agreement",
    "Estimate",
    "Finding",
    "Outcomes",
    "RankedPolicy",
    "Ranking",
    "agreement",
    "baseline",
    "clopper_pearson",
    "clustered_rate",
    "from_frame",
    "jeffreys",
    "rank",
    "rate",
    "read_outcomes",
    "wilson",
]
