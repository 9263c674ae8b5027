"""A world that imagines frame by frame: from the newest frames, the first, memory and motion."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from worldeval.axes import Array, Float, Float32, Int
from worldeval.device import generators_of, gpu_autocast
from worldeval.world.hand.commands import Actuation
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.hand.state import FrameState, back
from worldeval.world.hand.world import HandWorld
from worldeval.world.history import History
from worldeval.world.latent.network import Context, LatentDynamics
from worldeval.world.latent.spatial import SpatialDynamics
from worldeval.world.memory import nearest
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer


class FrameWorld(HandWorld):
    """A world whose kinematics predict the pose and whose dynamics predict the latents."""

    remembers = True

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: FrameTokenizer | None,
        kinematics: Kinematics,
        dynamics: LatentDynamics | SpatialDynamics,
        actuation: Actuation,
    ) -> None:
        super().__init__(spec, tokenizer=tokenizer, kinematics=kinematics, actuation=actuation)
        self.dynamics = dynamics

    def hot(self) -> list[tuple[nn.Module, str]]:
        return [(self.dynamics, "forward")]

    @torch.inference_mode()
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> FrameState:
        return FrameState(
            video=History.of(latents.float().to(self.device)[:, None]),
            hand=self.hand.begin(self.tensor(pose), self.task_index(tasks)),
            generators=generators_of(seeds, self.device),
        )

    @torch.inference_mode()
    def step(self, state: FrameState, actions: Float32[Array | Tensor, "b a"]) -> FrameState:
        """Advance by one world frame: first the pose, then the latents at that pose."""
        newest, first = back(state.latents, 0), state.latents[:, 0]
        moved = self.hand.step(state.hand, self.tensor(actions), newest=newest, first=first)
        place = self._memory(state.poses, moved.pose)
        rows = torch.arange(len(place), device=place.device)
        context = Context(
            latent=newest,
            previous=back(state.latents, 1),
            first=first,
            memory=state.latents[rows, place],
            memory_pose=state.poses[rows, place],
            motion=moved.motion,
            next_pose=moved.pose,
        )
        with gpu_autocast(self.device):
            imagined = self.dynamics(context)
        video = state.video.followed_by(imagined[:, None])
        return replace(state, video=video, hand=moved.hand)

    def _memory(
        self, poses: Float[Tensor, "b t p"], target: Float[Tensor, "b p"]
    ) -> Int[Tensor, " b"]:
        # Without retrieval, use the first frame, as at the start when nothing older exists.
        oldest_in_context = poses.shape[1] - 2 if self.retrieve else 0
        frame = torch.arange(poses.shape[1], device=poses.device)
        allowed = (frame < oldest_in_context).expand(len(target), -1)
        scale = self.kinematics.pose_std
        return nearest(poses, allowed, target, scale=scale).place[:, 0]
