"""The recipe of `ctrl_world`: the defaults are the paper's; models/ holds small variants."""

from dataclasses import dataclass, field
from typing import ClassVar

from worldeval.config import retired
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.recipe import WorldRecipe

START = 100_000  # a number of frames back that always means the first frame

# Karras et al., arXiv 2206.00364, equation 5, with Stable Video Diffusion's lowest noise.
RHO = 7.0
SIGMA_MIN = 0.002

# What the official Ctrl-World weights were trained with.
STILL = 0.15  # share of training samples whose past frames are all the newest frame
DROP = 0.05  # share of training samples without tokens, for guidance
FPS, MOTION = 7, 127  # Stable Video Diffusion's conditioning, whatever the data's rate
# Its noise level of the newest frame, as the network is told: 0 in training and 0.02 in sampling,
# as in the official code, which adds no such noise to latents.
AUGMENTATION = 0.02


@dataclass(frozen=True, kw_only=True)
class UnetRecipe:
    """diffusers' `UNetSpatioTemporalConditionModel`; the defaults are Stable Video Diffusion's."""

    widths: tuple[int, ...] = (320, 640, 1280, 1280)  # of the levels, multiples of 32
    heads: tuple[int, ...] = (5, 10, 20, 20)
    attention: tuple[bool, ...] = (True, True, True, False)  # which levels have attention
    layers: int = 2  # residual blocks per level
    token: int = 1024  # width of a frame's token
    time_width: int = 256  # of each of the three numbers: rate, motion, augmentation

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.heads) == len(self.attention):
            raise ValueError("unet: widths, heads and attention need one entry per level.")
        for width, heads in zip(self.widths, self.heads, strict=True):
            if width % 32 or width % heads:
                raise ValueError(
                    f"unet: width {width} must be divisible by 32 and by its {heads} heads."
                )


@dataclass(frozen=True, kw_only=True)
class EdmRecipe:
    """Noise levels (Karras et al., arXiv 2206.00364), for training and for sampling."""

    mean: float = 0.7  # of the logarithm of sigma in training
    std: float = 1.6
    sigma_max: float = 700.0
    steps: int = 50  # of the sampler; 1 gives the mean of the possible futures
    guidance: tuple[float, float] = (1.0, 2.0)  # at the first and last frame; 1 costs nothing

    RETIRED: ClassVar = retired("0.1", rho=RHO, sigma_min=SIGMA_MIN)


@dataclass(frozen=True, kw_only=True)
class DistilRecipe:
    """A consistency distillation after training (distil.py), so that one or two steps suffice."""

    levels: int = 0  # noise levels, such as 18; 0: no distillation
    steps: int = 5000  # of training
    learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        if self.levels < 0 or self.levels == 1 or self.steps < 1:
            raise ValueError("distil: levels must be 0 or at least 2, and steps at least 1.")


@dataclass(frozen=True, kw_only=True)
class MemoryRecipe:
    """Past frames that the network reads besides the newest, each with its own pose token."""

    # Frames between past frames in training, one stride drawn per sample; the future stride grows
    # in proportion: 1 with the shortest, 2 with one twice as long.
    strides: tuple[int, ...] = (4, 8)
    recall: tuple[int, ...] = (
        START,
        START,
        44,
        32,
        20,
        8,
    )  # frames back in roll-outs, oldest first
    noise: float = 0.3  # std of the strength of the noise on them in training

    RETIRED: ClassVar = retired("0.1", still=STILL)


@dataclass(frozen=True, kw_only=True)
class LongTrainerRecipe(TrainerRecipe):
    """A long training: saved on the way, with batches larger than memory."""

    save_every: int = 1000  # steps; 0: never
    accumulate: int = 1  # parts into which the batch is split


@dataclass(frozen=True, kw_only=True)
class CtrlWorldRecipe(WorldRecipe):
    """`ctrl_world`: Stable Video Diffusion conditioned on the gripper's pose, frame by frame."""

    unet: UnetRecipe = field(default_factory=UnetRecipe)
    edm: EdmRecipe = field(default_factory=EdmRecipe)
    memory: MemoryRecipe = field(default_factory=MemoryRecipe)
    distil: DistilRecipe = field(default_factory=DistilRecipe)
    patch: int = 1  # side of one of the network's cells, in latent cells
    future: int = 4  # largest number of new frames per call
    any_future: bool = False  # train on 1 to `future` new frames, for harnesses that step by one
    angles: tuple[int, ...] = ()  # pose dimensions in radians, measured from their mean direction
    change: bool = False  # imagine changes to the newest frame: for training from scratch
    condition_noise: float = 0.2  # largest strength of the noise on the newest frame in training
    condition_scale: float = 0.18215  # the newest frame is divided by it as an input
    # Rank of the updates of its attention layers, to adapt known weights on one GPU; 0: train all.
    lora: int = 0
    checkpointing: bool = False  # recompute activations in the backward pass: less memory
    svd: str = ""  # folder of Stable Video Diffusion (diffusers layout) to initialise from
    checkpoint: str = ""  # file of official Ctrl-World weights to initialise from
    text: str = ""  # folder of a CLIP text encoder; empty: instructions are not read
    pose_stats: str = ""  # JSON with state_01 and state_99; empty: computed from the training data
    trainer: LongTrainerRecipe = field(
        default_factory=lambda: LongTrainerRecipe(steps=50_000, batch=64, learning_rate=1e-5)
    )

    RETIRED: ClassVar = retired("0.1", drop=DROP, fps=FPS, motion=MOTION, augmentation=AUGMENTATION)

    @property
    def unused(self) -> dict[str, str]:
        """Poses are conditioned on as they are."""
        return {"pose_noise": "ctrl_world adds no noise to poses"}

    @property
    def turned(self) -> bool:
        """No if given weights or statistics are for angles, or if `angles` handles them."""
        return not (self.checkpoint or self.pose_stats or self.angles)

    @property
    def reads_tasks(self) -> bool:
        """Only with a text encoder."""
        return bool(self.text)

    @property
    def sampler(self) -> range:
        """The allowed numbers of steps: 1 to the paper's 50, or to the levels of `distil`."""
        return range(1, 1 + (self.distil.levels or 50))

    def __post_init__(self) -> None:
        if self.edm.steps not in self.sampler:
            last = self.sampler[-1]
            raise ValueError(f"edm.steps: {self.edm.steps} is outside 1-{last}.")
        if self.svd and self.checkpoint:
            raise ValueError("svd and checkpoint are both given; training starts from only one.")
        if self.lora < 0:
            raise ValueError(f"lora: {self.lora} must be a rank, or 0 to train all weights.")
        if self.future < 1 or not self.memory.recall or not self.memory.strides:
            raise ValueError("future, memory.recall and memory.strides must not be empty.")
