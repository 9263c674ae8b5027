"""The coverage benchmark with few repetitions: each bound that it states, with room for chance."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"


@pytest.fixture(scope="module")
def coverage() -> ModuleType:
    spec = importlib.util.spec_from_file_location("coverage_benchmark", PATH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    [
        "clustered",
        "scores",
        "prediction-powered",
        "judge",
        "sequential",
        "family",
        "uneven",
        "plans",
    ],
)
def test_bounds_hold(coverage: ModuleType, name: str) -> None:
    rows = coverage.CHECKS[name](np.random.default_rng(0), 100)
    assert rows
    for row in rows:
        if row["bound"] is not None:
            sign, number = row["bound"].split()
            slack = 0.1  # 4 standard errors of a rate near .93 over 100 repetitions
            miss = float(number) - row["value"] if sign == ">=" else row["value"] - float(number)
            assert miss <= slack, row


def test_plain_ppi_fails_near_one(coverage: ModuleType) -> None:
    rows = coverage.prediction_powered(np.random.default_rng(0), 400)
    plain = [r["value"] for r in rows if r["check"].startswith("plain PPI++, p=0.97, n=20")]
    assert len(plain) == 4 and max(plain) < 0.75
