"""The recipe of `dit`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from worldeval.config import retired
from worldeval.world.recipe import CameraRecipe, WorldRecipe

AT_NOISE = 0.25  # share of training at flow time 0, where every sample starts


@dataclass(frozen=True, kw_only=True)
class DitRecipe(WorldRecipe):
    """`dit`: a flow-matching transformer, block-causal over frames, with memory by pose."""

    width: int = 192
    depth: int = 4
    heads: int = 6
    patch: int = 2  # side of a token in latent cells
    window: int = 4  # past frames that a frame attends to; the size of the cache
    memory: int = 1  # older frames it may also read, nearest in pose; 0: none
    # How keys tell how old their frame is. `learned`: by a vector added at every frame, as in all
    # worlds of before; `rotary`: by a turn that is final, so that cached keys are never rewritten.
    age: Literal["learned", "rotary"] = "learned"
    steps: int = 2  # Euler steps of the sampler; 1 gives the mean of the possible futures
    length: int = 8  # frames of a training sequence
    # (share of training from which, times that the history is replaced by the model's own samples)
    imagined: tuple[tuple[float, int], ...] = ((0.0, 0), (0.5, 1), (0.75, 2))
    accumulate: int = 1  # parts into which a batch is split, if it does not fit at once
    checkpoint: bool = False  # recompute blocks in the backward pass: less memory, a third slower
    save_every: int = 1000  # steps between saves of the training state; 0: never
    # task -> view -> camera; other tasks and views are predicted without a map of the grippers
    cameras: Mapping[str, Mapping[str, CameraRecipe]] = field(default_factory=dict)

    RETIRED: ClassVar = retired("0.1", at_noise=AT_NOISE)

    def __post_init__(self) -> None:
        if self.steps not in self.sampler:
            raise ValueError(f"steps: {self.steps} is outside the sampler's range of 1 to 8.")
        if self.width % self.heads:
            raise ValueError(f"width: {self.width} is not a multiple of heads: {self.heads}.")
        if self.age == "rotary" and self.width // self.heads < 4:
            raise ValueError("age: rotary needs heads of at least 4 numbers. Set fewer heads.")
        if self.accumulate < 1 or self.trainer.batch % self.accumulate:
            raise ValueError(
                f"accumulate: {self.accumulate} does not divide a batch of {self.trainer.batch}."
            )
        if self.window < 1 or self.memory < 0 or self.length < 2:
            raise ValueError("window must be at least 1, memory at least 0, length at least 2.")

    @property
    def sampler(self) -> range:
        """The allowed numbers of Euler steps: 1 to 8."""
        return range(1, 9)
