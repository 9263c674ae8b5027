"""Does the printed interval of a true rate cover it, and do real trials follow from it well?

    python benchmarks/predictive.py [--out benchmarks/results/predictive.json]

Reads the rates of the development and test policies that were kept with the results, and
the passport in `models/judge`. Coverage is counted for the measured rate itself, and allowing for
its own noise (the Beta(1/2, 1/2) posterior of 100 trials inside the interval). Seeded; under a
minute.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from worldeval.evaluate.known import read_known
from worldeval.files import write_json
from worldeval.stats import RateWorth, ValidatedRate, ValidatedRates, conformal, fit_worth
from worldeval.stats.adviser import begin, simulate, uninformed
from worldeval.stats.predictive import draw_true_rates, order_probability

HERE = Path(__file__).parent
TRIALS = 100  # of every policy, in the simulator
DRAWS = 8000
SURE = 0.975


def policies_of(path: Path) -> list[ValidatedRate]:
    """The policies of a kept result, with their lineages."""
    details = json.loads(path.read_text())["agreement_details"]
    return [
        ValidatedRate(
            policy=name,
            lineage=name.split("/")[0],
            predicted=pair["predicted"],
            successes=float(round(pair["real"] * TRIALS)),
            trials=TRIALS,
        )
        for name, pair in details["policies"].items()
    ]


def judged(rates: list[ValidatedRate], worths: list[RateWorth]) -> dict[str, float]:
    """Coverage and width of the intervals, and the order of the pairs that are separated."""
    rng = np.random.default_rng(0)
    seen = np.tile([rate.predicted for rate in rates], (DRAWS, 1))
    drawn = draw_true_rates(seen, worths, rng=rng)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    won = np.array([rate.successes for rate in rates])
    true = won / TRIALS
    posterior = beta(won + 0.5, TRIALS - won + 0.5)
    order = order_probability(drawn)
    first, second = np.nonzero(order >= SURE)
    best = (drawn.argmax(axis=1)[:, None] == np.arange(len(rates))).mean(axis=0)
    return {
        "policies": len(rates),
        "coverage": float(((low <= true) & (true <= high)).mean()),
        "coverage_allowing_for_noise": float((posterior.cdf(high) - posterior.cdf(low)).mean()),
        "width": float((high - low).mean()),
        "pairs": len(rates) * (len(rates) - 1) // 2,
        "separated": len(first),
        "separated_in_the_wrong_order": int((true[first] < true[second]).sum()),
        "p_best_of_the_truly_best": float(best[true >= true.max()].sum()),
    }


def left_out(rates: list[ValidatedRate], *, corrected: bool) -> list[RateWorth]:
    """For every policy the worth fitted to the other lineages."""
    known = ValidatedRates(rates=tuple(rates), corrected=corrected)
    worths = [known.worth(rate.lineage) for rate in rates]
    return [worth for worth in worths if worth is not None]


def trials_needed() -> dict[str, Any]:
    """Real trials until the choice is within .05 of the best in 90% of drawn worlds."""
    out: dict[str, Any] = {}
    for policies in (5, 10):
        rng = np.random.default_rng(policies)
        seen = rng.uniform(0.2, 0.9, (2000, policies))
        for name, phi in (("as validated", 18.0), ("poor", 4.0)):
            true = rng.beta(seen * phi, (1 - seen) * phi)
            for how, belief, block in (
                ("gradient", begin(seen, 6.0), 5),
                ("top-two", uninformed(*seen.shape), 1),
                ("uniform", uninformed(*seen.shape), 1),
            ):
                curve = simulate(true, belief, how=how, trials=500, block=block, rng=rng)
                key = f"{policies} policies, imagination {name}"
                out.setdefault(key, {})[how] = curve.needed(0.05, 0.9)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "results/predictive.json")
    known = read_known(HERE.parent / "models/judge")
    assert known is not None
    test = policies_of(HERE / "results/ranking.json")
    dev = fit_worth(known.rates, corrected=known.corrected)
    found = {
        "worth": dev.trials.record(),
        "test policies, worth of the development policies": judged(test, [dev] * len(test)),
        "test policies, each lineage left out": judged(test, left_out(test, corrected=True)),
        "development policies, each lineage left out": judged(
            list(known.rates), left_out(list(known.rates), corrected=known.corrected)
        ),
        "conformal, 90%, 11 test lineages": vars(conformal(test, level=0.9)),
        "real trials needed": trials_needed(),
    }
    write_json(parser.parse_args().out, found)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
