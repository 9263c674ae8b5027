"""Recording a training from outside: its losses, its random draws, and the frames that it reads.

Only torch, numpy and one function that reads frames are watched, so that nothing here depends on
how the code under test is cut into modules.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

TORCH_EXACT = ("randint", "randperm", "rand")  # the same bits on every machine
TORCH_COUNTED = ("randn",)  # logarithms and cosines differ in the last bits: only how many
NUMPY_EXACT = ("integers", "choice", "random", "permutation")
NUMPY_COUNTED = ("normal", "standard_normal", "uniform")


@dataclass(kw_only=True)
class Recorded:
    """One entry for every backward pass: the loss, and digests of what came before it.

    `draws` covers every seeded random number since the last pass, in order; `rows` the set of
    frames that were read.
    """

    losses: list[float] = field(default_factory=list)
    draws: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    _drawn: Any = field(default_factory=hashlib.sha256)
    _read: set[int] = field(default_factory=set)
    _reads: bool = False

    def drew(self, values: Any, *, exact: bool) -> None:
        """Take note of random numbers: by value, or only how many."""
        array = np.asarray(values)
        self._drawn.update(array.tobytes() if exact else str(array.size).encode())

    def read(self, rows: Any) -> None:
        """Take note of frames that were read."""
        self._reads = True
        self._read.update(int(row) for row in np.asarray(rows).ravel())

    def stepped(self, loss: float) -> None:
        """A backward pass: what was gathered up to here belongs to it."""
        self.losses.append(loss)
        self.draws.append(self._drawn.hexdigest()[:8])
        rows = hashlib.sha256(str(sorted(self._read)).encode())
        self.rows.append(rows.hexdigest()[:8])
        self._drawn, self._read = hashlib.sha256(), set()

    def record(self) -> dict[str, list[Any]]:
        """As JSON."""
        losses = [float(f"{loss:.7g}") for loss in self.losses]
        rows = {"rows": self.rows} if self._reads else {}
        return {"losses": losses, "draws": self.draws, **rows}


@contextmanager
def recording(reader: tuple[type, str]) -> Iterator[Recorded]:
    """Watch what is trained inside; `reader` is the method (class, name) that reads rows."""
    recorded = Recorded()
    owner, name = reader
    read, backward = getattr(owner, name), torch.Tensor.backward
    make = np.random.default_rng

    def watched_read(self: Any, rows: Any, *args: Any) -> Any:
        recorded.read(rows)
        return read(self, rows, *args)

    def watched_backward(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        recorded.stepped(float(self.detach()))
        return backward(self, *args, **kwargs)

    def watched_rng(seed: Any = None) -> np.random.Generator:
        made = make(seed)
        return made if made is seed else _numpy_generator(recorded)(made.bit_generator)

    with ExitStack() as watching:
        watching.enter_context(patch.object(owner, name, watched_read))
        watching.enter_context(patch.object(torch.Tensor, "backward", watched_backward))
        watching.enter_context(patch.object(np.random, "default_rng", watched_rng))
        for exact, names in ((True, TORCH_EXACT), (False, TORCH_COUNTED)):
            for each in names:
                watched = _torch_function(recorded, getattr(torch, each), exact=exact)
                watching.enter_context(patch.object(torch, each, watched))
        yield recorded


def _torch_function(recorded: Recorded, draw: Callable, *, exact: bool) -> Callable:
    def watched(*args: Any, **kwargs: Any) -> torch.Tensor:
        drawn = draw(*args, **kwargs)
        # Without a generator of their own these are first weights and dropout, not data.
        if kwargs.get("generator") is not None:
            recorded.drew(drawn.cpu().numpy(), exact=exact)
        return drawn

    return watched


def _numpy_generator(recorded: Recorded) -> type[np.random.Generator]:
    def method(name: str, *, exact: bool) -> Callable:
        draw = getattr(np.random.Generator, name)

        def watched(self: np.random.Generator, *args: Any, **kwargs: Any) -> Any:
            drawn = draw(self, *args, **kwargs)
            recorded.drew(drawn, exact=exact)
            return drawn

        return watched

    methods = {name: method(name, exact=True) for name in NUMPY_EXACT}
    methods |= {name: method(name, exact=False) for name in NUMPY_COUNTED}
    return type("Watched", (np.random.Generator,), methods)
