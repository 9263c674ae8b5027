"""Records that stages pass to each other. Arrays are NumPy; a batch axis is named `b`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from worldeval.axes import Array, Bool, Float32, UInt8


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One recorded trajectory. Row t of `actions` is applied at frame t; the last row is unused."""

    id: str
    frames: Mapping[str, UInt8[Array, "t h w 3"]]  # view -> RGB, 0-255
    actions: Float32[Array, "t a"]  # robot units, a world frame's whole action
    pose: Float32[Array, "t p"]  # end-effector position (m), orientation, gripper
    task: str
    success: bool | None  # None: unknown
    fps: float  # world frames a second
    source: str = ""  # who controlled the robot: 'expert-noise', 'play', a policy's name
    info: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The input of policies at one step, for a batch of episodes."""

    # RGB, 0-255; real numbers only where a check of a policy tries other ranges of values.
    frames: Mapping[str, UInt8[Array, "b h w 3"] | Float32[Array, "b h w 3"]]
    pose: Float32[Array, "b p"]
    tasks: tuple[str, ...]  # one per episode
    # The world frames before this one, oldest first: `spec.history - 1` of them. What would lie
    # before the start is the start.
    past: "tuple[Observation, ...]" = ()

    def __len__(self) -> int:
        return len(self.tasks)

    @property
    def window(self) -> "tuple[Observation, ...]":
        """Every observed moment, oldest first, each without history."""
        return (*self.past, replace(self, past=()))

    def each(self, change: Callable[["Observation"], "Observation"]) -> "Observation":
        """Apply `change` to every moment, oldest first."""
        *past, now = (change(moment) for moment in self.window)
        return replace(now, past=tuple(past))

    def own(self) -> "Observation":
        """Return a copy, for code that may modify its observation."""
        return self.each(_copied)


@dataclass(frozen=True, kw_only=True)
class Start:
    """An initial state from which every policy is run: a task, and its seed or recording."""

    id: str  # unique within a protocol; the cluster of the statistics
    task: str
    seed: int  # the simulator's reset seed, or the recorded episode's index
    frames: Mapping[str, UInt8[Array, "h w 3"]]
    pose: Float32[Array, " p"]


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One closed-loop episode, imagined (latents) or simulated (frames), before it is judged."""

    start: str
    task: str
    policy: str
    seed: int
    actions: Float32[Array, "t a"]
    pose: Float32[Array, "t+1 p"]
    latents: Array | None = None  # t+1 v d h w, float16, imagined
    frames: Mapping[str, UInt8[Array, "t+1 h w 3"]] | None = None  # simulated
    success: Bool[Array, " t+1"] | None = None  # simulator's flag per frame
    # Signals of the whole episode, and of every action.
    trust: Mapping[str, float] = field(default_factory=dict)
    trust_by_step: Mapping[str, Float32[Array, " t"]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A judge's verdict on one roll-out."""

    probability: float  # calibrated, of the whole episode
    step: int  # world frame at which the evidence peaked
    judge: str
    votes: tuple[float, ...] = ()  # one per judge of an ensemble
    progress: float | None = None  # how far the episode came at best, 0 to 1; None: not measured


def _copied(moment: Observation) -> Observation:
    frames = {view: image.copy() for view, image in moment.frames.items()}
    return replace(moment, frames=frames, pose=moment.pose.copy())
