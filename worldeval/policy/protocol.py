"""What every policy offers: a spec, a reset, and action chunks for a batch of observations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from worldeval.axes import Array, Float32
from worldeval.record import Observation


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """What a policy needs and gives."""

    name: str
    lineage: str  # checkpoints of one training run are one lineage
    step: int  # training step of the checkpoint; 0 for built-ins
    views: tuple[str, ...]
    action_dim: int  # of one world frame
    chunk: int  # world frames in one action chunk
    # What the numbers of an action mean, as data/action_space.py writes it; "" is the world's own.
    space: str = ""
    # World frames that it looks at together, the newest last (`Observation.past` has the others).
    history: int = 1
    # World frames of a chunk that its authors carry out before they ask again, and who says so;
    # None: as many as the protocol says.
    replan: int | None = None
    replan_said_by: str = ""

    def replans(self, protocol: int) -> int:
        """After how many world frames it is asked again, where the protocol says `protocol`."""
        return min(self.replan or protocol, self.chunk)


@runtime_checkable
class Policy(Protocol):
    """A policy. The harness owns the chunk queue and decides how often to replan."""

    @property
    def spec(self) -> PolicySpec: ...

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes. Row i of every later batch is episode i until the next reset.

        An episode's actions depend on its own seed and observations only, never on the batch.
        """
        ...

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """The next action chunk of every episode, in the world's frame-level action space."""
        ...
