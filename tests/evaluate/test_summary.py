"""From two tables of outcomes to a summary: keys, baselines, groups and refusals."""

import numpy as np
import pandas as pd

from worldeval.evaluate.gates import Gates, mean
from worldeval.evaluate.summary import summarise, to_json

POLICIES = [f"bc/step-{step}" for step in (1, 2, 3, 4)] + ["slow/step-1", "slow/step-2"]
RATES = dict(zip(POLICIES, (0.1, 0.3, 0.6, 0.9, 0.5, 0.8), strict=True))


def outcomes(column: str, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for policy, rate in RATES.items():
        for task in ("open", "close"):
            for start in range(20):
                hit = rng.random() < rate
                value = int(hit) if column == "success" else 0.9 * hit + 0.05
                rows.append(
                    {
                        "policy": policy,
                        "lineage": policy.split("/")[0],
                        "step": int(policy[-1]),
                        "task": task,
                        "start": f"{task}-{start}",
                        "seed": start,
                        column: value,
                        "mended": 0.0,
                    }
                )
    return pd.DataFrame(rows)


def cards() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "ref": POLICIES,
            "policy": POLICIES,
            "lineage": [policy.split("/")[0] for policy in POLICIES],
            "step": [int(policy[-1]) for policy in POLICIES],
            "misleads": [policy.startswith("slow") for policy in POLICIES],
            "validation_mse": [0.4, 0.2, 0.1, 0.05, 0.9, 0.8],
        }
    )


def gates(false_success: float = 0.05, effect: float = 0.7) -> Gates:
    return Gates(
        false_success=mean(np.full(40, false_success)),
        near_miss_false_success=mean(np.full(20, 0.1)),
        true_success=mean(np.full(40, 0.9)),
        action_effect=mean(np.full(40, effect)),
    )


def test_a_good_imagination_agrees_and_its_keys_are_there() -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    summary = summarise(predicted, real, cards(), gates(), margin=0.1, seed=0)
    content = to_json(summary, cards(), seconds={"imagine_cpu": 24.0}, episodes=len(predicted))
    for key in ("pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret"):
        assert set(content["agreement"][key]) == {"value", "low", "high"}
    assert content["agreement"]["pearson"]["value"] > 0.9
    assert set(content["agreement"]["ceiling"]) == {"pearson", "spearman", "mmrv"}
    assert content["imagined_seconds_per_episode"] == 0.1
    assert (content["policies"], content["lineages"], content["episodes"]) == (6, 2, 240)
    # Validation error orders bc rightly and puts both slow ones last, which is wrong.
    assert content["baselines"]["validation_mse"]["spearman"] < 0.6
    assert content["groups"]["validation_ranks_well"]["policies"] == 4
    assert "validation_misleads" not in content["groups"]  # two policies make no correlation
    assert content["headline"] is None


def test_without_truth_it_is_a_hypothesis() -> None:
    predicted = outcomes("score", np.random.default_rng(0))
    summary = summarise(predicted, None, cards(), None, margin=0.1, seed=0)
    assert summary.headline is not None and "no_paired_truth" in summary.headline


def test_an_optimist_and_a_world_that_ignores_actions_are_refused() -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    blind = summarise(predicted, real, cards(), gates(effect=0.1), margin=0.1, seed=0)
    assert {"actions_ignored"} <= {finding.code for finding in blind.findings}
    rosy = summarise(predicted, real, cards(), gates(false_success=0.5), margin=0.1, seed=0)
    assert rosy.headline is not None and "false_success" in rosy.headline
