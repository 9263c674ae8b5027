"""Batches that worker processes read while the device trains, in the order of one generator.

A batch is made in two parts: `draw` decides in this process, from the generator, what it consists
of; `make` reads it, in a worker if there are any. The batches, and so the course of training, are
therefore the same with any number of workers. The training state keeps the generator as it was when
the newest batch in use was drawn, so that an interrupted training resumes at exactly the next
batch, although later ones had been drawn already.
"""

import gc
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from worldeval.errors import UserError
from worldeval.training.processes import this_process

D = TypeVar("D")
B = TypeVar("B")
READERS = "WORLDEVAL_READERS"  # environment variable: worker processes of each training process
PER_READER = 2  # batches that each worker prepares in advance


def readers() -> int:
    """Return the number of worker processes that read batches for this process; 0 by default.

    Prepared batches lie in shared memory (/dev/shm), of which containers often have little.

    Raises:
        UserError: the environment variable is not a number.
    """
    told = os.environ.get(READERS, "0")
    if not told.isdecimal():
        raise UserError(f"{READERS}={told} must be a number of processes, such as 4.")
    return int(told)


class Ahead(Generic[D, B]):
    """The batches of a training, one for each call, step after step.

    Args:
        draw: what a batch of a step consists of; draws from `generator` alone.
        make: the batch itself, a dataclass of tensors; random numbers are given to it by `draw`.
        steps: number of training steps, after which nothing is drawn.
        each: batches of every step (accumulated gradients).
        workers: processes that call `make`; 0: this one. Default: `readers()`.
    """

    def __init__(
        self,
        draw: Callable[[int], D],
        make: Callable[[D], B],
        generator: torch.Generator,
        *,
        steps: int,
        each: int = 1,
        workers: int | None = None,
    ) -> None:
        self._draw, self._make, self._generator = draw, make, generator
        self._steps, self._each = steps, each
        self._workers = readers() if workers is None else workers
        self._batches: Iterator[Any] | None = None
        self._left = 0  # batches until the last one
        self._states: deque[Tensor] = deque()  # of the generator, after each draw not yet in use
        self._state: Tensor | None = None

    def __call__(self, step: int) -> B:
        """Return the next batch, of the step `step`."""
        if not self._workers:
            return self._make(self._draw(step))
        if self._batches is None:
            self._batches = self._begun(step)
            self._left = (self._steps - step) * self._each
        found = next(self._batches)
        self._state = self._states.popleft()
        self._left -= 1
        if not self._left:
            self.close()
        if isinstance(found.value, _Failed):
            raise UserError(found.value.text)
        return found.value

    def close(self) -> None:
        """End the workers; batches drawn ahead are lost. After the last batch, it has been done."""
        self._batches = None  # they end when nothing refers to the loader's iterator

    def get_state(self) -> Tensor:
        """Return the generator's state after the newest batch in use was drawn."""
        return self._generator.get_state() if self._state is None else self._state

    def set_state(self, state: Tensor) -> None:
        """Continue after the batch that was in use at `get_state`; batches drawn ahead are lost."""
        self._generator.set_state(state)
        self.close()
        self._state = None
        self._states.clear()

    def _begun(self, first: int) -> Iterator[Any]:
        # Workers share this process's tensors. Without this, the collector of each worker would
        # write to the pages of every Python object, and so copy them.
        gc.collect()
        gc.freeze()
        state = this_process()
        cuda = state.device is not None and state.device.type == "cuda"
        batches = iter(
            DataLoader(
                _Made(self._make),
                sampler=_Order(self._drawn(first)),
                batch_size=None,
                collate_fn=_as_it_is,
                num_workers=self._workers,
                prefetch_factor=PER_READER,
                pin_memory=cuda,
                # Its seeds would otherwise come from torch's own random state.
                generator=torch.Generator(),
                multiprocessing_context=multiprocessing.get_context("fork"),
            )
        )
        gc.unfreeze()
        return batches

    def _drawn(self, first: int) -> Iterator[D]:
        for step in range(first, self._steps):
            for _ in range(self._each):
                drawn = self._draw(step)
                self._states.append(self._generator.get_state())
                yield drawn


class _Order(Sampler):
    """What the batches consist of, in the order in which they were drawn."""

    def __init__(self, drawn: Iterator[Any]) -> None:
        self._drawn = drawn

    def __iter__(self) -> Iterator[Any]:
        return self._drawn


class _Made(Dataset):
    """The batches: indexed by what they consist of."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __getitem__(self, drawn: Any) -> "_Pinnable":
        try:
            return _Pinnable(self._make(drawn))
        except UserError as error:  # its class cannot be sent to another process
            return _Pinnable(_Failed(str(error)))


class _Failed:
    """A batch that could not be read."""

    def __init__(self, text: str) -> None:
        self.text = text


class _Pinnable:
    """A batch with the method by which the loader copies it to pinned memory."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def pin_memory(self) -> "_Pinnable":
        return _Pinnable(_pinned(self.value))


def _pinned(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.pin_memory()
    if isinstance(value, tuple):
        return tuple(map(_pinned, value))
    if is_dataclass(value) and not isinstance(value, type):
        parts = {each.name: _pinned(getattr(value, each.name)) for each in fields(value)}
        return replace(value, **parts)
    return value


def _as_it_is(batch: Any) -> Any:
    return batch
