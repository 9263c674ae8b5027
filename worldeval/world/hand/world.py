"""Base class of worlds with kinematics: actuation, and the newest frame and pose."""

from dataclasses import replace
from typing import Any

from torch import Tensor

from worldeval.axes import Array, Float, Float32
from worldeval.device import on_host
from worldeval.world.hand.commands import Actuation
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.hand.state import Hand
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.world import World


class HandWorld(World):
    """A world whose state holds `latents` and `poses` of every frame, and predicts poses first."""

    def __init__(
        self,
        spec: WorldSpec,
        *,
        tokenizer: FrameTokenizer | None,
        kinematics: Kinematics,
        actuation: Actuation,
    ) -> None:
        super().__init__(spec, tokenizer=tokenizer)
        self.kinematics, self.actuation = kinematics, actuation

    @property
    def hand(self) -> Hand:
        """Join the current parts; built on each access, because training replaces the parts."""
        return Hand(self.kinematics, self.actuation, action_dim=self.spec.action_dim)

    def observe_latents(
        self, state: Any, latents: Float[Tensor, "b v d h w"], pose: Float32[Array, "b p"]
    ) -> Any:
        """Commands, older frames and a cache's keys and values are kept."""
        seen = state.video.ending_in(latents.float().to(self.device))
        return replace(state, video=seen, hand=state.hand.found_at(self.tensor(pose)))

    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        return on_host(state.latents[:, -1])[0]

    def pose(self, state: Any) -> Float32[Array, "b p"]:
        return on_host(state.poses[:, -1])[0]
