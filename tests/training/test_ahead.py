"""Batches that workers read ahead: the same ones in the same order, and resumed between any two."""

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from worldeval.data.finding import DataError
from worldeval.errors import UserError
from worldeval.training.ahead import Ahead, readers


@dataclass(frozen=True, kw_only=True)
class Numbers:
    values: Tensor


OPENED: list[Ahead] = []


@pytest.fixture(autouse=True)
def no_worker_is_left() -> Iterator[None]:
    """Workers hold what their parent had open, such as the pipes of a browser, which then waits."""
    before = set(multiprocessing.active_children())
    yield
    while OPENED:
        OPENED.pop().close()
    assert set(multiprocessing.active_children()) <= before


def numbers(
    workers: int, *, steps: int = 9, each: int = 1, damaged: int = -1
) -> tuple[Ahead, list[int]]:
    """Batches of step and two drawn numbers; the steps for which something was drawn."""
    generator, drawn = torch.Generator().manual_seed(3), []

    def draw(step: int) -> Tensor:
        drawn.append(step)
        return torch.cat([torch.tensor([step]), torch.randint(99, (2,), generator=generator)])

    def make(drawn: Tensor) -> Numbers:
        if int(drawn[0]) == damaged:
            raise DataError(Path("file"), "latents", "it is damaged.")
        return Numbers(values=2 * drawn)

    OPENED.append(Ahead(draw, make, generator, steps=steps, each=each, workers=workers))
    return OPENED[-1], drawn


def taken(batches: Ahead, steps: range) -> list[list[int]]:
    return [batches(step).values.tolist() for step in steps]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_batch(workers: int) -> None:
    batches, drawn = numbers(workers)
    assert taken(batches, range(9)) == taken(numbers(0)[0], range(9))
    assert drawn == list(range(9))


@pytest.mark.parametrize("workers", [0, 2])
def test_training_resumes_at_the_next_batch(workers: int) -> None:
    straight = taken(numbers(0)[0], range(9))
    batches, drawn = numbers(workers)
    assert taken(batches, range(4)) == straight[:4]
    assert len(drawn) > 4 or not workers  # batches were drawn that are not in use
    resumed, _ = numbers(workers)
    resumed.set_state(batches.get_state())
    assert taken(resumed, range(4, 9)) == straight[4:]


def test_state_can_also_be_set_while_workers_read() -> None:
    batches, _ = numbers(2)
    first, state = taken(batches, range(3)), batches.get_state()
    later = taken(batches, range(3, 6))
    batches.set_state(state)
    assert taken(batches, range(3, 6)) == later and first != later


def test_every_step_has_several_batches() -> None:
    batches, _ = numbers(1, steps=2, each=2)
    found = taken(batches, range(1)) + taken(batches, range(1))
    assert [each[0] for each in found] == [0, 0] and found[0] != found[1]
    assert taken(batches, range(1, 2))[0][0] == 2


def test_torchs_own_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    taken(numbers(1)[0], range(2))
    assert torch.equal(torch.rand(2), expected)


def test_what_a_worker_could_not_read_is_told() -> None:
    batches, _ = numbers(1, damaged=2)
    taken(batches, range(2))
    with pytest.raises(UserError, match=r"latents: it is damaged\."):
        batches(2)


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLDEVAL_READERS", raising=False)
    assert readers() == 0
    monkeypatch.setenv("WORLDEVAL_READERS", "3")
    assert readers() == 3
    monkeypatch.setenv("WORLDEVAL_READERS", "many")
    with pytest.raises(UserError, match="must be a number of processes"):
        readers()


def test_workers_end_with_the_last_batch() -> None:
    before = set(multiprocessing.active_children())
    batches, _ = numbers(2)
    taken(batches, range(8))
    assert len(set(multiprocessing.active_children()) - before) == 2
    taken(batches, range(8, 9))
    assert set(multiprocessing.active_children()) <= before
