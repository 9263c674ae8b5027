"""The recipe of a policy: demonstrations, deliberate corruptions, network and training."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from worldeval.config import build, retired
from worldeval.errors import UserError
from worldeval.policy.heads.settings import (
    A2aSettings,
    ActJepaSettings,
    BesoSettings,
    CarpSettings,
    DitaSettings,
    EbtSettings,
    MambaSettings,
)
from worldeval.recipe import merge
from worldeval.training.recipe import TrainerRecipe

NOISE_LEVELS = 100  # of the diffusion and dita heads, in training
MOST_HISTORY = 64  # world frames


@dataclass(frozen=True, kw_only=True)
class DemoGroup:
    """Episodes to imitate, drawn at random from those that match."""

    sources: tuple[str, ...] = ("expert",)  # globs on the source (driver) of an episode
    success: bool | None = True  # None: any outcome
    per_task: int | None = None  # None: all


@dataclass(frozen=True, kw_only=True)
class LabelRecipe:
    """Deliberate corruption of the actions to imitate; there is none by default.

    Sizes are in half ranges of an action, which is 1 if actions lie within [-1, 1].
    """

    noise: float = 0.0  # standard deviation, one draw per demonstration frame
    scale: float = 1.0
    bias: tuple[float, ...] = ()  # added to every simulator step's action; (): none


@dataclass(frozen=True, kw_only=True)
class AugmentRecipe:
    """Image augmentation in training, so that a policy can also read imagined frames."""

    shift: int = 4  # largest shift in pixels, in both directions
    brightness: float = 0.1  # largest relative change
    noise: float = 0.02  # standard deviation, images in [-1, 1]
    blur: float = 0.25  # share of images averaged over 3x3 pixels


@dataclass(frozen=True, kw_only=True)
class NetworkRecipe:
    """Widths of a network with fewer than 100,000 parameters."""

    widths: tuple[int, int, int] = (16, 32, 32)  # of the three convolutions per view
    squeeze: int = 8  # channels of the 8x8 map that is flattened
    embed: int = 48  # features of all views together
    hidden: int = 128


@dataclass(frozen=True, kw_only=True)
class PolicyTrainerRecipe(TrainerRecipe):
    """The optimisation of a policy, and the steps at which checkpoints are saved."""

    steps: int = 1500
    save_at: tuple[int, ...] = ()  # (): only the last step
    batch: int = 64
    weight_decay: float = 1e-3
    warmup: float = 50
    ema: float = 0.0
    grad_clip: float = 0.0

    course: ClassVar[Literal["one-cycle", "cosine"]] = "cosine"
    betas: ClassVar[tuple[float, float]] = (0.9, 0.999)
    decays: ClassVar[Literal["matrices", "all"]] = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(not 0 < step <= self.steps for step in self.save_at):
            raise ValueError(f"save_at {list(self.save_at)} must lie within 1..{self.steps} steps")

    @property
    def checkpoints(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.save_at))) or (self.steps,)


@dataclass(frozen=True, kw_only=True)
class WarmRecipe:
    """Sampling that starts from the previous chunk instead of noise (real-time iteration)."""

    skip: float = 0.0  # share of denoising steps that a warm start saves; 0: start from noise
    executed: int = 2  # world frames executed between two calls

    def __post_init__(self) -> None:
        if not 0 <= self.skip < 1:
            raise ValueError(f"warm.skip {self.skip} must be at least 0 and below 1")


Head = Literal["bc", "flow", "diffusion", "a2a", "carp", "ebt", "beso", "dita", "mamba", "act-jepa"]
HISTORY = {"a2a": 4, "mamba": 6}  # world frames that these heads see where a recipe says nothing


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a policy reads of an episode, beside the newest frame and the task."""

    moments: int = 1  # world frames, the newest last
    goal: bool = False  # an image of where the episode is to end
    ahead: int = 0  # frames after the newest, in training only


@dataclass(frozen=True, kw_only=True)
class PolicyRecipe:
    """One training run."""

    head: Head = "bc"
    views: tuple[str, ...] = ()  # (): every view of the data
    # Height and width to which all views are resized; None: as they are, which must be one size.
    size: tuple[int, int] | None = None
    chunk: int = 2  # world frames in one action chunk
    # World frames that the policy sees, the newest last; None: the head's own number (`HISTORY`).
    history: int | None = None
    blind: bool = False  # blank the images, in training and in use
    demos: tuple[DemoGroup, ...] = (DemoGroup(),)
    # (index, count): only use demonstrations whose id falls in this part, so that sets trained on
    # different parts share no demonstration.
    fold: tuple[int, int] | None = None
    # World frames imitated after the first success; later actions of a scripted expert are jitter.
    after_success: int = 2
    validation_per_task: int = 5  # expert demonstrations held out; keep it equal across sets
    validation_sources: tuple[str, ...] = ("expert",)  # globs on the source of experts' episodes
    labels: LabelRecipe = field(default_factory=LabelRecipe)
    augment: AugmentRecipe = field(default_factory=AugmentRecipe)
    network: NetworkRecipe = field(default_factory=NetworkRecipe)
    trainer: PolicyTrainerRecipe = field(default_factory=PolicyTrainerRecipe)
    loss: Literal["l1", "mse"] = "l1"  # of behaviour cloning
    flow_steps: int = 6  # Euler steps of the flow head
    ddim_steps: int = 10  # of the diffusion and dita heads, in use; of 100 noise levels in training
    warm: WarmRecipe = field(default_factory=WarmRecipe)  # of the heads that denoise
    # Settings of single heads.
    a2a: A2aSettings = field(default_factory=A2aSettings)
    carp: CarpSettings = field(default_factory=CarpSettings)
    ebt: EbtSettings = field(default_factory=EbtSettings)
    beso: BesoSettings = field(default_factory=BesoSettings)
    dita: DitaSettings = field(default_factory=DitaSettings)
    mamba: MambaSettings = field(default_factory=MambaSettings)
    act_jepa: ActJepaSettings = field(default_factory=ActJepaSettings)

    RETIRED: ClassVar = retired("0.1", noise_levels=NOISE_LEVELS)

    def __post_init__(self) -> None:
        if not 0 < self.ddim_steps <= NOISE_LEVELS:
            raise ValueError(f"ddim_steps {self.ddim_steps} must lie within 1..{NOISE_LEVELS}")
        if self.fold is not None and not 0 <= self.fold[0] < self.fold[1]:
            raise ValueError(f"fold {list(self.fold)} must be [index, count] with index < count")
        if self.history is not None and not 1 <= self.history <= MOST_HISTORY:
            raise ValueError(f"history {self.history} must lie within 1..{MOST_HISTORY} frames")

    @property
    def sight(self) -> Sight:
        """What the head reads of an episode."""
        predicts = self.head == "act-jepa" and self.act_jepa.predict > 0
        return Sight(
            moments=self.history or HISTORY.get(self.head, 1),
            goal=self.head == "beso",
            ahead=self.chunk if predicts else 0,
        )

    @property
    def unused(self) -> dict[str, str]:
        """Keys of other heads, and why they would change nothing."""
        own = self.head.replace("-", "_")
        named = ("a2a", "carp", "ebt", "beso", "dita", "mamba", "act_jepa")
        return {key: f"the head is {self.head}" for key in named if key != own}


@dataclass(frozen=True, kw_only=True)
class FlowRecipe(PolicyRecipe):
    """A training run whose `kind:` is flow."""

    head: Head = "flow"


@dataclass(frozen=True, kw_only=True)
class DiffusionRecipe(PolicyRecipe):
    """A training run whose `kind:` is diffusion."""

    head: Head = "diffusion"
    trainer: PolicyTrainerRecipe = field(default_factory=lambda: PolicyTrainerRecipe(ema=0.995))


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """A training run within a set: its changes to the set's common recipe."""

    name: str
    seed: int
    note: str = ""  # why it is in the set
    # Whether validation action error is expected to rank its checkpoints badly, so that results
    # can be reported for both groups.
    misleads: bool = False
    change: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class PolicySetRecipe:
    """Lineages trained by one command."""

    lineages: tuple[Lineage, ...]
    policy: PolicyRecipe = field(default_factory=PolicyRecipe)

    def __post_init__(self) -> None:
        names = [lineage.name for lineage in self.lineages]
        if len(set(names)) < len(names):
            raise ValueError(f"two lineages have the same name: {sorted(names)}")
        for lineage in self.lineages:
            self.recipe(lineage)  # report a wrong key now, not after an hour of training

    def recipe(self, lineage: Lineage) -> PolicyRecipe:
        """The complete recipe of one lineage."""
        raw = merge(asdict(self.policy), lineage.change)
        return build(PolicyRecipe, raw, where=f"lineage '{lineage.name}'")


def check_views(recipe: PolicyRecipe, views: tuple[str, ...]) -> None:
    """Refuse a recipe that reads views which the dataset does not have."""
    missing = [view for view in recipe.views if view not in views]
    if missing:
        raise UserError(
            f"View '{missing[0]}' is not in the dataset (it has: {', '.join(views)}). "
            "Set policy.views (or views) in the recipe."
        )
