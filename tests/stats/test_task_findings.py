"""Findings about tasks with known answers."""

import numpy as np
import pandas as pd
import pytest

from worldeval.stats import Outcomes, from_frame
from worldeval.stats.estimate import Estimate
from worldeval.stats.task_findings import (
    not_beyond_validation,
    objects_unclear,
    rates_do_not_spread,
)


def gain(pearson: tuple[float, float], spearman: tuple[float, float]) -> dict[str, Estimate]:
    """Differences with these intervals."""
    return {
        name: Estimate(value=(low + high) / 2, low=low, high=high)
        for name, (low, high) in {"pearson": pearson, "spearman": spearman}.items()
    }


def test_imagination_that_is_not_shown_to_beat_validation_error_is_named() -> None:
    even = gain((-0.1, 0.2), (-0.2, 0.1))
    (found,) = not_beyond_validation({"log_validation_mse": even, "validation_mse": even})
    assert found.code == "not_beyond_validation" and found.severity == "warning"
    assert "log validation error" in found.text and "[-0.100, 0.200]" in found.text
    assert not not_beyond_validation({"log_validation_mse": gain((0.01, 0.2), (-0.2, 0.1))})
    assert not not_beyond_validation({"training_step": even})  # no validation error is known
    assert not not_beyond_validation({})


def table(rates: dict[str, tuple[float, ...]], *, starts: int = 20) -> Outcomes:
    """Task -> the rates of its policies, which succeed from the first starts."""
    rows = [
        {"policy": f"p{k}", "task": task, "start": f"{c}", "success": int(c < round(p * starts))}
        for task, each in rates.items()
        for k, p in enumerate(each)
        for c in np.random.default_rng(0).permutation(starts)
    ]
    return from_frame(pd.DataFrame(rows))


def test_a_task_on_which_all_policies_succeed_is_named() -> None:
    found = rates_do_not_spread(
        table({"open": (0.2, 0.5, 0.9, 0.4), "push": (1.0, 1.0, 1.0, 1.0)}), measured=True
    )
    assert [each.code for each in found] == ["rates_do_not_spread"]
    assert "On push, the measured rates" in found[0].text and "1.00 to 1.00" in found[0].text


@pytest.mark.parametrize(("width", "named"), [(0.0, True), (0.8, False)])
def test_policies_must_differ_by_more_than_the_noise_of_starts(width: float, named: bool) -> None:
    """Equal policies vary by chance alone; it must not look like a spread."""
    rng = np.random.default_rng(1)
    often = 0
    for _ in range(40):
        rows = [
            {"policy": f"p{k}", "task": "t", "start": str(c),
             "success": int(rng.random() < 0.5 + width * (k / 7 - 0.5))}
            for k in range(8) for c in range(20)
        ]  # fmt: skip
        often += bool(rates_do_not_spread(from_frame(pd.DataFrame(rows)), measured=False))
    assert often >= 34 if named else often == 0


def test_starts_that_are_hard_for_everybody_are_no_noise() -> None:
    """Three policies, each of which succeeds from two more of the same starts than the last."""
    starts = 20
    rows = [
        {"policy": f"p{k}", "task": "t", "start": str(c), "success": int(c < 8 + 2 * k)}
        for k in range(3)
        for c in range(starts)
    ]
    assert not rates_do_not_spread(from_frame(pd.DataFrame(rows)), measured=True)


def test_two_policies_have_no_spread_to_speak_of() -> None:
    assert not rates_do_not_spread(table({"t": (1.0, 1.0)}), measured=True)


def test_objects_that_cannot_be_seen_are_named() -> None:
    clear = {"kept": {"value": 0.9, "low": 0.88, "high": 0.92, "n": 30}, "pixels": 200.0}
    blurred = {"kept": {"value": 0.31, "low": 0.2, "high": 0.4, "n": 30}, "pixels": 30.0}
    small = {"kept": {"value": 0.9, "low": 0.8, "high": 1.0, "n": 30}, "pixels": 7.0}
    unseen = {"kept": None, "pixels": 0.0}
    assert not objects_unclear({"a": clear, "b": blurred}, ["a", "c"])
    (found,) = objects_unclear({"a": clear, "b": blurred, "c": unseen}, ["a", "b", "c"])
    assert found.code == "object_unclear"
    assert "b (c too)" in found.text and "0.31 [0.20, 0.40]" in found.text
    assert "7 pixels" in objects_unclear({"a": small}, ["a"])[0].text
    assert "nothing in its start frames" in objects_unclear({"a": unseen}, ["a"])[0].text
