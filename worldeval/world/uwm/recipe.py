"""The recipe of `uwm`. Defaults are a small model for a laptop."""

from dataclasses import dataclass
from typing import Literal

from worldeval.world.recipe import WorldRecipe


@dataclass(frozen=True, kw_only=True)
class UwmRecipe(WorldRecipe):
    """`uwm`: a transformer with one diffusion time for actions and one for the next observation.

    Zhu et al., "Unified World Models" (arXiv 2504.02792).
    """

    width: int = 192
    depth: int = 4
    heads: int = 6
    patch: int = 2  # side of a token in latent cells
    registers: int = 8  # learned tokens without data
    channels: int = 48  # of the convolutions that read the newest frames
    chunk: int = 4  # frames of actions in a chunk; the next observation follows them
    times: int = 100  # diffusion times; 0 is clean, `times` pure noise
    # Prediction target. `epsilon` is the paper's; at pure noise it carries no information, so one
    # step from there is not a prediction. With `velocity` it is, and few steps suffice.
    target: Literal["epsilon", "velocity"] = "velocity"
    steps: int = 2  # DDIM steps per frame
    policy_steps: int = 5  # DDIM steps for an action chunk, alone or with the resulting frames
    corners: float = 0.5  # share of training rows at exactly the times of one of the modes
    action_free: float = 0.0  # share of training episodes read as video, without their actions
    imitate: Literal["success", "all"] = "success"  # episodes whose actions the policy modes learn
    history_drop: float = 0.5  # share of rows that see one frame only, as a policy does
    save_every: int = 1000  # steps between saves of the training state; 0: never
    anchor: int = 0  # frames imagined from one anchor frame; 0: a whole chunk

    def __post_init__(self) -> None:
        if not 0 <= self.action_free < 1:
            raise ValueError(
                f"action_free: {self.action_free} must be at least 0 and below 1; otherwise the "
                "model cannot learn to follow actions."
            )

    @property
    def learns_video(self) -> bool:
        """Yes: for video, actions are pure noise, and the future is still learned."""
        return True

    @property
    def sampler(self) -> range:
        """The allowed numbers of steps: at most the number of diffusion times."""
        return range(1, self.times + 1)
