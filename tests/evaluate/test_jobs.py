"""The plan of work: what is missing, in batches that do not depend on what is done."""

import numpy as np
import pytest

from worldeval.evaluate.workers.jobs import Job, Shard, by_task, plan
from worldeval.record import Start

REFS = {"a": "ref/a", "b": "ref/b"}


def starts(count: int, tasks: tuple[str, ...] = ("open", "close")) -> list[Start]:
    pose = np.zeros(3, np.float32)
    made = [
        Start(id=f"{task}-{seed}", task=task, seed=seed, frames={}, pose=pose)
        for task in tasks
        for seed in range(count)
    ]
    return by_task(made, tasks)


def jobs(count: int, done: set[tuple[str, str]] = frozenset(), **how) -> list[Job]:  # type: ignore[assignment]
    first = int(how.pop("wanted", 2 * count))
    wanted = {policy: first for policy in REFS}
    given = {"batch": 4, "shard": Shard(), "by_turns": False, **how}
    return list(plan(REFS, starts(count), wanted, done, **given))


def test_starts_take_turns_so_that_more_of_them_come_after() -> None:
    assert [one.id for one in starts(2)] == ["open-0", "close-0", "open-1", "close-1"]
    assert [one.id for one in starts(3)][:4] == [one.id for one in starts(2)]


def test_batches_begin_at_multiples_whatever_is_done() -> None:
    assert [job.starts for job in jobs(3)] == [(0, 1, 2, 3), (4, 5)] * 2
    left = jobs(3, {("a", "close-0"), ("b", "open-2"), ("b", "close-2")})
    assert [(job.policy, job.starts) for job in left] == [
        ("a", (0, 2, 3)), ("a", (4, 5)), ("b", (0, 1, 2, 3)),
    ]  # fmt: skip


def test_the_same_work_has_the_same_name_and_other_work_another() -> None:
    names = [job.name for job in jobs(3)]
    assert names == [job.name for job in jobs(3)]
    assert len({*names, jobs(3, {("a", "open-0")})[0].name}) == len(names) + 1


def test_only_the_wanted_first_starts() -> None:
    assert [job.starts for job in jobs(3, wanted=2)] == [(0, 1), (0, 1)]


def test_turns_take_every_first_batch_before_any_second() -> None:
    assert [job.policy for job in jobs(3, by_turns=True)] == ["a", "b", "a", "b"]


@pytest.mark.parametrize("done", [set(), {("a", "open-0"), ("a", "close-0")}])
def test_shards_share_the_work_whatever_each_has_done(done: set[tuple[str, str]]) -> None:
    parts = [jobs(3, done, shard=Shard(index=i, count=3)) for i in range(3)]
    assert sorted(job.name for part in parts for job in part) == sorted(
        job.name for job in jobs(3, done)
    )
    assert {job.starts[-1] for job in parts[1]} == {5}
