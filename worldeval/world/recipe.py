"""The recipes of world models: the tokenizer, the dynamics, and how long each is trained."""

from dataclasses import dataclass, field

from worldeval.training.recipe import TrainerRecipe


@dataclass(frozen=True, kw_only=True)
class TokenizerRecipe:
    """A convolutional autoencoder shared by every view and task, or one that others trained."""

    folder: str = ""  # of a diffusers autoencoder (a local path), instead of training our own
    widths: tuple[int, ...] = (24, 48, 96)
    channels: int = 16  # of a latent; its side is the frame's over 2^len(widths)
    foreground: float = 4.0  # weight of pixels far from the mean image, against 1
    absolute: float = 0.005  # of the absolute error, beside the squared
    penalty: float = 1e-4  # on squared latents
    noise: float = 0.05  # added to latents while training
    trainer: TrainerRecipe = field(
        default_factory=lambda: TrainerRecipe(steps=7500, batch=24, learning_rate=1.5e-3)
    )


@dataclass(frozen=True, kw_only=True)
class ActuationRecipe:
    """How a frame's action moves the commanded pose: the state that images do not show.

    Delta position control: every simulator step adds `scale` metres a unit to the target, which is
    clipped to the workspace; the hand lags behind it. `scale` 0 means absolute actions.
    """

    scale: float = 0.0
    low: tuple[float, ...] = (-10.0, -10.0, -10.0)
    high: tuple[float, ...] = (10.0, 10.0, 10.0)
    step_dim: int = 4  # numbers of one simulator step within a frame's action


@dataclass(frozen=True, kw_only=True)
class KinematicsRecipe:
    """The small network that predicts proprioception, since policies read it."""

    width: int = 384
    depth: int = 3
    sight: int = 64  # numbers it reads from the latents
    unroll: int = 8
    trainer: TrainerRecipe = field(default_factory=lambda: TrainerRecipe(steps=3000, batch=128))


@dataclass(frozen=True, kw_only=True)
class WorldRecipe:
    """What every family of world model shares; each adds its dynamics."""

    latent_noise: float = 0.15  # std of history noise, in standardised latents
    pose_noise: float = 0.002  # metres
    tokenizer: TokenizerRecipe = field(default_factory=TokenizerRecipe)
    actuation: ActuationRecipe = field(default_factory=ActuationRecipe)
    kinematics: KinematicsRecipe = field(default_factory=KinematicsRecipe)
    size: tuple[int, int] | None = None  # height, width to scale frames to; None: as they are
    held_out: float = 0.08  # share of episodes kept for validation
    # Without roll-outs of policies: share of the labelled episodes that stand in for them, so that
    # a judge can learn from what folds that never saw them imagine.
    own_rollouts: float = 0.0
    folds: int = 2  # parts of the weak roll-outs, each imagined by a model that never saw it
    adapt_share: float = 0.4  # of the steps, once weak roll-outs join the data
    adapt_learning_rate: float = 0.5  # of the learning rate
    trainer: TrainerRecipe = field(default_factory=lambda: TrainerRecipe(steps=9000, batch=128))

    @property
    def turned(self) -> bool:
        """Whether roll, pitch and yaw in the data are trained as 6-D numbers, which never jump."""
        return True

    @property
    def learns_video(self) -> bool:
        """Whether data without actions and instructions teach it something."""
        return False

    @property
    def sampler(self) -> range:
        """The numbers of steps that its sampler may take for a frame; none: it has no sampler."""
        return range(0)

    @property
    def reads_tasks(self) -> bool:
        """Whether the words of a task are read, beyond telling the tasks apart."""
        return False
