"""The recipe of `uwm`. Defaults are a small model for a laptop."""

from dataclasses import dataclass
from typing import Literal

from worldeval.world.recipe import WorldRecipe


@dataclass(frozen=True, kw_only=True)
class UwmRecipe(WorldRecipe):
    """`uwm`: a transformer with one diffusion time for actions and one for what is seen next.

    Zhu et al., "Unified World Models" (arXiv 2504.02792).
    """

    width: int = 192
    depth: int = 4
    heads: int = 6
    patch: int = 2  # latent cells along the side of a token
    registers: int = 8  # learned tokens that hold nothing of the data
    channels: int = 48  # of the convolutions that read the newest frames
    chunk: int = 4  # frames' actions in a chunk; the next observation is the one after them
    times: int = 100  # diffusion times; 0 is clean, `times` pure noise
    # What the network predicts. `epsilon` is the paper's; it says nothing at pure noise, so one
    # step from there is not a prediction. `velocity` is, and few steps suffice.
    target: Literal["epsilon", "velocity"] = "velocity"
    steps: int = 2  # DDIM steps of a frame
    policy_steps: int = 5  # of an action chunk, alone or jointly with what it leads to
    corners: float = 0.5  # share of training rows at exactly the times of one of the modes
    action_free: float = 0.0  # share of training episodes read as video: their actions stay unseen
    imitate: Literal["success", "all"] = "success"  # episodes whose actions the policy modes learn
    history_drop: float = 0.5  # share of rows that see one frame only, as a policy does
    save_every: int = 1000  # steps after which a training is kept whole, to go on from; 0 never
    anchor: int = 0  # frames imagined from one observed or imagined frame; 0: a whole chunk

    def __post_init__(self) -> None:
        if not 0 <= self.action_free < 1:
            raise ValueError(
                f"action_free: {self.action_free} must be at least 0 and below 1: some episodes' "
                "actions must be seen, or the world does what it likes."
            )

    @property
    def learns_video(self) -> bool:
        """Rows of video stand at pure noise in their actions, and the future is learned."""
        return True

    @property
    def sampler(self) -> range:
        """No more steps than there are diffusion times."""
        return range(1, self.times + 1)
