"""Statistics for comparing and selecting policies, on plain arrays: numpy and scipy, no torch.

Modules use `import scipy` and `scipy.stats.norm`, because scipy loads its submodules lazily and
they take longer to load than everything else that the viewer needs.
"""

from worldeval.stats.agreement import Agreement, agreement
from worldeval.stats.baselines import baseline, baseline_difference
from worldeval.stats.betting import PairedTest, mean_score, paired_test, sequence
from worldeval.stats.calibration import Calibrated, calibrate
from worldeval.stats.ceiling import noise_ceiling
from worldeval.stats.combined import CombinedRates, combined_rates
from worldeval.stats.estimate import Estimate
from worldeval.stats.findings import Finding, first_line, never_validated, untrustworthy
from worldeval.stats.leave_out import leave_one_lineage_out, leave_one_policy_out
from worldeval.stats.letters import compact_letters, holm
from worldeval.stats.measures import mmrv
from worldeval.stats.outcomes import Outcomes, from_frame
from worldeval.stats.paired import Comparison, compare_all, mcnemar
from worldeval.stats.plan import Plan, plan
from worldeval.stats.ppi import Combined, combine
from worldeval.stats.predictive import (
    RateWorth,
    ValidatedRate,
    ValidatedRates,
    conformal,
    fit_worth,
)
from worldeval.stats.ranking import RankedPolicy, Ranking, rank
from worldeval.stats.rates import clopper_pearson, clustered_rate, jeffreys, rate, wilson
from worldeval.stats.rogan_gladen import (
    Confusion,
    confusion,
    confusion_per_policy,
    homogeneity,
    informativeness,
    judge_findings,
    rogan_gladen,
)
from worldeval.stats.shrunk import shrunk_rate, shrunk_rates
from worldeval.stats.spending import AdaptiveOutcomes, sequential_halving, until_leader
from worldeval.stats.validation import Validation, validate

__all__ = [
    "AdaptiveOutcomes",
    "Agreement",
    "Calibrated",
    "Combined",
    "CombinedRates",
    "Comparison",
    "Confusion",
    "Estimate",
    "Finding",
    "Outcomes",
    "PairedTest",
    "Plan",
    "RankedPolicy",
    "Ranking",
    "RateWorth",
    "ValidatedRate",
    "ValidatedRates",
    "Validation",
    "agreement",
    "baseline",
    "baseline_difference",
    "calibrate",
    "clopper_pearson",
    "clustered_rate",
    "combine",
    "combined_rates",
    "compact_letters",
    "compare_all",
    "conformal",
    "confusion",
    "confusion_per_policy",
    "first_line",
    "fit_worth",
    "from_frame",
    "holm",
    "homogeneity",
    "informativeness",
    "jeffreys",
    "judge_findings",
    "leave_one_lineage_out",
    "leave_one_policy_out",
    "mcnemar",
    "mean_score",
    "mmrv",
    "never_validated",
    "noise_ceiling",
    "paired_test",
    "plan",
    "rank",
    "rate",
    "rogan_gladen",
    "sequence",
    "sequential_halving",
    "shrunk_rate",
    "shrunk_rates",
    "until_leader",
    "untrustworthy",
    "validate",
    "wilson",
]
