"""The numbers in README are those of `benchmarks/results/`, and it fits its first screens."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
RANKING = json.loads((ROOT / "benchmarks/results/ranking.json").read_text())
IMPROVED = json.loads((ROOT / "benchmarks/results/improve.json").read_text())


def cells(row: str) -> list[str]:
    """The cells of the table row that begins with `row`."""
    line = next(line for line in README.splitlines() if line.startswith(f"| {row} |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


def rounded(value: float, digits: int = 3) -> str:
    """As README writes numbers below 1: `.971`."""
    return f"{value:.{digits}f}".removeprefix("0")


@pytest.mark.parametrize(
    ("row", "measure"),
    [
        ("Pearson, policy means", "pearson"),
        ("Spearman, policy means", "spearman"),
        ("MMRV (0 is best)", "mmrv"),
    ],
)
def test_agreement_is_that_of_the_results(row: str, measure: str) -> None:
    imagined, ceiling, validation = cells(row)
    found = RANKING["agreement"]
    assert imagined.split()[0] == rounded(found[measure]["value"])
    assert ceiling == rounded(found["ceiling"][measure]["value"])
    assert validation == rounded(RANKING["baselines"]["log_validation_mse"][measure])


def test_errors_and_gates_are_those_of_the_results() -> None:
    said = {
        "Spearman within task": RANKING["within_task_spearman"],
        "absolute error of one policy on one task": RANKING["cell_mae"],
        "recorded failures that are replayed as successes": RANKING["gates"]["false_success"][
            "value"
        ],
    }
    assert {row: cells(row)[0].split()[0] for row in said} == {
        row: rounded(value) for row, value in said.items()
    }


@pytest.mark.parametrize("method", ["sft", "rl"])
def test_improvements_are_those_of_the_results(method: str) -> None:
    rows = [row for row in IMPROVED["rows"] if row["method"] == method]
    assert len(rows) == 4
    for row in rows:
        said = cells(row["task"].removesuffix("-v3"))
        assert said[0] == rounded(row["before"]["value"], 2)
        assert said[1 if method == "sft" else 2] == rounded(row["after"]["value"], 2)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 130


def test_every_file_that_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links and not [link for link in links if not (ROOT / link).exists()]
