# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false
"""Filling a run store: what is done stays done, what broke is no failure, and it all adds up."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.support.toy_store import batch, probability, toy_starts
from worldeval.errors import UserError
from worldeval.evaluate.budget import Spending
from worldeval.evaluate.imagined import ImaginedPart, outcomes
from worldeval.evaluate.workers.jobs import BatchFailed, Job, Result, Shard
from worldeval.evaluate.workers.spread import Alone

STARTS = toy_starts(6)
REFS = {"a": "ref/a", "b": "ref/b"}
CARDS = pd.DataFrame({"policy": ["a", "b"], "lineage": ["a", "b"], "step": [1, 2]})


def imagination(folder: Path, **how) -> ImaginedPart:
    given = {"refs": REFS, "starts": STARTS, "seed": 0, "batch": 4, **how}
    return ImaginedPart(folder=folder, **given)


class Work:
    """Does jobs and remembers which; `fail` says of a job whether it breaks."""

    def __init__(self, fail: Callable[[Job], bool] = lambda job: False) -> None:
        self.jobs: list[Job] = []
        self._fail = fail

    def __call__(self, job: Job) -> Result:
        self.jobs.append(job)
        if self._fail(job):
            return BatchFailed(job=job, error="the server is silent")
        return batch(job, STARTS)

    @property
    def crew(self) -> Alone:
        return Alone(lambda: self)


def test_the_same_again_does_nothing(tmp_path: Path) -> None:
    first, second = Work(), Work()
    assert imagination(tmp_path).work(first.crew).why == "all done"
    table = outcomes(tmp_path / "imagined", CARDS, STARTS)
    imagination(tmp_path).work(second.crew)
    assert (len(first.jobs), len(second.jobs), len(table)) == (6, 0, 24)
    assert list(table["start"][:3]) == ["open-0", "close-0", "open-1"]
    assert table["score"][0] == round(probability("a", "open-0"), 6)


def test_more_policies_and_starts_extend(tmp_path: Path) -> None:
    imagination(tmp_path, refs={"a": "ref/a"}, starts=STARTS[:6]).work(Work().crew)
    work = Work()
    imagination(tmp_path).work(work.crew)
    assert [(job.policy, job.starts) for job in work.jobs] == [
        ("a", (6, 7)), ("a", (8, 9, 10, 11)),
        ("b", (0, 1, 2, 3)), ("b", (4, 5, 6, 7)), ("b", (8, 9, 10, 11)),
    ]  # fmt: skip
    assert len(outcomes(tmp_path / "imagined", CARDS, STARTS)) == 24


def test_what_broke_is_not_failed_and_is_tried_again(tmp_path: Path) -> None:
    broken = imagination(tmp_path)
    broken.work(Work(lambda job: job.policy == "b" and job.starts[0] == 4).crew)
    table = outcomes(tmp_path / "imagined", CARDS, STARTS)
    assert len(table) == 20 and broken.errors == {"b": "the server is silent"}
    (line,) = (tmp_path / "errors.jsonl").read_text().splitlines()
    assert json.loads(line)["starts"] == ["open-2", "close-2", "open-3", "close-3"]
    again = Work()
    imagination(tmp_path).work(again.crew)
    assert [job.starts for job in again.jobs] == [(4, 5, 6, 7)]


def test_a_policy_that_keeps_breaking_does_not_hold_up_the_others(tmp_path: Path) -> None:
    work = Work(lambda job: job.policy == "a")
    imagination(tmp_path, batch=1).work(work.crew)
    assert [job.policy for job in work.jobs] == ["a"] * 4 + ["b"] * 12


def test_a_mistake_ends_the_work_at_once(tmp_path: Path) -> None:
    def mistaken(job: Job) -> Result:
        return BatchFailed(job=job, error="no such task", mistake=True)

    with pytest.raises(UserError, match="no such task"):
        imagination(tmp_path).work(Alone(lambda: mistaken))


def test_a_full_disk_is_told_and_what_is_done_is_kept(tmp_path: Path, monkeypatch) -> None:
    made = imagination(tmp_path)
    add, kept = made.store.add, []

    def full(name: str, packed: bytes) -> None:
        if len(kept) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept.append(name)
        add(name, packed)

    monkeypatch.setattr(made.store, "add", full)
    with pytest.raises(UserError, match=r"full.*same command again"):
        made.work(Work().crew)
    assert len(imagination(tmp_path).done) == 8


def test_shards_together_are_the_whole(tmp_path: Path) -> None:
    for index in range(2):
        part = tmp_path / f"part-{index}"
        imagination(part, shard=Shard(index=index, count=2)).work(Work().crew)
        for path in (part / "imagined").iterdir():
            (tmp_path / "imagined").mkdir(exist_ok=True)
            path.rename(tmp_path / "imagined" / path.name)
    whole, work = imagination(tmp_path / "whole"), Work()
    whole.work(Work().crew)
    imagination(tmp_path).work(work.crew)
    assert work.jobs == []
    pd.testing.assert_frame_equal(
        outcomes(tmp_path / "imagined", CARDS, STARTS),
        outcomes(tmp_path / "whole/imagined", CARDS, STARTS),
    )


def test_no_time_means_nothing_is_done(tmp_path: Path) -> None:
    work = Work()
    spent = imagination(tmp_path, spending=Spending(minutes=0.0)).work(work.crew)
    assert (work.jobs, spent.why) == ([], "time is up")
    with pytest.raises(UserError, match="no roll-out"):
        outcomes(tmp_path / "imagined", CARDS, STARTS)


def test_adaptive_work_is_the_same_after_a_break(tmp_path: Path) -> None:
    spending = Spending(allocate="top-two", rollouts=20)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    imagination(whole, spending=spending).work(Work().crew)
    with pytest.raises(RuntimeError):
        imagination(broken, spending=spending).work(Work().crew, progress=_stop_at_two())
    imagination(broken, spending=spending).work(Work().crew)
    names = [sorted(path.name for path in (run / "imagined").iterdir()) for run in (whole, broken)]
    assert names[0] == names[1]
    assert len(imagination(whole).done) <= 20


def _stop_at_two() -> Callable[[Result], None]:
    seen = []

    def progress(result: Result) -> None:
        seen.append(result)
        if len(seen) == 2:
            raise RuntimeError

    return progress


def test_shards_cannot_decide_by_outcomes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Shards do not see"):
        imagination(
            tmp_path, shard=Shard(index=0, count=2), spending=Spending(stop_when_separated=True)
        )
