"""Recipes of world models: the tokenizer, the dynamics, and how long each is trained."""

from dataclasses import dataclass, field
from typing import ClassVar

from worldeval.config import retired
from worldeval.errors import UserError
from worldeval.training.recipe import TrainerRecipe

# The tokenizer's loss.
FOREGROUND = 4.0  # weight of pixels far from the mean image, relative to 1
ABSOLUTE = 0.005  # weight of the absolute error, added to the squared error
PENALTY = 1e-4  # weight of the penalty on squared latents
LATENT_NOISE = 0.05  # added to latents while the tokenizer is trained

ADAPT_LEARNING_RATE = 0.5  # factor on the learning rate when training on weak roll-outs as well


@dataclass(frozen=True, kw_only=True)
class TokenizerRecipe:
    """A convolutional autoencoder shared by every view and task, or a pretrained one."""

    folder: str = ""  # local path of a pretrained diffusers autoencoder, to use instead
    widths: tuple[int, ...] = (24, 48, 96)
    channels: int = 16  # per latent; its side is the frame's divided by 2^len(widths)
    trainer: TrainerRecipe = field(
        default_factory=lambda: TrainerRecipe(steps=7500, batch=24, learning_rate=1.5e-3)
    )

    RETIRED: ClassVar = retired(
        "0.1", foreground=FOREGROUND, absolute=ABSOLUTE, penalty=PENALTY, noise=LATENT_NOISE
    )


@dataclass(frozen=True, kw_only=True)
class ActuationRecipe:
    """How a frame's action moves the commanded pose, a state that images do not show.

    Delta position control: every simulator step adds `scale` metres per action unit to the target,
    which is clipped to the workspace; the gripper lags behind it. `scale` 0 means absolute actions.
    """

    scale: float = 0.0
    low: tuple[float, ...] = (-10.0, -10.0, -10.0)
    high: tuple[float, ...] = (10.0, 10.0, 10.0)
    step_dim: int = 4  # numbers per simulator step within a frame's action


@dataclass(frozen=True, kw_only=True)
class KinematicsRecipe:
    """The small network that predicts proprioception, because policies read it."""

    width: int = 384
    depth: int = 3
    sight: int = 64  # size of the features it reads from the latents
    unroll: int = 8
    trainer: TrainerRecipe = field(default_factory=lambda: TrainerRecipe(steps=3000, batch=128))


@dataclass(frozen=True, kw_only=True)
class CameraRecipe:
    """A fixed camera: the point it looks at (m), its distance (m), and its angles (degrees).

    Angles follow MuJoCo's free camera: azimuth from x towards y, elevation upwards.
    """

    lookat: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float
    fovy: float = 45.0  # vertical field of view, degrees


@dataclass(frozen=True, kw_only=True)
class WorldRecipe:
    """Settings shared by every family of world model; each family adds its dynamics."""

    latent_noise: float = 0.15  # std of history noise, in standardised latents
    pose_noise: float = 0.002  # metres
    tokenizer: TokenizerRecipe = field(default_factory=TokenizerRecipe)
    actuation: ActuationRecipe = field(default_factory=ActuationRecipe)
    kinematics: KinematicsRecipe = field(default_factory=KinematicsRecipe)
    size: tuple[int, int] | None = None  # height, width to scale frames to; None: unchanged
    held_out: float = 0.08  # share of episodes kept for validation
    # Without policy roll-outs: share of the labelled episodes used in their place, so that a judge
    # can learn from imagined episodes of folds that never saw them.
    own_rollouts: float = 0.0
    # Share of the roll-outs that no training sees, so that gates can replay them.
    kept_rollouts: float = 0.0
    folds: int = 2  # parts of the weak roll-outs, each imagined by a model that never saw it
    adapt_share: float = 0.4  # share of the steps, for training on weak roll-outs as well
    trainer: TrainerRecipe = field(default_factory=lambda: TrainerRecipe(steps=9000, batch=128))

    RETIRED: ClassVar = retired("0.1", adapt_learning_rate=ADAPT_LEARNING_RATE)

    @property
    def unused(self) -> dict[str, str]:
        """Keys that the family does not use, and why; `recipe.load` refuses them."""
        return {}

    @property
    def turned(self) -> bool:
        """Whether roll, pitch and yaw are trained as 6-D rotations, which are continuous."""
        return True

    @property
    def learns_video(self) -> bool:
        """Whether the model can learn from data without actions and instructions."""
        return False

    @property
    def sampler(self) -> range:
        """The allowed numbers of sampler steps per frame; empty if it has no sampler."""
        return range(0)

    @property
    def reads_tasks(self) -> bool:
        """Whether the model reads the text of a task, not only its label."""
        return False


def allowed_steps(sampler: range, steps: int) -> int:
    """Return `steps` if a sampler that accepts the numbers in `sampler` can take them.

    Raises:
        UserError: it cannot, or there is no sampler; the message gives the allowed range.
    """
    if not sampler:
        raise UserError(
            f"{steps} sampler steps were requested, but this world model has no such sampler: it "
            "imagines each frame in one pass (families `latent` and `rssm`). Leave the number of "
            "steps out."
        )
    if steps not in sampler:
        raise UserError(
            f"{steps} sampler steps were requested, but this world model's sampler takes "
            f"{sampler[0]} to {sampler[-1]}."
        )
    return steps
