"""The recipe of `dit`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from worldeval.world.recipe import WorldRecipe


@dataclass(frozen=True, kw_only=True)
class CameraRecipe:
    """A fixed camera: the point it looks at (m), how far from it (m), and its angles (degrees).

    Angles as MuJoCo's free camera counts them: azimuth from x towards y, elevation upwards.
    """

    lookat: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float
    fovy: float = 45.0  # vertical field of view, degrees


@dataclass(frozen=True, kw_only=True)
class DitRecipe(WorldRecipe):
    """`dit`: a flow-matching transformer, block-causal over frames, with memory found by pose."""

    width: int = 192
    depth: int = 4
    heads: int = 6
    patch: int = 2  # latent cells along the side of a token
    window: int = 4  # past frames that a frame attends to: the cache
    memory: int = 1  # older frames that it may read, nearest in pose; 0: none
    steps: int = 2  # Euler steps of the sampler; 1 gives the mean of what may happen
    at_noise: float = 0.25  # share of training at flow time 0, from which every sample departs
    length: int = 8  # frames of a training sequence
    # (share of training from which, times that a history is replaced by the model's own samples)
    imagined: tuple[tuple[float, int], ...] = ((0.0, 0), (0.5, 1), (0.75, 2))
    checkpoint: bool = (
        False  # compute blocks again in the backward pass: less memory, a third slower
    )
    save_every: int = 1000  # steps after which an unfinished training is kept; 0 never
    # task -> view -> camera; tasks or views not named here are drawn from motion alone
    cameras: Mapping[str, Mapping[str, CameraRecipe]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.steps not in self.sampler:
            raise ValueError(f"steps: {self.steps} is outside 1-8, for which this sampler is made.")
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} is not a multiple of heads: {self.heads}.")
        if self.window < 1 or self.memory < 0 or self.length < 2:
            raise ValueError("window must be at least 1, memory at least 0, length at least 2.")

    @property
    def sampler(self) -> range:
        """Up to the 8 Euler steps that this flow is made for."""
        return range(1, 9)
