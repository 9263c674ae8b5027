"""What `judges.py` measures of a judge on episodes, and of the ranking that it makes."""

from typing import Any

import numpy as np
from judges_data import Developed

from worldeval.judge.fit import judged_well
from worldeval.stats import confusion, informativeness
from worldeval.stats.measures import mmrv, pearson, spearman


def quality(
    probability: np.ndarray, success: np.ndarray, *, near: np.ndarray, task: np.ndarray
) -> dict[str, Any]:
    """Measure a judge; episodes without a verdict (NaN) are left out and counted."""
    said = np.isfinite(probability)
    p, real, close = probability[said], success[said], near[said]
    counts = confusion((p > 0.5).tolist(), real.tolist())
    whole = judged_well(p, real)
    out: dict[str, Any] = {
        "episodes": int(said.sum()),
        "abstained": float(1 - said.mean()),
        **{key: whole[key] for key in ("accuracy", "auc", "brier", "false_success")},
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "j": informativeness(counts).to_json(),
        "sensitivity_by_task": {
            str(name): float((p[own & real] > 0.5).mean())
            for name in np.unique(task)
            if ((own := task[said] == name) & real).any()
        },
    }
    if close.any():
        out["near_misses"] = int(close.sum())
        out["false_success_on_near_misses"] = float(p[close].mean())
        out["near_misses_called_success"] = float((p[close] > 0.5).mean())
    return out


def rates(score: np.ndarray, dev: Developed) -> np.ndarray:
    """Return each policy's mean score; an equal weight for each task; NaN is left out."""
    tasks = sorted(set(dev.task.tolist()))
    cells = [
        [score[(dev.policy == name) & (dev.task == task)] for task in tasks]
        for name in dev.policies
    ]
    return np.array(
        [[np.nanmean(cell) if len(cell) else np.nan for cell in row] for row in cells]
    ).mean(1)


def ranking(score: np.ndarray, dev: Developed) -> dict[str, Any]:
    """Compare a judge's rates with the measured ones; policies without any verdict are left out."""
    with np.errstate(invalid="ignore"):
        predicted, real = rates(score, dev), np.array([dev.rates[name] for name in dev.policies])
    known = np.isfinite(predicted)
    if known.sum() < 3:
        return {}
    s, r = predicted[known], real[known]
    return {
        "policies": int(known.sum()),
        "pearson": number(pearson(s, r)),
        "spearman": number(spearman(s, r)),
        "mmrv": number(mmrv(predicted=s, real=r)),
        "rate_error": float(np.abs(s - r).mean()),
        "rate_bias": float((s - r).mean()),
    }


def number(value: np.ndarray) -> float | None:
    """Return a number; None where it is undefined."""
    return float(value) if np.isfinite(value) else None
