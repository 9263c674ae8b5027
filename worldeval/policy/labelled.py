"""Parameters for any policy: its name, lineage and step, and how its chunks are executed."""

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy, PolicySpec
from worldeval.policy.stacked import Stacked
from worldeval.record import Observation

LABELS = ("name", "lineage", "step")
USE = ("steps_per_frame", "replan_every", "fps")


class Labelled:
    """`policy` with another spec but unchanged behaviour."""

    def __init__(self, policy: Policy, spec: PolicySpec) -> None:
        self.policy, self._spec = policy, spec

    @property
    def spec(self) -> PolicySpec:
        return self._spec

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        """Begin a batch of episodes."""
        self.policy.reset(tasks, seeds)

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        """Return the policy's own chunk."""
        return self.policy.act(observation)


def labelled(policy: Policy, given: dict[str, Any], ref: str) -> Policy:
    """Apply the parameters in LABELS and USE to `policy`; others are ignored.

    Raises:
        UserError: a value is not a text or number of the right kind.
    """
    steps = given.get("steps_per_frame")
    if steps is not None and _count("steps_per_frame", steps, ref) > 1:
        policy = Stacked(policy, steps)
    changed: dict[str, Any] = {
        key: str(given[key]) for key in ("name", "lineage") if given.get(key) is not None
    }
    if given.get("step") is not None:
        changed["step"] = _count("step", given["step"], ref, least=0)
    if given.get("replan_every") is not None:
        changed["replan"] = _count("replan_every", given["replan_every"], ref)
        changed["replan_said_by"] = "replan_every= of its address"
    if given.get("fps") is not None:
        changed["fps"] = _rate(given["fps"], ref) / (steps or 1)  # of the policy's own actions
    spec = replace(policy.spec, **changed)
    return policy if spec == policy.spec else Labelled(policy, spec)


def _rate(value: Any, ref: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < inf:
        raise UserError(f"{ref}: fps={value} must be the policy's actions per second, above 0.")
    return float(value)


def _count(key: str, value: Any, ref: str, *, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise UserError(f"{ref}: {key}={value} must be an integer of at least {least}.")
    return value
