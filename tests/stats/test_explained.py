"""docs/statistics.md explains every finding and every number of a run."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from worldeval.stats import Agreement

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/statistics.md").read_text()
OF_DATA = {"constant", "outlier"}  # `worldeval data check`
OF_POLICIES = {"cameras", "pictures", "stand"}  # changes that `worldeval policy check` tries


def codes() -> list[str]:
    source = "\n".join(path.read_text() for path in (ROOT / "worldeval").rglob("*.py"))
    plain = set(re.findall(r'code="([a-z_0-9]+)"', source)) - OF_DATA - OF_POLICIES
    return sorted({*plain, "unvalidated_lineage", "unvalidated_task"})


@pytest.mark.parametrize("code", codes())
def test_every_finding_is_explained(code: str) -> None:
    assert f"`{code}`" in TEXT


WORDS = {
    "kendall": "Kendall", "spearman": "Spearman", "pearson": "Pearson", "mmrv": "MMRV",
    "pairwise_accuracy": "pairs ordered correctly", "top1_regret": "top-1 regret",
    "top3_regret": "top-3", "within_task_spearman": "Spearman within a task",
    "midrange_spearman": None, "cell_mae": "of cells", "bias": "bias", "mae": "mean absolute",
    "slope": "slope", "intercept": "intercept", "permutation_p": "permutation p",
    "margin": "margin", "ceiling": "perfect binary evaluator",
    "ceiling_graded": "perfect graded evaluator",
}  # fmt: skip


@pytest.mark.parametrize("name", [field.name for field in fields(Agreement)])
def test_every_measure_of_agreement_is_explained(name: str) -> None:
    if name in ("policies", "tasks", "predicted", "real", "findings"):
        return
    assert (WORDS.get(name) or f"`{name}`") in TEXT


def test_every_gate_and_the_numbers_beside_are_explained() -> None:
    for words in (
        *("Predictive interval", "sampling interval", "P(best)", "Tied groups", "phi", "Conformal"),
        *("Combined rate", "saved", "`shrunk`", "**J**", "Near misses", "Recorded failures"),
        *("Recorded successes", "zeroed or shuffled", "`--test`", "`beyond_baselines`"),
        *("power holds for each such pair", "confidence sequence"),
    ):
        assert words in TEXT, words
