# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportReturnType=false
"""How imagination and validation error rank the policies of arena.py: over kinds, and within them.

- `kinds`: the last checkpoints, the seeds of a kind together. A policy of this comparison is an
  architecture.
- `policies`: every checkpoint; intervals are over kinds (the lineages of this comparison).
- `within`: every checkpoint less the mean of its kind. What is left is how checkpoints and seeds of
  one architecture differ, which is what rankings were compared on so far. Intervals resample kinds.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float, Int
from worldeval.stats import (
    Outcomes,
    agreement,
    baseline,
    baseline_difference,
    from_frame,
    mean_score,
    measures,
)
from worldeval.stats.ceiling import perfect_cells, shrunk
from worldeval.stats.rates import rate_over_tasks
from worldeval.stats.units import units

FEWEST = 3  # policies, or kinds, of a comparison
DRAWS = 2000
CEILING = 300  # draws
KEY = ("policy", "task", "start")

Numbers = Float[Array, " k"]


def compared(
    rows: Sequence[Mapping[str, Any]], imagined: pd.DataFrame, real: pd.DataFrame, *, seed: int
) -> dict[str, Any]:
    """Add rates to the rows of policies, and compare those that were imagined and simulated.

    Args:
        rows: policy, kind, seed, last, validation_mse, and whatever else is to be kept.
        imagined: policy, task, start and score of every imagined episode; may be empty.
        real: policy, task, start and success of every simulated one.

    Returns:
        `policies` (the rows), and `agreement` by comparison, where it can be told.
    """
    done = both(rows, imagined, real)
    shown = [{**row, **rates(row["policy"], imagined, real)} for row in rows]
    out: dict[str, Any] = {"policies": shown, "agreement": {}}
    about = {row["policy"]: row for row in rows if row["policy"] in done}
    last = {name: row for name, row in about.items() if row["last"]}
    kinds = sorted({row["kind"] for row in last.values()})
    if len(kinds) >= FEWEST:
        names = {name: row["kind"] for name, row in last.items()}
        errors = {
            kind: float(np.mean([r["validation_mse"] for r in last.values() if r["kind"] == kind]))
            for kind in kinds
        }
        out["agreement"]["kinds"] = over(imagined, real, names, names, errors, seed=seed)
        out["kinds"] = by_kind(last, shown)
    if len(about) >= FEWEST:
        same = {name: name for name in about}
        lineage = {name: row["kind"] for name, row in about.items()}
        errors = {name: row["validation_mse"] for name, row in about.items()}
        out["agreement"]["policies"] = over(imagined, real, same, lineage, errors, seed=seed)
        if len(kinds) >= FEWEST and len(about) > len(kinds):
            out["agreement"]["within"] = inside(imagined, real, lineage, errors, seed=seed)
    return out


def both(rows: Sequence[Mapping[str, Any]], imagined: pd.DataFrame, real: pd.DataFrame) -> set[str]:
    """Policies with all of their imagined and simulated episodes."""
    if imagined.empty or real.empty:
        return set()
    counts = [table.groupby("policy").size() for table in (imagined, real)]
    most = min(int(count.max()) for count in counts)
    return {
        row["policy"]
        for row in rows
        if all(int(count.get(row["policy"], 0)) >= most for count in counts)
    }


def rates(policy: str, imagined: pd.DataFrame, real: pd.DataFrame) -> dict[str, Any]:
    """Imagined and simulated success of one policy, over all tasks and on each."""
    found: dict[str, Any] = {}
    for name, table, column in (("imagined", imagined, "score"), ("simulated", real, "success")):
        own = table[table["policy"] == policy] if len(table) else table
        found[name] = None
        if len(own):
            side = outcomes(own, column, {policy: policy})
            seen = units(side)
            if column == "success":
                estimate = rate_over_tasks(seen.mean[0], trials=seen.trials[0]).to_json()
            else:
                estimate = mean_score(side.value).to_json()
            by_task = {task: round(float(seen.cells[0, t]), 4) for t, task in enumerate(seen.tasks)}
            found[name] = {**estimate, "n": len(own), "tasks": by_task}
    return found


def by_kind(
    last: Mapping[str, Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """Means of the last checkpoints of every kind."""
    table = pd.DataFrame(
        {
            "kind": row["kind"],
            "validation_mse": row["validation_mse"],
            "imagined": row["imagined"]["value"],
            "simulated": row["simulated"]["value"],
        }
        for row in shown
        if row["policy"] in last
    )
    means = table.groupby("kind").mean().round(4).sort_values("simulated", ascending=False)
    return {str(kind): dict(row) for kind, row in means.iterrows()}


def outcomes(table: pd.DataFrame, column: str, names: Mapping[str, str]) -> Outcomes:
    """The episodes of the policies in `names`, under their names there."""
    own = table[table["policy"].isin(names)]
    renamed = own[list(KEY)].assign(
        policy=[names[name] for name in own["policy"]],
        seed=list(own["policy"]),  # other policies from the same start make one cluster
    )
    return from_frame(renamed.assign(**{column: own[column].to_numpy()}))


def over(
    imagined: pd.DataFrame,
    real: pd.DataFrame,
    names: Mapping[str, str],
    lineage: Mapping[str, str],
    errors: Mapping[str, float],
    *,
    seed: int,
) -> dict[str, Any]:
    """Agreement over policies (or kinds), and that of validation error, smaller being better."""
    predicted, measured = outcomes(imagined, "score", names), outcomes(real, "success", names)
    if names != lineage:
        group = {"lineage": dict(lineage)}
        predicted, measured = (
            type(side)(**{**vars(side), **group}) for side in (predicted, measured)
        )
    rng = np.random.default_rng(seed)
    found = agreement(predicted, measured, rng=rng)
    values = {name: -float(np.log(error)) for name, error in errors.items()}
    apart = baseline_difference(values, predicted, measured, rng=rng)
    return {
        "n": len(found.policies),
        **found.to_json(),
        "cell_mae": found.cell_mae.to_json(),
        "bias": found.bias.to_json(),
        "validation_error": baseline(values, measured),
        "imagination_less_validation_error": {k: v.to_json() for k, v in apart.items()},
    }


def inside(
    imagined: pd.DataFrame,
    real: pd.DataFrame,
    kind: Mapping[str, str],
    errors: Mapping[str, float],
    *,
    seed: int,
) -> dict[str, Any]:
    """Agreement of the policies of one kind with each other, over all kinds."""
    same = {name: name for name in kind}
    s, r = units(outcomes(imagined, "score", same)), units(outcomes(real, "success", same))
    order = [s.policies.index(name) for name in r.policies]
    predicted, measured = s.rates[order], r.rates
    group = np.unique([kind[name] for name in r.policies], return_inverse=True)[1]
    cheap = np.array([-np.log(errors[name]) for name in r.policies])
    rng = np.random.default_rng(seed)
    true = shrunk(r.cells, r.count)
    ideal = perfect_cells(true, n_real=r.count, n_predicted=r.count, rng=rng, draws=CEILING)
    drawn = [(a.mean(axis=1), b.mean(axis=1)) for a, b in zip(*ideal, strict=True)]
    out: dict[str, Any] = {"n": len(measured), "kinds": int(group.max()) + 1}
    for name, measure in WITHIN.items():
        low, high = resampled(measure, predicted, measured, group, rng)
        ceiling = [measure(a, b, group) for a, b in drawn]
        out[name] = {
            "value": told(measure(predicted, measured, group)),
            "low": low,
            "high": high,
            "ceiling": told(float(np.nanmedian(ceiling))) if np.isfinite(ceiling).any() else None,
            "validation_error": told(measure(cheap, measured, group)),
        }
    return out


def pearson_within(s: Numbers, r: Numbers, group: Int[Array, " k"]) -> float:
    """Correlation of the differences from the mean of each kind."""
    return float(measures.pearson(centred(s, group), centred(r, group)))


def spearman_within(s: Numbers, r: Numbers, group: Int[Array, " k"]) -> float:
    """Mean over kinds of the rank correlation of their policies; NaN where it is never defined."""
    found = [float(measures.spearman(s[group == g], r[group == g])) for g in np.unique(group)]
    kept = [value for value in found if np.isfinite(value)]
    return float(np.mean(kept)) if kept else float("nan")


def mmrv_within(s: Numbers, r: Numbers, group: Int[Array, " k"]) -> float:
    """Mean over kinds of the maximum rank violation of their policies."""
    found = [
        float(measures.mmrv(predicted=s[group == g], real=r[group == g])) for g in np.unique(group)
    ]
    return float(np.mean(found))


Within = Callable[[Numbers, Numbers, Array], float]
WITHIN: dict[str, Within] = {
    "pearson": pearson_within,
    "spearman": spearman_within,
    "mmrv": mmrv_within,
}


def centred(x: Numbers, group: Int[Array, " k"]) -> Numbers:
    """Differences from the mean of each group."""
    return x - (np.bincount(group, x) / np.bincount(group))[group]


def resampled(
    measure: Within, s: Numbers, r: Numbers, group: Int[Array, " k"], rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """The central 95% of a measure over resampled kinds, a copy of a kind being one of its own."""
    kinds = [np.flatnonzero(group == g) for g in np.unique(group)]
    found = []
    for _ in range(DRAWS):
        chosen = rng.integers(len(kinds), size=len(kinds))
        rows = np.concatenate([kinds[g] for g in chosen])
        own = np.repeat(np.arange(len(chosen)), [len(kinds[g]) for g in chosen])
        found.append(measure(s[rows], r[rows], own))
    kept = [value for value in found if np.isfinite(value)]
    if not kept:
        return None, None
    low, high = np.quantile(kept, [0.025, 0.975])
    return float(low), float(high)


def told(value: float) -> float | None:
    """A number for JSON."""
    return value if np.isfinite(value) else None


def listed(content: Mapping[str, Any]) -> str:
    """The policies as a Markdown table, and the agreement."""
    head = ["policy", "steps", "CPU-min", "parameters", "ms/chunk", "validation MSE"]
    head += ["imagined", "simulated"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in content["policies"]:
        cells = [row["policy"], row["step"], row["cpu_minutes"], row["parameters"]]
        cells += [row["latency_ms"], f"{row['validation_mse']:.4f}"]
        cells += [number(row["imagined"]), number(row["simulated"])]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    for name, found in content["agreement"].items():
        shown = ", ".join(f"{key} {number(found[key])}" for key in ("pearson", "spearman", "mmrv"))
        lines.append(f"{name} ({found['n']}): {shown}")
    return "\n".join(lines)


def number(found: Mapping[str, Any] | None) -> str:
    """A value with its interval."""
    if found is None or found["value"] is None:
        return ""
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
