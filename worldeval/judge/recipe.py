"""The recipe of a learned judge."""

from dataclasses import dataclass, field
from typing import ClassVar

from worldeval.config import retired
from worldeval.training.recipe import TrainerRecipe

NETWORKS = ("frames", "sequence")
IGNORED = "ignore"  # in place of a text encoder: judge without the instruction
REAL_SHARE = 0.25  # share of training episodes shown as recorded, not as imagined


@dataclass(frozen=True, kw_only=True)
class JudgeRecipe:
    """A success classifier on imagined latents and proprioception, and how it is calibrated."""

    # frames: every frame beside the first, with a recurrent memory. sequence: convolutions and
    # attention over the frames so far; it also gives progress.
    network: str = "frames"
    channels: int = 64  # of the convolution over the latents of all views
    hidden: int = 128
    recurrent: int = 64  # frames: width of the recurrent layer; 0 judges each frame alone
    heads: int = 4  # sequence: attention heads, which share the width `hidden`
    dropout: float = 0.2
    latent_noise: float = 0.2  # std, in standardised latents
    pose_noise: float = 0.004  # metres; for poses in other units, a share of their spread
    members: int = 3  # networks whose votes are averaged
    groups: int = 4  # groups of policy families, each held out once for the calibration
    # Share of episodes of held-out families without a verdict: those on which the members differ
    # most. 0: the judge never abstains, and each held-out group is judged by a single network.
    abstain: float = 0.0
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

    def __post_init__(self) -> None:
        if self.network not in NETWORKS:
            raise ValueError(f"network '{self.network}' must be one of {', '.join(NETWORKS)}")
        if not 0 <= self.abstain < 0.5:
            raise ValueError(f"abstain {self.abstain} must be a share from 0 to below 0.5")
        if self.abstain and self.members < 2:
            raise ValueError("abstain needs 2 members or more, because it is by their disagreement")
        if self.network == "sequence" and self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
