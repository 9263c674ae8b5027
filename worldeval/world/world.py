"""The world model that policies act in: tokenizer, kinematics and a family's dynamics, together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.device import autocast
from worldeval.errors import UserError, did_you_mean
from worldeval.world.actuation import Actuation
from worldeval.world.context import Context, nearest_by_pose
from worldeval.world.features import PAST_ACTIONS, Motion
from worldeval.world.kinematics import Kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer import Tokenizer, index_of


@dataclass(frozen=True, kw_only=True)
class WorldState:
    """Everything imagined so far: all of it is memory for the frames to come."""

    latents: Float[Tensor, "b t v d h w"]
    poses: Float[Tensor, "b t p"]
    past_actions: Float[Tensor, "b 2 a"]  # newest first
    command: Float[Tensor, "b 3"]
    task: Int[Tensor, " b"]
    generators: list[torch.Generator]


class World:
    """A `WorldModel` (see protocol.py) out of networks that share one set of statistics."""

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: Tokenizer | None,
        kinematics: Kinematics,
        dynamics: nn.Module,
        actuation: Actuation,
    ) -> None:
        self._spec = spec
        self.tokenizer, self.kinematics, self.dynamics = tokenizer, kinematics, dynamics
        self.actuation = actuation

    @property
    def spec(self) -> WorldSpec:
        return self._spec

    @torch.inference_mode()
    def begin(
        self,
        frames: Mapping[str, UInt8[Array, "b h w 3"]],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> WorldState:
        """A state at observed frames. Raises UserError for an unknown task, view or size."""
        for task in set(tasks) - set(self.spec.tasks):
            hint = did_you_mean(task, self.spec.tasks)
            raise UserError(f"The world model never saw the task '{task}'.{hint}")
        return self.begin_latents(self.encode(frames, tasks), pose, tasks, seeds)

    @torch.inference_mode()
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> WorldState:
        """A state at frames that are encoded already."""
        poses = torch.from_numpy(np.ascontiguousarray(pose)).float()
        return WorldState(
            latents=latents.float()[:, None],
            poses=poses[:, None],
            past_actions=torch.zeros(len(poses), PAST_ACTIONS, self.spec.action_dim),
            command=self.actuation.begin(poses),
            task=index_of(tasks, self.spec.tasks),
            generators=[torch.Generator().manual_seed(int(seed)) for seed in seeds],
        )

    @torch.inference_mode()
    def step(self, state: WorldState, actions: Float32[Array, "b a"]) -> WorldState:
        """One world frame later: first the hand, then what the cameras show of it."""
        action = torch.from_numpy(np.ascontiguousarray(actions)).float()
        next_command = self.actuation.step(state.command, action)
        latest, before, older = (self._back(state.poses, lag) for lag in (0, 1, 2))
        motion = Motion(
            action=action,
            past_actions=state.past_actions,
            pose=latest,
            past_poses=torch.stack([before, older], 1),
            command=state.command,
            next_command=next_command,
            task=state.task,
        )
        newest, first = self._back(state.latents, 0), state.latents[:, 0]
        next_pose = self.kinematics(newest.flatten(1), first.flatten(1), motion)
        place = self._memory(state, next_pose)
        rows = torch.arange(len(place))
        context = Context(
            latent=newest,
            previous=self._back(state.latents, 1),
            first=first,
            memory=state.latents[rows, place],
            memory_pose=state.poses[rows, place],
            motion=motion,
            next_pose=next_pose,
        )
        imagined = self.dynamics.predict(context, generators=state.generators)  # type: ignore[operator]
        return replace(
            state,
            latents=torch.cat([state.latents, imagined[:, None]], 1),
            poses=torch.cat([state.poses, next_pose[:, None]], 1),
            past_actions=torch.stack([action, state.past_actions[:, 0]], 1),
            command=next_command,
        )

    def latents(self, state: WorldState) -> Float32[Array, "b v d h w"]:
        return state.latents[:, -1].numpy()

    def pose(self, state: WorldState) -> Float32[Array, "b p"]:
        return state.poses[:, -1].numpy()

    @torch.inference_mode()
    def encode(
        self, frames: Mapping[str, UInt8[Array, "b h w 3"]], tasks: Sequence[str]
    ) -> Float[Tensor, "b v d y x"]:
        """Latents of observed frames of every view."""
        tokenizer = self._need_tokenizer()
        task = index_of(tasks, self.spec.tasks)
        per_view = []
        for index, view in enumerate(self.spec.views):
            if view not in frames or frames[view].shape[1:3] != self.spec.size:
                found = {name: given.shape[1:3] for name, given in frames.items()}
                raise UserError(
                    f"The world model needs view '{view}' of {self.spec.size} pixels; got {found}."
                )
            unit = torch.from_numpy(frames[view]).permute(0, 3, 1, 2).float() / 255
            per_view.append(tokenizer.encode(unit, task, torch.full_like(task, index)))
        return torch.stack(per_view, 1).float()

    @torch.inference_mode()
    def render(
        self, latents: Float32[Array, "n v d y x"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]:
        """Decode latents into frames, view by view."""
        tokenizer = self._need_tokenizer()
        task = index_of(tasks, self.spec.tasks).repeat(len(self.spec.views))
        count = len(latents)
        view = torch.arange(len(self.spec.views)).repeat_interleave(count)
        flat = torch.from_numpy(np.ascontiguousarray(latents)).float().transpose(0, 1).flatten(0, 1)
        with autocast(torch.device("cpu")):
            unit = tokenizer.decode(flat, task, view)
        rgb = (unit.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        parts = rgb.contiguous().numpy().reshape(len(self.spec.views), count, *rgb.shape[1:])
        return dict(zip(self.spec.views, parts, strict=True))

    def _need_tokenizer(self) -> Tokenizer:
        if self.tokenizer is None:
            raise UserError(
                "This world model works on latents that came with its data and has no decoder, so "
                "policies that read pictures cannot act in it. Train one with a tokenizer."
            )
        return self.tokenizer

    def _memory(self, state: WorldState, target: Float[Tensor, "b p"]) -> Int[Tensor, " b"]:
        frames = state.poses.shape[1]
        allowed = (torch.arange(frames) < frames - 2).expand(len(target), -1)
        std = self.kinematics.features.pose_std
        return nearest_by_pose(state.poses, allowed, target, std)

    @staticmethod
    def _back(history: Tensor, lag: int) -> Tensor:
        """The frame `lag` before the newest, or the start where there is none."""
        return history[:, max(history.shape[1] - 1 - lag, 0)]
