"""Leave-one-out analysis: does the agreement depend on one policy, or on one training run?"""

from collections.abc import Mapping

import numpy as np

from worldeval.axes import Array, Bool, Float
from worldeval.stats import measures

Measures = dict[str, float | None]


def leave_one_policy_out(
    predicted: Mapping[str, float], real: Mapping[str, float]
) -> dict[str, Measures]:
    """Compute Pearson, Spearman and MMRV without each policy in turn."""
    return leave_out(predicted, real, {name: name for name in real})


def leave_one_lineage_out(
    predicted: Mapping[str, float], real: Mapping[str, float], lineage: Mapping[str, str]
) -> dict[str, Measures]:
    """Compute Pearson, Spearman and MMRV without each lineage in turn.

    A lineage holds all checkpoints of one training run. A policy of unknown lineage is a lineage
    of its own.
    """
    return leave_out(predicted, real, {name: lineage.get(name, name) for name in real})


def leave_out(
    predicted: Mapping[str, float], real: Mapping[str, float], group: Mapping[str, str]
) -> dict[str, Measures]:
    """Compute the agreement without each group in turn; None if too little is left to correlate."""
    names = list(real)
    s, r = (np.array([side[name] for name in names], dtype=float) for side in (predicted, real))
    member = np.array([group[name] for name in names])
    return {str(out): _measures(s, r, member != out) for out in dict.fromkeys(member.tolist())}


def _measures(s: Float[Array, " k"], r: Float[Array, " k"], keep: Bool[Array, " k"]) -> Measures:
    s, r = s[keep], r[keep]
    if len(s) < 2:
        return {"pearson": None, "spearman": None, "mmrv": None}
    found = {
        "pearson": measures.pearson(s, r),
        "spearman": measures.spearman(s, r),
        "mmrv": measures.mmrv(predicted=s, real=r),
    }
    return {name: None if np.isnan(x) else float(x) for name, x in found.items()}
