"""Tables become trials, or are refused by row."""

import pandas as pd
import pytest

from worldeval.errors import UserError
from worldeval.stats import from_frame


def test_trials_of_one_start_need_seeds() -> None:
    rows = [("a", "t", 0, seed, 1) for seed in range(3)]
    frame = pd.DataFrame(rows, columns=["policy", "task", "start", "seed", "success"])
    assert len(from_frame(frame)) == 3
    with pytest.raises(UserError, match="row 1 repeats table, row 0"):
        from_frame(frame.drop(columns="seed"))


def test_only_keeps_the_asked_order() -> None:
    frame = pd.DataFrame(
        {"policy": list("abab"), "task": list("ttuu"), "start": 0, "score": [0.1, 0.2, 0.3, 0.4]}
    )
    found = from_frame(frame).only(policies=("b", "a"), tasks=("u",))
    assert found.policies == ("b", "a")
    assert dict(zip(found.policy.tolist(), found.value.tolist(), strict=True)) == {1: 0.3, 0: 0.4}
    with pytest.raises(UserError, match="No policy 'c'"):
        from_frame(frame).only(policies=("c",))


def test_recordings_without_an_instruction_are_outcomes_too() -> None:
    """In a table of our own; a person's table with an empty task is a mistake."""
    table = pd.DataFrame({"policy": ["a", "b"], "task": "", "start": "0", "score": [0.1, 0.9]})
    assert from_frame(table, without_text=True).tasks == ("",)
    with pytest.raises(UserError, match="'task' is empty"):
        from_frame(table)
