"""The two-timestep transformer as a world: forward mode, frame by frame within a chunk.

A chunk of actions leads from one anchor to the frame after it, and chunks may be short. So a step
with the j-th action since the anchor imagines the frame after the j actions so far, always from the
anchor; after `anchor` frames the newest imagined frame becomes the next anchor. Errors accumulate
once per chunk instead of once per frame. All frames of a chunk use the same noise.

The other modes are `infer` (which actions explain these frames), `act` (what to do), `propose`
(actions together with the frames they lead to) and `dream` (frames, whatever the actions).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32
from worldeval.device import generators_of, on_host
from worldeval.world.hand.commands import Actuation
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.hand.state import FrameState, HandState
from worldeval.world.hand.world import HandWorld
from worldeval.world.history import History
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.uwm.modes import Drawn, Guide, Noise, draw, own_noise
from worldeval.world.uwm.network import PAIR, Uwm
from worldeval.world.uwm.seen import UwmContext
from worldeval.world.walk import Walk

ROWS = 256  # moments per batch when inferring actions


@dataclass(frozen=True, kw_only=True)
class UwmState(FrameState):
    """Every frame so far, the anchor of the next frames, and the actions since the anchor."""

    anchor: UwmContext
    since: Float[Tensor, "b j a"]  # actions since the anchor
    noise: Noise  # of the current chunk


@dataclass(frozen=True, kw_only=True)
class Proposed:
    """A chunk sampled jointly: its actions, and the frames they lead to."""

    actions: Float32[Array, "b n a"]  # in the robot's units
    walk: Walk


class UwmWorld(HandWorld):
    """A world with kinematics for the pose and one transformer for frames and actions."""

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: FrameTokenizer | None,
        kinematics: Kinematics,
        model: Uwm,
        actuation: Actuation,
    ) -> None:
        super().__init__(spec, tokenizer=tokenizer, kinematics=kinematics, actuation=actuation)
        self.model = model
        self.sampler, self.steps = model.recipe.sampler, model.recipe.steps

    def hot(self) -> list[tuple[nn.Module, str]]:
        return [(self.model, "denoise")]

    @torch.no_grad()
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> UwmState:
        first = latents.float().to(self.device)
        hand = self.hand.begin(self.tensor(pose), self.task_index(tasks))
        return self._anchored(History.of(first[:, None]), hand, generators_of(seeds, self.device))

    def observe_latents(
        self, state: UwmState, latents: Float[Tensor, "b v d h w"], pose: Float32[Array, "b p"]
    ) -> UwmState:
        """The observation becomes the anchor of the frames to come."""
        return self._reanchored(super().observe_latents(state, latents, pose))

    @torch.no_grad()
    def step(self, state: UwmState, actions: Float32[Array | Tensor, "b a"]) -> UwmState:
        """Advance by one world frame: first the pose, then the frame after the chunk so far."""
        action, recipe = self.tensor(actions), self.model.recipe
        newest, first = state.latents[:, -1], state.latents[:, 0]
        hand = self.hand.step(state.hand, action, newest=newest, first=first).hand
        since = torch.cat([state.since, action[:, None]], 1)
        drawn = draw(
            self.model,
            state.anchor,
            state.noise.first(since.shape[1]),
            mode="forward",
            steps=self.steps,
            actions=since,
        )
        assert drawn.future is not None
        video = state.video.followed_by(drawn.future[:, -1:])
        if since.shape[1] == (recipe.anchor or recipe.chunk):
            return self._anchored(video, hand, state.generators)
        return replace(state, video=video, hand=hand, since=since)

    @torch.no_grad()
    def propose(
        self,
        state: UwmState,
        *,
        frames: int,
        guide: Guide | None = None,
        steps: int | None = None,
    ) -> Proposed:
        """Sample the next frames, at most a chunk, together with their actions (joint mode).

        A joint sample contains only the last two frames. The frames before them are sampled from
        the first of these actions, in forward mode from the same anchor and noise, two frames at a
        time. `steps` are those of the joint sample; default: the recipe's `policy_steps`.
        """
        state = state if not state.since.shape[1] else self._reanchored(state)
        noise, steps = state.noise.first(frames), steps or self.model.recipe.policy_steps
        drawn = draw(self.model, state.anchor, noise, mode="joint", steps=steps, guide=guide)
        assert drawn.actions is not None and drawn.future is not None
        return self._filled(state, noise, drawn.actions, drawn.future)

    @torch.no_grad()
    def dream(self, state: UwmState, *, frames: int, steps: int | None = None) -> Proposed:
        """Sample the next frames, at most a chunk, whatever the actions are (video mode).

        The actions that explain these frames (inverse mode) move the pose, and give the frames
        before the last two as in `propose`. `steps` are those of both samples; default: the
        recipe's `policy_steps`.
        """
        state = state if not state.since.shape[1] else self._reanchored(state)
        noise, steps = state.noise.first(frames), steps or self.model.recipe.policy_steps
        future = draw(self.model, state.anchor, noise, mode="video", steps=steps).future
        told = draw(self.model, state.anchor, noise, mode="inverse", steps=steps, future=future)
        assert told.actions is not None and future is not None
        return self._filled(state, noise, told.actions, future)

    def act(
        self,
        latents: Float[Tensor, "b v d h w"],
        first: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        generators: list[torch.Generator],
    ) -> Float32[Array, "b k a"]:
        """Return an action chunk for the current observation (policy mode) and the first frame."""
        poses = self.tensor(pose)
        seen = UwmContext(
            latent=latents,
            previous=latents,
            first=first,
            pose=poses,
            past_pose=poses,
            command=self.actuation.begin(poses),
            task=self.task_index(tasks),
            history=torch.zeros(len(poses), dtype=torch.bool, device=self.device),
        )
        noise, steps = own_noise(self.model, generators), self.model.recipe.policy_steps
        return self._robot(draw(self.model, seen, noise, mode="policy", steps=steps))

    @torch.no_grad()
    def infer(
        self,
        latents: Float[Array, "b t v d h w"],
        poses: Float32[Array, "b t p"],
        actions: Float32[Array, "b s a"],
        tasks: Sequence[str],
        *,
        seed: int,
    ) -> Float32[Array, "b s a"]:
        """Infer the action between consecutive frames from the frames alone (inverse mode).

        Takes t frames of every episode from its start and the s = t - 1 commanded actions. Only the
        actions before a frame are read, to compute the commanded position.
        """
        recipe, steps = self.model.recipe, actions.shape[1]
        frames, pose = self.tensor(latents), self.tensor(poses)
        task, done = self.task_index(tasks), self.tensor(actions)
        command = [self.actuation.begin(pose[:, 0])]
        for step in range(steps - 1):
            command.append(self.actuation.step(command[-1], done[:, step]))
        # The same noise for every moment, so that results do not depend on the batch.
        noise = own_noise(self.model, generators_of([seed], self.device)).first(1)
        moments, found = [(b, t) for b in range(len(pose)) for t in range(steps)], []
        for cut in range(0, len(moments), ROWS):
            places = torch.tensor(moments[cut : cut + ROWS], device=self.device)
            row, now = places.unbind(1)
            before = (now - 1).clamp_min(0)
            seen = UwmContext(
                latent=frames[row, now],
                previous=frames[row, before],
                first=frames[row, 0],
                pose=pose[row, now],
                past_pose=pose[row, before],
                command=torch.stack(command, 1)[row, now],
                task=task[row],
                history=torch.ones(len(row), dtype=torch.bool, device=self.device),
            )
            drawn = draw(
                self.model,
                seen,
                Noise(
                    actions=noise.actions.expand(len(row), -1, -1),
                    future=noise.future.expand(len(row), *noise.future.shape[1:]),
                ),
                mode="inverse",
                # One step on velocity gives the mean of all plausible actions.
                steps=1 if recipe.target == "velocity" else recipe.policy_steps,
                future=torch.stack([frames[row, now], frames[row, now + 1]], 1),
            )
            found.append(self._robot(drawn)[:, 0])
        return np.concatenate(found).reshape(len(pose), steps, -1)

    def _filled(
        self,
        state: UwmState,
        noise: Noise,
        actions: Float[Tensor, "b n a"],
        future: Float[Tensor, "b 2 v d h w"],
    ) -> Proposed:
        """Add the frames before the last two of a chunk, in forward mode, two at a time."""
        frames = actions.shape[1]
        seen = [future[:, -min(PAIR, frames) :]]
        for length in range(frames - PAIR, 0, -PAIR):
            before = draw(
                self.model,
                state.anchor,
                noise.first(length),
                mode="forward",
                steps=self.steps,
                actions=actions[:, :length],
            )
            assert before.future is not None
            seen.insert(0, before.future[:, -min(PAIR, length) :])
        return self._carried(state, actions, torch.cat(seen, 1))

    def _carried(
        self,
        state: UwmState,
        actions: Float[Tensor, "b n a"],
        ahead: Float[Tensor, "b n v d h w"],
    ) -> Proposed:
        """Advance the pose by `actions` with known frames; the last one is the next anchor."""
        video, begin = state.video.followed_by(ahead), state.video.count
        hand, latents, first = state.hand, video.frames, state.latents[:, 0]
        for place, action in enumerate(actions.unbind(1), begin):
            hand = self.hand.step(hand, action, newest=latents[:, place - 1], first=first).hand
        return Proposed(
            actions=on_host(actions)[0],
            walk=Walk(
                state=self._anchored(video, hand, state.generators),
                latents=on_host(ahead)[0],
                pose=on_host(hand.poses[:, begin:])[0],
            ),
        )

    def _anchored(
        self,
        video: History,
        hand: HandState,
        generators: list[torch.Generator],
    ) -> UwmState:
        """Build a state whose newest frame is the anchor."""
        latents, lag = video.frames, -min(2, video.count)
        return UwmState(
            video=video,
            hand=hand,
            anchor=UwmContext(
                latent=latents[:, -1],
                previous=latents[:, lag],
                first=latents[:, 0],
                pose=hand.poses[:, -1],
                past_pose=hand.poses[:, lag],
                command=hand.command,
                task=hand.task,
                history=torch.ones(len(latents), dtype=torch.bool, device=latents.device),
            ),
            since=latents.new_zeros(len(latents), 0, self.spec.action_dim),
            noise=own_noise(self.model, generators),
            generators=generators,
        )

    def _reanchored(self, state: UwmState) -> UwmState:
        return self._anchored(state.video, state.hand, state.generators)

    @staticmethod
    def _robot(drawn: Drawn) -> Float32[Array, "b n a"]:
        assert drawn.actions is not None
        return on_host(drawn.actions)[0]
