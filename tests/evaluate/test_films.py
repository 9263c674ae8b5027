"""Which roll-outs are filmed: telling ones, and a success and a failure of every policy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.synthetic_run import moving_square
from worldeval.evaluate.films import JOB, MOST, Simulated, _by_task, choose, keep, not_filmed
from worldeval.runs.films import Filmstrip, Moves, read_filmstrips

TASKS = ("open", "close")


def outcomes(scores: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    """Scores of every policy, by turns of the tasks."""
    return pd.DataFrame(
        {
            "policy": policy,
            "task": TASKS[place % 2],
            "start": f"{TASKS[place % 2]}-{place}",
            "seed": place,
            "score": score,
        }
        for policy, own in scores.items()
        for place, score in enumerate(own)
    )


def real(table: pd.DataFrame) -> pd.DataFrame:
    """Imagination is right everywhere."""
    return table.assign(success=(table["score"] >= 0.5).astype(int))


MIXED = {f"p{i}": (0.9, 0.1, 0.6, 0.4, 0.7) for i in range(12)}


@pytest.mark.parametrize("with_truth", [True, False])
def test_every_policy_has_a_judged_success_and_failure_where_there_is_one(with_truth: bool) -> None:
    table = outcomes({**MIXED, "never": (0.2, 0.1, 0.3), "always": (0.8, 0.9)})
    rows = choose(table, real(table) if with_truth else None)
    kinds = {(row["policy"], row["score"] >= 0.5) for row in rows}
    wanted = {(policy, kind) for policy in MIXED for kind in (True, False)}
    assert kinds == wanted | {("never", False), ("always", True)}
    assert all(("success" in row) == with_truth for row in rows)
    assert len({(row["policy"], row["start"]) for row in rows}) == len(rows)  # none twice


def test_the_clearest_of_a_policy_is_taken_and_tasks_are_varied() -> None:
    rows = choose(outcomes(MIXED), None)[-12:]
    tasks = [row["task"] for row in rows]
    assert 4 <= tasks.count("open") <= 8
    assert {row["score"] for row in rows} <= {0.9, 0.1, 0.4}  # the surest of each task and kind


def test_no_more_are_made_than_asked_for_or_than_is_sensible() -> None:
    many = outcomes({f"p{i}": (0.9, 0.1) for i in range(80)})
    assert len(choose(many, None)) == MOST
    assert len(choose(many, None, count=3)) == 3
    assert choose(many, None, count=0) == []


def test_what_is_kept_is_not_filmed_again(tmp_path: Path) -> None:
    table = outcomes({"a": (0.9, 0.1)})
    first, second = rows = choose(table, None)
    entry = Filmstrip(
        policy=first["policy"],
        task=first["task"],
        start=first["start"],
        seed=first["seed"],
        probability=first["score"],
        success=None,
    )
    frames = {"side": moving_square(2)}
    keep(tmp_path, entry, frames, None)
    assert not_filmed(tmp_path, rows, real=False) == [second]
    assert not_filmed(tmp_path, [{**first, "score": 0.4}], real=False)  # judged anew
    assert not_filmed(tmp_path, rows, real=True) == rows
    moves = Moves(actions=np.zeros((1, 4), np.float32), pose=np.zeros((2, 4), np.float32))
    keep(tmp_path, entry, frames, Simulated(frames=frames, moves=moves))
    assert not_filmed(tmp_path, rows, real=True) == [second]
    assert len(read_filmstrips(tmp_path / "filmstrips")) == 1


def test_a_process_has_one_task_and_every_episode_runs_once() -> None:
    chosen = [(f"p{i}", task, seed) for i in range(5) for task in TASKS for seed in (0, 1)]
    jobs = list(_by_task([*chosen, *chosen]))
    assert sorted((ref, task, seed) for task, own in jobs for ref, seed in own) == sorted(chosen)
    assert max(len(own) for _, own in jobs) == JOB
