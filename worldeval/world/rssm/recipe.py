"""The recipe of `rssm`. Defaults are a small model for a laptop; DreamerV3's sizes are larger."""

from dataclasses import dataclass

from worldeval.world.recipe import WorldRecipe


@dataclass(frozen=True, kw_only=True)
class RssmRecipe(WorldRecipe):
    """`rssm`: a recurrent state-space model over latents and proprioception.

    Hafner et al., "Mastering Diverse Domains through World Models" (DreamerV3, arXiv 2301.04104).
    """

    deter: int = 384  # numbers of the recurrent state h
    groups: int = 16  # categorical variables of the stochastic state z
    classes: int = 16  # of each variable
    width: int = 256  # of hidden layers
    channels: int = 48  # of convolutions over the latents' cells
    unimix: float = 0.01  # share of the uniform distribution in every categorical
    free_nats: float = 1.0  # divergence that costs nothing
    dynamics_scale: float = 1.0  # draws the prior to the posterior
    representation_scale: float = 0.1  # draws the posterior to the prior
    heads_scale: float = 10.0  # of reward, success and continue, against a nat
    # Weight of the same losses on states imagined from the first frame of a sequence alone: what
    # evaluation asks at every frame, and DreamerV3 trains through single steps' divergence only.
    overshoot: float = 1.0
    length: int = 10  # frames of a training sequence after its first
    bins: int = 41  # of the two-hot reward head
    save_every: int = 1000  # steps after which a training is kept whole, to go on from; 0 never
    anchored: bool = True  # decode the change since the observed start instead of the whole scene
    sampled: bool = True  # draw z, seen or imagined; False takes the likeliest classes
