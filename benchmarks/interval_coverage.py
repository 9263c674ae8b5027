"""Does every interval cover, and does every test keep its error? By enumeration or simulation.

    python benchmarks/interval_coverage.py --out benchmarks/results/coverage.json  # minutes

Each check is a function of a generator and a number of repetitions that returns rows; the tests run
them with few repetitions.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coverage_policies
import numpy as np
from scipy import stats

from worldeval.files import read_json, write_json
from worldeval.stats import betting, measures, rates, spending
from worldeval.stats.agreement import agreement_of_units
from worldeval.stats.letters import holm
from worldeval.stats.paired import compare_all
from worldeval.stats.ppi import combine, mover_wilson
from worldeval.stats.rogan_gladen import Confusion, rogan_gladen
from worldeval.stats.units import Units

Row = dict[str, Any]
ALPHA = 0.05


def binomial(rng: np.random.Generator, reps: int) -> list[Row]:
    """Least exact coverage over 999 rates, by enumeration of all outcomes."""
    del rng, reps
    grid = np.linspace(0.001, 0.999, 999)
    rows = []
    for n in (10, 20, 50, 100):
        chance = stats.binom.pmf(np.arange(n + 1)[:, None], n, grid)
        for name, interval in rates.INTERVALS.items():
            low, high = np.array([interval(k, n) for k in range(n + 1)]).T
            covers = (low[:, None] <= grid) & (grid <= high[:, None])
            cover = (covers * chance).sum(axis=0)
            rows.append({"check": f"{name}, n={n}: least coverage", "value": cover.min(),
                         "bound": ">= .95" if name == "exact" else None})  # fmt: skip
            rows.append({"check": f"{name}, n={n}: mean coverage", "value": cover.mean(),
                         "bound": ">= .94"})  # fmt: skip
    return rows


def clustered(rng: np.random.Generator, reps: int) -> list[Row]:
    """Starts of different difficulty, tried five times each."""
    rows = []
    for starts, spread in ((10, 0.5), (10, 5.0), (40, 0.5), (40, 5.0)):
        for p in (0.1, 0.5, 0.9):
            hard = rng.beta(p * spread, (1 - p) * spread, (reps, starts))
            means = rng.binomial(5, hard) / 5
            found = [rates.clustered_rate(m, trials=5 * starts) for m in means]
            hit = np.mean([e.low <= p <= e.high for e in found])  # type: ignore[operator]
            rows.append({"check": f"clustered Wilson, {starts} starts x 5, Beta({p}, {spread})",
                         "value": hit, "bound": ">= .93"})  # fmt: skip
    return rows


def scores(rng: np.random.Generator, reps: int) -> list[Row]:
    """Betting interval of graded scores, read once, and the sequence, read after every score."""
    rows = []
    for name, a, b in (("uniform", 1, 1), ("U-shaped", 0.2, 0.2), ("rare", 0.1, 2)):
        for n in (10, 40, 200):
            x = rng.beta(a, b, (reps, n))
            low, high = betting.mean_bounds(x)
            mean = a / (a + b)
            rows.append({"check": f"betting, {name} scores, n={n}",
                         "value": np.mean((low <= mean) & (mean <= high)),
                         "bound": ">= .95"})  # fmt: skip
    for p in (0.1, 0.5, 0.95):
        # The last bounds are the intersection of all: they miss if any did.
        low, high = betting.sequence_end((rng.random((reps, 300)) < p).astype(float))
        missed = ((low > p) | (high < p)).mean()
        rows.append({"check": f"confidence sequence, p={p}: ever wrong in 300 looks",
                     "value": missed, "bound": "<= .05"})  # fmt: skip
    return rows


def prediction_powered(rng: np.random.Generator, reps: int) -> list[Row]:
    """MOVER-Wilson, plain PPI++ and what `combine` chooses, for a judge of given sens = spec."""
    rows = []
    more = 1000
    z = stats.norm.ppf(0.975)
    for n in (20, 50):
        for p in (0.03, 0.1, 0.5, 0.9, 0.97):
            for right in (0.5, 0.7, 0.85, 0.95):
                cells = [p * right, p * (1 - right), (1 - p) * (1 - right), (1 - p) * right]
                yf, y, f, _ = rng.multinomial(n, cells, reps).T.astype(float)
                tilde = rng.binomial(more, cells[0] + cells[2], reps).astype(float)
                pairs1, pairs0 = yf + f, n - yf - f
                share = (pairs1 + tilde) / (n + more)
                _, low, high = mover_wilson(yf, pairs1, y, pairs0, share, total=n + more)
                # PPI++ from the same counts: its moments are those of the 2 x 2 table.
                my, mf = (yf + y) / n, pairs1 / n
                vf, vy = mf * (1 - mf) * n / (n - 1), my * (1 - my) * n / (n - 1)
                cov = (yf / n - my * mf) * n / (n - 1)
                lam = np.clip(
                    np.where(vf > 0, cov / np.maximum((1 + n / more) * vf, 1e-12), 0), 0, 1
                )
                mt = tilde / more
                theta = lam * mt + my - lam * mf
                var = lam**2 * mt * (1 - mt) / (more - 1)
                var += np.maximum(vy - 2 * lam * cov + lam**2 * vf, 0) / n
                plain = np.abs(theta - p) <= z * np.sqrt(var)
                key = f"p={p}, n={n}, sens=spec={right}"
                rows.append(
                    {
                        "check": f"MOVER-Wilson, {key}",
                        "value": np.mean((low <= p) & (p <= high)),
                        "bound": ">= .93",
                    }
                )
                rows.append({"check": f"plain PPI++, {key}", "value": plain.mean(),
                             "bound": None})  # fmt: skip
    for p, right in ((0.1, 0.95), (0.5, 0.85), (0.9, 0.85), (0.9, 0.5)):
        hit = saved = 0.0
        few = max(reps // 20, 20)
        for _ in range(few):
            real = (rng.random(30) < p).astype(float)
            paired = np.where(rng.random(30) < right, real, 1 - real)
            fresh = rng.random(500) < p
            imagined = np.where(rng.random(500) < right, fresh, ~fresh).astype(float)
            found = combine(real, paired, imagined)
            hit += found.estimate.low <= p <= found.estimate.high  # type: ignore[operator]
            saved += found.share_saved
        rows.append({"check": f"combine (with its fall-back), p={p}, n=30, sens=spec={right}",
                     "value": hit / few, "bound": ">= .93"})  # fmt: skip
    for slope in (0.0, 0.7, 1.0):
        few, hit = max(reps // 20, 20), 0.0
        for _ in range(few):
            hard = rng.beta(2, 2, 230)
            noise = rng.beta(2, 2, 230)
            imagined = slope * hard + (1 - slope) * noise
            found = combine(hard[:30], imagined[:30], imagined[30:])
            hit += found.estimate.low <= 0.5 <= found.estimate.high  # type: ignore[operator]
        rows.append({"check": f"combine, graded scores, n=30, weight {slope}",
                     "value": hit / few, "bound": ">= .95"})  # fmt: skip
    return rows


def judge(rng: np.random.Generator, reps: int) -> list[Row]:
    """Rogan-Gladen with 50 labels of each kind."""
    rows = []
    for p in (0.1, 0.5, 0.9):
        for right in (0.7, 0.85, 0.95):
            hit = 0.0
            for _ in range(reps // 4):
                tp, tn = rng.binomial(50, right, 2)
                said = rng.binomial(200, p * right + (1 - p) * (1 - right)) / 200
                table = Confusion(true_positive=int(tp), false_negative=int(50 - tp),
                                  true_negative=int(tn), false_positive=int(50 - tn))  # fmt: skip
                found = rogan_gladen(float(said), 200, table)
                hit += found.low is None or found.low <= p <= (found.high or 1.0)
            rows.append({"check": f"Rogan-Gladen, p={p}, sens=spec={right}",
                         "value": hit / (reps // 4), "bound": ">= .93"})  # fmt: skip
    return rows


def sequential(rng: np.random.Generator, reps: int) -> list[Row]:
    """A look after each of 200 pairs: the betting test against a z-test; and power."""
    rows = []
    slack = 2 * np.sqrt(ALPHA * (1 - ALPHA) / reps)
    for p in (0.5, 0.1):
        d = differences(rng, p, p, reps)
        wrong = betting.paired_test(d).rejected(ALPHA).mean()
        rows.append({"check": f"betting test, type-I error, p={p}", "value": wrong,
                     "bound": f"<= {ALPHA + slack:.4f}"})  # fmt: skip
    d = differences(rng, 0.5, 0.5, reps)
    i = np.arange(1, 201)
    mean, square = np.cumsum(d, axis=1) / i, np.cumsum(d**2, axis=1) / i
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.abs(mean) / np.sqrt(np.maximum(square - mean**2, 0) / i)
    wrong = (np.nan_to_num(z, posinf=0)[:, 9:] > 1.96).any(axis=1).mean()
    rows.append({"check": "z-test looked at after each pair from the 10th, type-I error",
                 "value": wrong, "bound": ">= .30"})  # fmt: skip
    power = betting.paired_test(differences(rng, 0.5, 0.7, reps)).rejected(ALPHA).mean()
    rows.append({"check": "betting test, power, .5 vs .7 within 200 pairs", "value": power,
                 "bound": ">= .85"})  # fmt: skip
    return rows


def differences(
    rng: np.random.Generator, first: float, second: float, reps: int, n: int = 200
) -> np.ndarray:
    """Paired differences of independent binary outcomes."""
    a, b = rng.random((2, reps, n))
    return (a < first).astype(float) - (b < second)


def family(rng: np.random.Generator, reps: int) -> list[Row]:
    """Eight identical policies: is any pair of letters different?"""
    rows = []
    few = max(reps // 10, 50)
    bound = f"<= {ALPHA + 2 * np.sqrt(ALPHA * (1 - ALPHA) / few):.4f}"
    for p, starts in ((0.5, 40), (0.9, 100)):
        wrong, wrong_mcnemar, missed = 0, 0, 0
        for _ in range(few):
            found = compare_all(binary_units(rng.random((8, 1, starts)) < p))
            wrong += any(c.separated for c in found)
            missed += any(c.difference.low > 0 or c.difference.high < 0 for c in found)  # type: ignore[operator]
            wrong_mcnemar += holm(np.array([c.p_mcnemar or 1.0 for c in found])).min() <= ALPHA
        key = f"8 identical policies, p={p}, {starts} starts"
        rows.append({"check": f"letters differ, {key}", "value": wrong / few, "bound": bound})
        rows.append({"check": f"a simultaneous interval misses, {key}", "value": missed / few,
                     "bound": bound})  # fmt: skip
        rows.append({"check": f"McNemar with Holm rejects, {key}", "value": wrong_mcnemar / few,
                     "bound": bound})  # fmt: skip
    return rows


def adaptive(rng: np.random.Generator, reps: int) -> list[Row]:
    """Intervals after the allocation chose where to look and when to stop."""
    true = np.array([0.2, 0.4, 0.5, 0.7])
    few = max(reps // 40, 20)
    hit = naive = best = 0.0
    for _ in range(few):
        spent = spending.until_leader(
            lambda k, n: (rng.random(n) < true[k]).astype(float),
            policies=4, budget=400, rng=rng,
        )  # fmt: skip
        hit += all(
            e.low <= p <= e.high  # type: ignore[operator]
            for e, p in zip(spent.estimates, true, strict=True)
        )
        naive += all(
            low <= p <= high
            for (low, high), p in zip(
                (rates.wilson(x.sum(), len(x)) for x in spent.outcomes), true, strict=True
            )
        )
        best += spent.leader in (None, 3)
    return [
        {"check": "top-two Thompson: all four confidence sequences cover", "value": hit / few,
         "bound": ">= .95"},
        {"check": "top-two Thompson: all four Wilson intervals cover", "value": naive / few,
         "bound": None},
        {"check": "top-two Thompson: the leader, if any, is the best", "value": best / few,
         "bound": ">= .95"},
    ]  # fmt: skip


def ranking_agreement(rng: np.random.Generator, reps: int) -> list[Row]:
    """Intervals of agreement, for shared and for separate starts and for a perfect evaluator."""
    rows = []
    of = {
        "pearson_starts": measures.pearson,
        "spearman_starts": measures.spearman,
        "kendall": measures.kendall,
        "mmrv": lambda s, r: measures.mmrv(predicted=s, real=r),
        "top1_regret": measures.top_regret,
        "bias": lambda s, r: (s - r).mean(),
    }
    few = max(reps // 25, 10)
    for k, tasks, starts, error in ((20, 3, 40, 0.0), (20, 3, 40, 0.15), (8, 1, 50, 0.15)):
        for shared in (True, False):
            hit = dict.fromkeys(of, 0.0)
            for _ in range(few):
                r = np.clip(rng.uniform(0.05, 0.95, (k, 1)) + rng.normal(0, 0.05, (k, tasks)), 0, 1)
                s = np.clip(r + rng.normal(0, error, (k, tasks)), 0, 1)
                luck = rng.random((k, tasks, starts))
                other = luck if shared else rng.random((k, tasks, starts))
                found = agreement_of_units(
                    binary_units(other < s[..., None]), binary_units(luck < r[..., None]),
                    lineage={}, rng=rng, draws=400,
                )  # fmt: skip
                for name, measure in of.items():
                    true = float(measure(s.mean(axis=1), r.mean(axis=1)))
                    e = getattr(found, name)
                    hit[name] += e.low - 1e-9 <= true <= e.high + 1e-9
            kind = "shared" if shared else "separate"
            for name, count in hit.items():
                rows.append({"check": f"{name}, {k} policies, {tasks} x {starts} {kind} starts, "
                             f"evaluator error {error}", "value": count / few,
                             "bound": None if name == "bias" else ">= .92"})  # fmt: skip
    return rows


def binary_units(success: np.ndarray) -> Units:
    """Units of one binary trial per start."""
    k, tasks, starts = success.shape
    return Units(
        policies=tuple(f"p{i}" for i in range(k)),
        tasks=tuple(f"t{i}" for i in range(tasks)),
        starts=tuple(tuple(map(str, range(starts))) for _ in range(tasks)),
        mean=success.astype(float),
        trials=np.ones(success.shape, dtype=int),
        binary=True,
    )


CHECKS: dict[str, Callable[[np.random.Generator, int], list[Row]]] = {
    "binomial": binomial,
    "clustered": clustered,
    "scores": scores,
    "prediction-powered": prediction_powered,
    "judge": judge,
    "sequential": sequential,
    "family": family,
    "adaptive": adaptive,
    "agreement": ranking_agreement,
    **coverage_policies.CHECKS,
}


def holds(row: Row) -> bool | None:
    """Whether a row meets its bound; None where it has none."""
    if row["bound"] is None:
        return None
    sign, number = row["bound"].split()
    return bool(row["value"] >= float(number) if sign == ">=" else row["value"] <= float(number))


def main() -> None:
    """Run the checks, print them, write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=CHECKS, nargs="*")
    asked = parser.parse_args()
    rows, begun = [], time.perf_counter()
    # Before the first check: a commit made meanwhile is not what ran.
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    for number, (name, check) in enumerate(CHECKS.items()):
        if asked.only and name not in asked.only:
            continue
        for row in check(np.random.default_rng([asked.seed, number]), asked.reps):
            row = {"group": name, **row, "value": round(float(row["value"]), 4)}
            rows.append(row | {"holds": holds(row)})
            mark = {True: "ok  ", False: "FAIL", None: "    "}[rows[-1]["holds"]]
            print(f"{mark} {row['value']:.4f} {row['bound'] or '':10} {row['check']}", flush=True)
    if asked.out:
        now = {
            "command": " ".join(["python", *sys.argv]),
            "seed": asked.seed,
            "reps": asked.reps,
            "commit": commit or None,
            "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
            "seconds": round(time.perf_counter() - begun, 1),
        }
        earlier = read_json(asked.out) if asked.only and asked.out.is_file() else {}
        kept = [each for each in earlier.pop("rows", []) if each["group"] not in asked.only]
        if not kept:
            write_json(asked.out, {**now, "rows": rows})
        else:  # some groups anew: how the others were measured stays beside them
            before = [*earlier.pop("before", []), earlier]
            write_json(asked.out, {**now, "before": before, "rows": [*kept, *rows]})


if __name__ == "__main__":
    main()
