"""Do the printed intervals, P(best) and separations hold for policies that nothing was fitted to?

    worldeval policy train policies-fresh --data RUNS/data --out runs/policies/fresh
    worldeval rank metaworld-fresh --truth --films 0 --out runs/fresh
    python benchmarks/fresh.py runs/fresh [--out benchmarks/results/fresh.json]

`runs/fresh` holds policies of lineages that took no part in the world model, the judge or its
correction, each imagined and tried from the same starts. The worth of an imagined rate (phi) is the
one shipped with the judge, fitted to the development policies. Counted here:

- coverage and width of the interval of the true rate;
- P(best) in ten bins against the frequency with which that policy was best, over random sets of
  three to eight policies and random subsets of the starts;
- pairs separated in the wrong order, against the number of imagined starts. Numbers beyond those
  imagined draw the starts with replacement.

"Best" and "wrong order" mean the measured rates, and once more with the noise of the measurement
allowed for: true rates are drawn from their posterior given the trials. Seeded.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.evaluate.known import read_known
from worldeval.files import write_json
from worldeval.runs.episodes import read_episodes
from worldeval.stats import RateWorth, ValidatedRates, fit_worth
from worldeval.stats.best import probability_best
from worldeval.stats.predictive import (
    ValidatedRate,
    draw_true_rates,
    order_probability,
)

HERE = Path(__file__).parent
DRAWS = 2000
SETS = 3000  # random sets of policies
SURE = 0.975
STARTS = (5, 10, 20, 40, 120)  # imagined starts of each task


@dataclass(frozen=True)
class Tried:
    """Policies imagined and tried from the same starts."""

    policies: tuple[str, ...]
    lineages: tuple[str, ...]
    score: np.ndarray  # (policies, tasks, starts), imagined probability of success
    success: np.ndarray  # (policies, tasks, starts), measured

    @property
    def real(self) -> np.ndarray:
        """Return the measured rates (policies,)."""
        return self.success.mean(axis=(1, 2))

    def rates(self) -> list[ValidatedRate]:
        """Return every policy as a validated rate."""
        trials = self.success[0].size
        return [
            ValidatedRate(
                policy=name,
                lineage=lineage,
                predicted=float(self.score[k].mean()),
                successes=float(self.success[k].sum()),
                trials=trials,
            )
            for k, (name, lineage) in enumerate(zip(self.policies, self.lineages, strict=True))
        ]


def read(run: Path) -> Tried:
    """Read a run with imagined and measured outcomes of all episodes."""
    table = read_episodes(run).table
    policies, tasks = sorted(table["policy"].unique()), sorted(table["task"].unique())
    table = table.sort_values(["policy", "task", "start"])
    shape = (len(policies), len(tasks), -1)
    return Tried(
        policies=tuple(policies),
        lineages=tuple(name.split("/")[0] for name in policies),
        score=table["score"].to_numpy(float).reshape(shape),
        success=table["real"].to_numpy(float).reshape(shape),
    )


def imagined_rates(score: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw the rates that more imagined starts would converge to, as `rank` does (draws, k)."""
    weight = rng.standard_exponential((DRAWS, *score.shape[1:]))
    won, lost = rng.standard_gamma(0.5, (2, DRAWS, *score.shape[:2]))
    total = np.einsum("btn,ktn->bkt", weight, score) + won
    return (total / (weight.sum(axis=2)[:, None] + won + lost)).mean(axis=2)


def true_rates(tried: Tried, rng: np.random.Generator) -> np.ndarray:
    """Draw one set of true rates from the posterior of the measurement (k,)."""
    trials = tried.success.shape[2]
    won = tried.success.sum(axis=2)
    return rng.beta(won + 0.5, trials - won + 0.5).mean(axis=1)


def calibration(tried: Tried, worth: RateWorth) -> list[dict[str, float]]:
    """Compare P(best) with its frequency in ten bins, over random sets of policies and starts."""
    rng = np.random.default_rng(0)
    said, measured, allowed = [], [], []
    tasks, starts = tried.score.shape[1:]
    for _ in range(SETS):
        chosen = rng.choice(len(tried.policies), size=rng.integers(3, 9), replace=False)
        seen = np.stack(
            [rng.choice(starts, size=rng.integers(5, starts + 1), replace=False)] * tasks
        )
        score = np.take_along_axis(tried.score[chosen], seen[None], axis=2)
        drawn = worth.draw(imagined_rates(score, rng), rng=rng)
        said.append(probability_best(drawn))
        for real, out in ((tried.real, measured), (true_rates(tried, rng), allowed)):
            first = real[chosen] == real[chosen].max()
            out.append(first / first.sum())
    flat, first, true = (np.concatenate(each) for each in (said, measured, allowed))
    bins = np.minimum((flat * 10).astype(int), 9)
    return [
        {
            "from": each / 10,
            "cases": int((bins == each).sum()),
            "said": float(flat[bins == each].mean()),
            "measured_best": float(first[bins == each].mean()),
            "truly_best": float(true[bins == each].mean()),
        }
        for each in range(10)
        if (bins == each).any()
    ]


def wrong_order(tried: Tried, worth: RateWorth, starts: int) -> dict[str, float]:
    """Count pairs separated in the wrong order, with so many imagined starts per task."""
    rng = np.random.default_rng(starts)
    have = tried.score.shape[2]
    pairs = separated = wrong = truly = 0.0
    repeats = 10
    for _ in range(repeats):
        seen = rng.choice(have, size=starts, replace=starts > have)
        drawn = worth.draw(imagined_rates(tried.score[:, :, seen], rng), rng=rng)
        order = order_probability(drawn)
        first, second = np.nonzero(order >= SURE)
        real, true = tried.real, true_rates(tried, rng)
        pairs += len(real) * (len(real) - 1) / 2
        separated += len(first)
        wrong += (real[first] < real[second]).sum()
        truly += (true[first] < true[second]).sum()
    return {
        "starts_per_task": starts,
        "pairs": pairs / repeats,
        "separated": separated / repeats,
        "wrong_order_measured": wrong / repeats,
        "wrong_order_truly": truly / repeats,
        "wrong_share_of_separated": float(truly / max(separated, 1)),
    }


def intervals(tried: Tried, worths: Sequence[RateWorth]) -> dict[str, float]:
    """Coverage and width of the printed interval of the true rate, per policy and in the mean."""
    rng = np.random.default_rng(0)
    drawn = draw_true_rates(imagined_rates(tried.score, rng), worths, rng=rng)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    true = np.stack([true_rates(tried, rng) for _ in range(DRAWS)])
    inside = (low <= tried.real) & (tried.real <= high)
    by_lineage = [inside[np.array(tried.lineages) == name].mean() for name in set(tried.lineages)]
    return {
        "policies": len(tried.policies),
        "lineages": len(set(tried.lineages)),
        "coverage": float(inside.mean()),
        "coverage_of_lineages": float(np.mean(by_lineage)),
        "coverage_allowing_for_noise": float(((low <= true) & (true <= high)).mean()),
        "width": float((high - low).mean()),
    }


def left_out(tried: Tried, known: ValidatedRates) -> list[RateWorth]:
    """For every policy the worth fitted to `known` and to the other lineages of `tried`."""
    every = ValidatedRates(rates=(*known.rates, *tried.rates()), corrected=known.corrected)
    found = [every.worth(lineage) for lineage in tried.lineages]
    return [worth for worth in found if worth is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=HERE / "results/fresh.json")
    args = parser.parse_args()
    tried, known = read(args.run), read_known(HERE.parent / "models/judge")
    assert known is not None
    worth = fit_worth(known.rates, corrected=known.corrected)
    found: dict[str, Any] = {
        "worth": worth.trials.record(),
        "intervals": intervals(tried, [worth] * len(tried.policies)),
        "intervals, other fresh lineages known too": intervals(tried, left_out(tried, known)),
        "pearson": float(np.corrcoef(tried.score.mean(axis=(1, 2)), tried.real)[0, 1]),
        "p_best": calibration(tried, worth),
        "wrong_order": [wrong_order(tried, worth, starts) for starts in STARTS],
        "policies": [vars(rate) for rate in tried.rates()],
    }
    write_json(args.out, found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
