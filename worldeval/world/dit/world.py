"""`dit` as a world: each frame is sampled and settled once, then cached for later frames."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from worldeval.axes import Array, Float, Float32
from worldeval.device import autocast, bf16_pays, compiled, generators_of
from worldeval.world.dit.attended import Slots
from worldeval.world.dit.cache import FrameCache
from worldeval.world.dit.network import DitNetwork, Given, MemoryFrames, Scene
from worldeval.world.features import Motion
from worldeval.world.flow import Denoise, own_noise, sample
from worldeval.world.hand.commands import Actuation
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.hand.state import FrameState, HandState
from worldeval.world.hand.world import HandWorld
from worldeval.world.history import History
from worldeval.world.memory import nearest
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer


@dataclass(frozen=True, kw_only=True)
class DitState(FrameState):
    """Every frame so far, for memory retrieval, and the network's cache of the newest ones."""

    cache: FrameCache  # the newest `window` frames


class DitWorld(HandWorld):
    """A world whose kinematics predict the pose and whose flow samples the latents."""

    remembers = True

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: FrameTokenizer | None,
        kinematics: Kinematics,
        dynamics: DitNetwork,
        actuation: Actuation,
    ) -> None:
        super().__init__(spec, tokenizer=tokenizer, kinematics=kinematics, actuation=actuation)
        self.dynamics = dynamics
        self.sampler, self.steps = dynamics.recipe.sampler, dynamics.recipe.steps
        self._compiled: Callable[..., Any] | None = None

    def compile_networks(self) -> None:
        """Compile the sampler's step, as it is once the window and the memory are full."""
        self._compiled = compiled(self.dynamics.denoise, self.device, graphs=True)

    @torch.inference_mode()
    def begin_latents(
        self,
        latents: Float[Tensor, "b v d h w"],
        pose: Float32[Array, "b p"],
        tasks: Sequence[str],
        seeds: Sequence[int],
    ) -> DitState:
        start = latents.float().to(self.device)
        hand = self.hand.begin(self.tensor(pose), self.task_index(tasks))
        still = Given(
            previous=start, first=start, motion=standing(hand), next_pose=hand.poses[:, 0]
        )
        network = self.dynamics
        with autocast(self.device):
            scene = network.look(still)
            cache = network.nothing(start).with_room(1, _precision(self.device))
            none = [None] * len(network.blocks)
            seen = network.slots(cache, none)
            cache = network.settle(torch.zeros_like(start), scene, cache, seen)
        return DitState(
            video=History.of(start[:, None]),
            hand=hand,
            generators=generators_of(seeds, self.device),
            cache=cache,
        )

    @torch.inference_mode()
    def step(self, state: DitState, actions: Float32[Array | Tensor, "b a"]) -> DitState:
        """Advance by one world frame: first the pose, then the latents at that pose."""
        newest, first = state.latents[:, -1], state.latents[:, 0]
        network = self.dynamics
        moved = self.hand.step(state.hand, self.tensor(actions), newest=newest, first=first)
        given = Given(previous=newest, first=first, motion=moved.motion, next_pose=moved.pose)
        noise = own_noise(newest, state.generators)
        with autocast(self.device):
            scene = network.look(given)
            turn = network.turn(torch.full((1,), state.cache.age, device=self.device))
            memory = network.read(self.memory(state, moved.pose), moved.pose, turn)
            room = 1 + network.recipe.memory
            cache = state.cache.with_room(room, _precision(self.device))
            seen = network.slots(cache, memory)
            change = sample(self._denoiser(scene, cache, seen), noise, steps=self.steps)
            cache = network.settle(change, scene, cache, seen)
        imagined = newest + change * network.change_std
        return replace(
            state,
            video=state.video.followed_by(imagined[:, None]),
            hand=moved.hand,
            cache=cache,
        )

    def _denoiser(self, scene: Scene, cache: FrameCache, seen: list[Slots]) -> Denoise:
        """The sampler's step for one frame."""
        network, recipe = self.dynamics, self.dynamics.recipe
        remembered = recipe.memory if self.retrieve else 0
        places = (recipe.window + remembered + 1) * cache.cells
        if self._compiled is None or seen[0].keys.shape[2] != places:
            return lambda x, time: network.denoise(x, time, scene, seen)
        # A graph writes to no memory but its own.
        fast, apart = self._compiled, [each.apart(cache.cells) for each in seen]
        return lambda x, time: fast(x, time, scene, apart)

    def memory(self, state: DitState, target: Float[Tensor, "b p"]) -> MemoryFrames | None:
        """Retrieve the frames nearest in pose to `target` among those no longer in the cache.

        The first frame may be one of them, although every frame receives it anyway: as a memory it
        also carries its pose and age, which says that the gripper is back where it began and that
        no later frame is nearer. Training sequences are cut by the same rule.
        """
        frames, window = state.latents.shape[1], self.dynamics.recipe.window
        count = min(self.dynamics.recipe.memory, frames - window)
        if not self.retrieve or count < 1:
            return None
        poses = state.poses[:, : frames - window]
        scale = self.kinematics.pose_std
        every = torch.ones(poses.shape[:2], dtype=torch.bool, device=poses.device)
        chosen = nearest(poses, every, target, scale=scale, count=count).place
        rows = torch.arange(len(target), device=target.device)[:, None]
        return MemoryFrames(
            latents=state.latents[rows, chosen],
            pose=state.poses[rows, chosen],
            age=frames - chosen,
            there=None,
        )


def _precision(device: torch.device) -> torch.dtype:
    """The dtype of keys and values under `autocast`."""
    return torch.bfloat16 if bf16_pays(device) else torch.float32


def standing(hand: HandState) -> Motion:
    """The motion that leads to a first frame: none."""
    pose, command = hand.poses[:, 0], hand.command
    return Motion(
        action=torch.zeros_like(hand.past_actions[:, 0]),
        past_actions=hand.past_actions,
        pose=pose,
        past_poses=torch.stack([pose, pose], 1),
        command=command,
        next_command=command,
        task=hand.task,
    )
