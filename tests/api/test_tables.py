"""Tables of a summary with known numbers."""

from io import StringIO

from rich.console import Console, RenderableType

from worldeval.api.tables import combined_table, difference_table
from worldeval.runs.summary import Summary
from worldeval.stats import Estimate

SUMMARY = Summary(
    beyond_baselines={
        "validation_mse": {
            "pearson": Estimate(value=0.1, low=-0.05, high=0.2),
            "mmrv": Estimate(value=-0.04, low=-0.1, high=0.01),
        },
        "training_step": {"pearson": Estimate(value=0.4, low=0.1, high=0.9)},
    },
    shrunk={
        "worse": Estimate(value=0.3, low=0.2, high=0.4, n=10),
        "better": Estimate(value=0.7, low=0.5, high=0.9, n=5),
    },
)


def lines(table: RenderableType) -> list[list[str]]:
    """The cells of every row of a printed table."""
    console = Console(width=120, record=True, file=StringIO())
    console.print(table)
    rows = [line for line in console.export_text().splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in row.strip("│").split("│")] for row in rows]


def test_imagination_minus_each_baseline() -> None:
    assert lines(difference_table(SUMMARY)) == [
        ["Pearson", "0.100 [-0.05, 0.20]", "0.400 [0.10, 0.90]"],
        ["MMRV (less is better)", "-0.040 [-0.10, 0.01]", ""],
    ]


def test_combined_rates_best_first_with_their_trials() -> None:
    assert lines(combined_table(SUMMARY)) == [
        ["better", "0.700 [0.50, 0.90]", "5"],
        ["worse", "0.300 [0.20, 0.40]", "10"],
    ]
