"""The interface of policies: a spec, a reset, and action chunks for a batch of observations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from worldeval.axes import Array, Float32
from worldeval.record import Observation


@dataclass(frozen=True, kw_only=True)
class PolicySpec:
    """A policy's inputs and outputs."""

    name: str
    lineage: str  # checkpoints of one training run are one lineage
    step: int  # training step of the checkpoint; 0 for built-ins
    views: tuple[str, ...]
    action_dim: int  # of one world frame
    chunk: int  # world frames in one action chunk
    # What the numbers of an action mean, as data/action_space.py writes it; "" is the world's own.
    space: str = ""
    # Actions per second; None: one per controller step of the world.
    fps: float | None = None
    # World frames per observation, the newest last (`Observation.past` has the others).
    history: int = 1
    # World frames of a chunk that the policy's authors execute before the next query, and where
    # this number comes from; None: the protocol decides.
    replan: int | None = None
    replan_said_by: str = ""

    def replans(self, protocol: int) -> int:
        """Number of world frames between queries; `protocol` is the default."""
        return min(self.replan or protocol, self.chunk)


@runtime_checkable
class Policy(Protocol):
    """A policy. The harness owns the chunk queue and decides how often to replan."""

    @property
    def spec(self) -> PolicySpec: ...

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes. Row i of every later batch is episode i until the next reset.

        An episode's actions depend only on its own seed and observations, never on the batch.
        """
        ...

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return every episode's next action chunk, in the world's frame-level action space."""
        ...
