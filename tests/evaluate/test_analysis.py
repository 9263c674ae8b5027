"""From two tables of outcomes to an analysis: keys, baselines, groups and refusals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from worldeval.errors import UserError
from worldeval.evaluate.analysis import Analysis, analyse, to_json
from worldeval.evaluate.gates import Gates, mean
from worldeval.evaluate.validated import read_validated
from worldeval.files import write_json
from worldeval.stats import confusion, informativeness

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


def gates(false_success: float = 0.05, effect: float = 0.7, right: int = 36) -> Gates:
    """`right` of 40 successes and of 40 failures were judged so."""
    judged = [True] * right + [False] * 40 + [True] * (40 - right)
    return Gates(
        false_success=mean(np.full(40, false_success)),
        near_miss_false_success=mean(np.full(20, 0.1)),
        true_success=mean(np.full(40, 0.9)),
        action_effect=mean(np.full(40, effect)),
        informativeness=informativeness(confusion([True] * 40 + [False] * 40, judged)),
    )


def test_a_good_imagination_agrees_and_its_keys_are_there() -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    analysis = analyse(predicted, real, cards(), gates(), margin=0.1, seed=0)
    content = to_json(analysis, cards(), seconds={"imagine_cpu": 24.0}, episodes=len(predicted))
    for key in ("pearson", "spearman", "kendall", "mmrv", "pairwise_accuracy", "top1_regret"):
        assert set(content["agreement"][key]) == {"value", "low", "high"}
    assert content["agreement"]["pearson"]["value"] > 0.9
    assert set(content["agreement"]["ceiling"]) == {"pearson", "spearman", "mmrv"}
    assert content["imagined_seconds_per_episode"] == 0.1
    assert (content["policies"], content["lineages"], content["episodes"]) == (6, 2, 240)
    beyond = content["beyond_baselines"]["validation_mse"]["spearman"]
    assert beyond["low"] <= beyond["value"] <= beyond["high"] and beyond["value"] > 0.3
    # Validation error orders bc rightly and puts both slow ones last, which is wrong.
    assert content["baselines"]["validation_mse"]["spearman"] < 0.6
    assert content["groups"]["validation_ranks_well"]["policies"] == 4
    assert "validation_misleads" not in content["groups"]  # two policies make no correlation
    assert content["headline"] is None


def test_without_truth_it_is_a_hypothesis() -> None:
    predicted = outcomes("score", np.random.default_rng(0))
    analysis = analyse(predicted, None, cards(), None, margin=0.1, seed=0)
    assert analysis.headline is not None and "no_paired_truth" in analysis.headline


def test_an_optimist_and_a_world_that_ignores_actions_are_refused() -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    blind = analyse(predicted, real, cards(), gates(effect=0.1), margin=0.1, seed=0)
    assert {"actions_ignored"} <= {finding.code for finding in blind.findings}
    rosy = analyse(predicted, real, cards(), gates(false_success=0.5), margin=0.1, seed=0)
    assert rosy.headline is not None and "false_success" in rosy.headline


def test_a_judge_that_guesses_is_refused() -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    guess = analyse(predicted, real, cards(), gates(right=22), margin=0.1, seed=0)
    assert guess.headline is not None and "judge_uninformative" in guess.headline


def test_a_judge_blind_to_one_policy_is_named() -> None:
    rng = np.random.default_rng(0)
    real = outcomes("success", rng)
    predicted = real.rename(columns={"success": "score"}).assign(
        score=lambda table: 0.05 + 0.9 * table["score"]
    )
    alike = analyse(predicted, real, cards(), gates(), margin=0.1, seed=0)
    assert "judge_differs_by_policy" not in codes(alike)
    blind = predicted.assign(
        score=predicted["score"].where(predicted["policy"] != POLICIES[3], 0.05)
    )
    differs = analyse(blind, real, cards(), gates(), margin=0.1, seed=0)
    assert codes(differs)["judge_differs_by_policy"] == "warning"


def test_truth_of_some_policies_names_the_others() -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    some = real.loc[(real["lineage"] == "bc") & (real["task"] == "open")]
    analysis = analyse(predicted, some, cards(), gates(), margin=0.1, seed=0)
    assert analysis.agreement is not None and analysis.agreement.policies == tuple(POLICIES[:4])
    texts = {finding.code: finding.text for finding in analysis.findings}
    assert "slow" in texts["unvalidated_lineage"] and "bc" not in texts["unvalidated_lineage"]
    assert "close" in texts["unvalidated_task"]
    assert "no_paired_truth" not in texts


def test_few_real_trials_are_combined_with_many_imagined() -> None:
    rng = np.random.default_rng(0)
    real = outcomes("success", rng)
    twin = real.rename(columns={"success": "score"})
    few = real.loc[real["seed"] < 10]
    analysis = analyse(twin, few, cards(), None, margin=0.1, seed=0)
    assert analysis.combined is not None
    found = analysis.combined.to_json()[POLICIES[1]]
    assert (found["real_starts"], found["imagined_starts"]) == (20, 20)
    # A twin known to be perfect would save half; of 20 pairs nobody knows it.
    assert found["share_saved"] < 0.5
    assert found["trials_saved"] == pytest.approx(
        20 * found["share_saved"] / (1 - found["share_saved"])
    )
    noise = twin.assign(score=rng.permutation(twin["score"]))
    refused = analyse(noise, few, cards(), None, margin=0.1, seed=0)
    assert codes(refused)["real_trials_only"] == "warning"
    assert analyse(twin, real, cards(), None, margin=0.1, seed=0).combined is None


def test_an_earlier_validation_speaks_for_new_policies(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    predicted, real = outcomes("score", rng), outcomes("success", rng)
    earlier = analyse(predicted, real, cards(), gates(effect=0.1), margin=0.1, seed=0)
    content = to_json(earlier, cards(), seconds={}, episodes=1)
    content |= {"world": {"hash": "w1"}, "judge": {"hash": "j1"}}
    write_json(tmp_path / "summary.json", content)
    with pytest.raises(UserError, match="was not compared with measured outcomes"):
        read_validated(tmp_path, world="w1", judge="j1")
    (tmp_path / "outcomes").mkdir()
    real[real["lineage"] == "bc"].to_csv(tmp_path / "outcomes/truth.csv", index=False)
    with pytest.raises(UserError, match=r"another judge \(j1; now j2\)"):
        read_validated(tmp_path, world="w1", judge="j2")
    with pytest.raises(UserError, match="--sampler-steps not set, now 2"):
        read_validated(tmp_path, world="w1", judge="j1", sampler_steps=2)
    known = read_validated(tmp_path, world="w1", judge="j1")
    later = analyse(predicted, None, cards(), None, margin=0.1, seed=0, validated=known)
    said = codes(later)
    assert "no_paired_truth" not in said
    assert {"validated_elsewhere", "unvalidated_lineage"} <= set(said)
    assert later.headline is not None and "actions_ignored" in later.headline  # as it was there


def codes(analysis: Analysis) -> dict[str, str]:
    return {finding.code: finding.severity for finding in analysis.findings}
