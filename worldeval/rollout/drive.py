"""Drive a world model by hand or let a policy act, frame by frame; any frame can be returned to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.record import Observation, Rollout, Start
from worldeval.rollout.actions import fitted
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.controls import Controls, Stick
from worldeval.world.branch import Branching
from worldeval.world.protocol import WorldModel

BY_HAND = "by hand"
EACH = 16  # frames between stored states: a state holds every frame before it
MOST = 600  # frames of an episode
BATCH = 32  # frames rendered at once


@runtime_checkable
class Encoding(Protocol):
    """A world that encodes pictures into its latents."""

    def encode(
        self, frames: Mapping[str, UInt8[Array, "b h w 3"]], tasks: tuple[str, ...]
    ) -> Any: ...


@dataclass
class _Acting:
    """A policy that acts now, with the chunk that it has begun."""

    policy: Policy
    queue: ChunkQueue


class Drive:
    """An episode that a person steers. Frame 0 is the observed start."""

    def __init__(self, world: WorldModel, start: Start, controls: Controls, *, seed: int) -> None:
        """Begin at `start`.

        Raises:
            UserError: the world was not trained on the start's task, or needs other views.
        """
        self.world, self.start, self.controls, self.seed = world, start, controls, seed
        frames = {view: image[None] for view, image in start.frames.items()}
        state = world.begin(frames, start.pose[None], [start.task], [seed])
        self._state = state
        self._kept = {0: self._copy(state)}
        self._latents = [np.array(world.latents(state)[0])]
        self._poses = [np.array(world.pose(state)[0])]
        self._actions: list[Float32[Array, " a"]] = []
        self._who: list[str] = []  # who chose each action
        self._acting: _Acting | None = None
        self._newest = self._rendered(0)
        self._first_error = self._error()
        self.trust = [1.0]

    def __len__(self) -> int:
        """Number of world frames so far, including the start."""
        return len(self._latents)

    def steer(self, stick: Stick) -> None:
        """Imagine one world frame with the stick held; a policy that acts is relieved.

        Raises:
            UserError: the episode is as long as it can be.
        """
        self._acting = None
        self._step(self._within(self.controls.action(stick, self._poses[-1])), BY_HAND)

    def act(self, policy: Policy, *, replan_every: int) -> None:
        """Imagine one world frame in which `policy` acts; it takes over at its first call.

        Raises:
            UserError: the policy does not fit the world, or the episode is as long as it can be.
        """
        spec = self.world.spec
        if self._acting is None or self._acting.policy is not policy:
            own = fitted(policy, spec)
            own.reset((self.start.task,), [self.seed])
            queue = ChunkQueue(own, replan_every=replan_every, low=spec.low, high=spec.high)
            self._acting = _Acting(policy=policy, queue=queue)
            self._history = own.spec.history
        action = self._acting.queue.next(self._seen, spec.action_dim)[0]
        self._step(action, policy.spec.name)

    def back_to(self, frame: int) -> None:
        """Return to a frame: what came later is removed.

        Raises:
            UserError: there is no such frame.
        """
        if not 0 <= frame < len(self):
            raise UserError(f"There is no frame {frame}; the last one is {len(self) - 1}.")
        if frame == len(self) - 1:
            return
        self._acting = None
        known = max(each for each in self._kept if each <= frame)
        state = self._copy(self._kept[known])
        for action in self._actions[known:frame]:
            state = self.world.step(state, action[None])
        self._state = state
        for frames in (self._latents, self._poses, self.trust):
            del frames[frame + 1 :]
        for steps in (self._actions, self._who):
            del steps[frame:]
        self._kept = {each: kept for each, kept in self._kept.items() if each <= frame}
        self._newest = self._rendered(frame)

    @property
    def newest(self) -> Mapping[str, UInt8[Array, "h w 3"]]:
        """The newest frame, view by view; the first one is as it was recorded."""
        return self._newest if len(self) > 1 else self.start.frames

    def image(self, frame: int) -> Mapping[str, UInt8[Array, "h w 3"]]:
        """Any frame so far."""
        return self._rendered(frame) if frame else self.start.frames

    @property
    def frames(self) -> dict[str, UInt8[Array, "t h w 3"]]:
        """Every frame so far, view by view."""
        parts: dict[str, list[Array]] = {
            view: [self.start.frames[view][None]] for view in self.world.spec.views
        }
        for begin in range(1, len(self), BATCH):
            latents = np.stack(self._latents[begin : begin + BATCH]).astype(np.float32)
            shown = self.world.render(latents, [self.start.task] * len(latents))
            for view, own in parts.items():
                own.append(shown[view])
        return {view: np.concatenate(own) for view, own in parts.items()}

    @property
    def pose(self) -> Float32[Array, "t p"]:
        """Predicted proprioception, beginning with the start's."""
        return np.stack(self._poses)

    @property
    def driver(self) -> str:
        """Who chose the actions, in order: `by hand`, or `by hand>bc/100` after a handover."""
        changes = [who for i, who in enumerate(self._who) if not i or self._who[i - 1] != who]
        return ">".join(changes) or BY_HAND

    @property
    def rollout(self) -> Rollout:
        """Return the episode in the form that judges take and runs store."""
        none = np.zeros((0, self.world.spec.action_dim), np.float32)
        return Rollout(
            start=self.start.id,
            task=self.start.task,
            policy=self.driver,
            seed=self.seed,
            actions=np.stack(self._actions) if self._actions else none,
            pose=self.pose,
            latents=np.stack(self._latents).astype(np.float16),
        )

    def _step(self, action: Float32[Array, " a"], who: str) -> None:
        if len(self) >= MOST:
            raise UserError(
                f"The episode has {MOST} frames, the most that are kept. Begin again, or continue "
                "from an earlier frame."
            )
        self._state = self.world.step(self._state, action[None])
        self._latents.append(np.array(self.world.latents(self._state)[0]))
        self._poses.append(np.array(self.world.pose(self._state)[0]))
        self._actions.append(np.array(action, np.float32))
        self._who.append(who)
        if (len(self) - 1) % EACH == 0:
            self._kept[len(self) - 1] = self._copy(self._state)
        self._newest = self._rendered(len(self) - 1)
        error = self._error()
        self.trust.append(min(self._first_error / error, 1.0) if error > 0 else 1.0)

    def _seen(self) -> Observation:
        """Show the policy what the episode looks like now, with the frames before it."""
        task, now = (self.start.task,), len(self) - 1

        def moment(frame: int) -> Observation:
            shown = self._newest if frame == now else self._rendered(frame)
            frames = {view: image[None] for view, image in shown.items()}
            return Observation(frames=frames, pose=self._poses[frame][None].copy(), tasks=task)

        past = tuple(moment(max(now - back, 0)) for back in range(self._history - 1, 0, -1))
        here = moment(now)
        return Observation(frames=here.frames, pose=here.pose, tasks=task, past=past)

    def _error(self) -> float:
        """How much the newest latents change when they are drawn and encoded again (RMS).

        The tokenizer reproduces frames like those it was trained on. What an imagined frame adds to
        the start's own error is what has left them.
        """
        if not isinstance(self.world, Encoding):
            return 0.0
        frames = {view: image[None] for view, image in self._newest.items()}
        again = np.asarray(self.world.encode(frames, (self.start.task,)))[0]
        return float(np.sqrt(((again - self._latents[-1]) ** 2).mean()))

    def _rendered(self, frame: int) -> dict[str, UInt8[Array, "h w 3"]]:
        latents = self._latents[frame][None].astype(np.float32)
        shown = self.world.render(latents, [self.start.task])
        return {view: shown[view][0] for view in shown}

    def _copy(self, state: Any) -> Any:
        """Copy a state, so that what it draws later is not drawn from the copy."""
        if not isinstance(self.world, Branching):
            return state
        return self.world.branch(state, np.zeros(1, np.int64))

    def _within(self, action: Float32[Array, " a"]) -> Float32[Array, " a"]:
        """Scale to the range of the world's data, if the meaning of its actions is declared: full
        deflection is then the largest step, not a metre."""
        spec = self.world.spec
        return np.clip(action, spec.low, spec.high) if spec.space else action
