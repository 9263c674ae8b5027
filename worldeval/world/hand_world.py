"""What worlds with a hand of their own share: kinematics, actuation, the newest frame and pose."""

from typing import Any

from worldeval.axes import Array, Float32
from worldeval.world.actuation import Actuation
from worldeval.world.hand import Hand
from worldeval.world.kinematics import Kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.tokenizer import FrameTokenizer
from worldeval.world.world import World


class HandWorld(World):
    """A world whose state holds `latents` and `poses` of every frame, and moves the hand first."""

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
        """The hand out of the parts as they are now: training replaces them."""
        return Hand(self.kinematics, self.actuation, action_dim=self.spec.action_dim)

    def latents(self, state: Any) -> Float32[Array, "b v d h w"]:
        return state.latents[:, -1].cpu().numpy()

    def pose(self, state: Any) -> Float32[Array, "b p"]:
        return state.poses[:, -1].cpu().numpy()
