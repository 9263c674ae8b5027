"""The recipe of a learned judge."""

from dataclasses import dataclass, field
from typing import ClassVar

from worldeval.config import retired
from worldeval.training.recipe import TrainerRecipe

IGNORED = "ignore"  # in place of a text encoder: judge without the instruction
REAL_SHARE = 0.25  # share of training episodes shown as recorded, not as imagined


@dataclass(frozen=True, kw_only=True)
class JudgeRecipe:
    """A success classifier on imagined latents and proprioception, and how it is calibrated."""

    channels: int = 64  # of the convolution over the latents of all views
    hidden: int = 128
    recurrent: int = 64  # width of the recurrent layer over frames; 0 judges each frame alone
    dropout: float = 0.2
    latent_noise: float = 0.2  # std, in standardised latents
    pose_noise: float = 0.004  # metres; for poses in other units, a share of their spread
    members: int = 3  # networks whose votes are averaged
    groups: int = 4  # groups of policy families, each held out once for the calibration
    # Folder of a text encoder that reads instructions (CLIP's or a sentence encoder); empty: tasks
    # are known by name; 'ignore': by nothing.
    text: str = ""
    horizon: int | None = None  # world frames to judge; None: those of the longest episode
    trainer: TrainerRecipe = field(
        default_factory=lambda: TrainerRecipe(
            steps=900, batch=32, learning_rate=1e-3, weight_decay=0.02, ema=0.99
        )
    )

    RETIRED: ClassVar = retired("0.1", real_share=REAL_SHARE)
