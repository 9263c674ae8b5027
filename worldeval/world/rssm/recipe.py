"""The recipe of `rssm`. Defaults are a small model for a laptop; DreamerV3's sizes are larger."""

from dataclasses import dataclass
from typing import ClassVar

from worldeval.config import retired
from worldeval.world.recipe import WorldRecipe

# DreamerV3's, the same for every task there.
UNIMIX = 0.01  # share of the uniform distribution in every categorical
FREE_NATS = 1.0  # divergence below which there is no penalty
DYNAMICS_SCALE = 1.0  # pulls the prior towards the posterior
REPRESENTATION_SCALE = 0.1  # pulls the posterior towards the prior

BINS = 41  # of the two-hot reward head


@dataclass(frozen=True, kw_only=True)
class RssmRecipe(WorldRecipe):
    """`rssm`: a recurrent state-space model over latents and proprioception.

    Hafner et al., "Mastering Diverse Domains through World Models" (DreamerV3, arXiv 2301.04104).
    It differs as follows. Rewards are read in 41 two-hot bins instead of 255: ours are 0 or 1, and
    a 1 is a weight of 0.58 on the bin at 1.72 and the rest on 0, whose mean is exact; rewards of
    several sizes would need more bins. Hidden layers are followed by LayerNorm instead of RMSNorm.
    The prior has one hidden layer instead of two. Actions are standardised and not squashed to
    [-1, 1]: they are recorded ones.
    """

    deter: int = 384  # size of the recurrent state h
    groups: int = 16  # categorical variables of the stochastic state z
    classes: int = 16  # per variable
    width: int = 256  # of hidden layers
    channels: int = 48  # of convolutions over the latent cells
    heads_scale: float = 10.0  # weight of reward, success and continue, per nat
    # Weight of the same losses on states imagined from a sequence's first frame alone. Evaluation
    # depends on these, while DreamerV3 trains them only through single-step divergences.
    overshoot: float = 1.0
    length: int = 10  # frames of a training sequence after its first
    save_every: int = 1000  # steps between saves of the training state; 0: never
    sampled: bool = True  # sample z, observed or imagined; False takes the most likely classes

    @property
    def unused(self) -> dict[str, str]:
        """The model predicts poses itself, from what it is given."""
        return {
            "kinematics": "rssm predicts poses itself, without a kinematics network",
            "pose_noise": "rssm adds no noise to poses",
        }

    RETIRED: ClassVar = retired(
        "0.1",
        unimix=UNIMIX,
        free_nats=FREE_NATS,
        dynamics_scale=DYNAMICS_SCALE,
        representation_scale=REPRESENTATION_SCALE,
        bins=BINS,
        anchored=True,  # the change since the observed first frame is decoded, not the whole scene
    )
