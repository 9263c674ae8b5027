"""The recipe of an evaluation: policies, starts, world model and judge."""

from dataclasses import dataclass

from worldeval.config import at_least


@dataclass(frozen=True, kw_only=True)
class TruthRecipe:
    """The simulator that the ranking is compared with."""

    env: str  # its address: gym:ID?..., ./sim.py:make (worldeval/envs/address.py)
    k: int = 5  # simulator steps per world frame; the same as in the world model's data
    size: int = 64  # height and width of its images, if they can be chosen

    def __post_init__(self) -> None:
        at_least(1, self, "k", "size")


@dataclass(frozen=True, kw_only=True)
class GuidedRecipe:
    """Episodes sampled between the behaviour in the data and a policy's (see guided.py)."""

    scale: float  # 0: the behaviour in the data; large: the policy's behaviour
    std: float = 0.5  # of the policy around its chunk, in std of the data's actions
    weighted: bool = False  # gradient steps with the official weights, not proximal steps

    def __post_init__(self) -> None:
        if self.scale < 0 or self.std <= 0:
            raise ValueError(
                f"guided: scale {self.scale} must be 0 or more, and std {self.std} above 0."
            )


@dataclass(frozen=True, kw_only=True)
class ProtocolRecipe:
    """A closed-loop evaluation with paired starts."""

    tasks: tuple[str, ...]
    policies: tuple[str, ...]  # references or globs
    world: str  # folder of a trained world model
    judge: str  # folder of a trained judge
    # Folder of a trained `uwm` world whose inverse dynamics measures, for every imagined step, how
    # well the frames show the commanded action; may be the world itself.
    checker: str = ""
    starts: int = 20  # per task
    first_seed: int = 0  # of the simulator's resets; must not be used by collected episodes
    starts_file: str = ""  # recorded starts to use if there is no simulator
    replays: str = ""  # recorded episodes for the replay check
    # Dataset of demonstrations with which the policies' interfaces are checked before the ranking.
    recordings: str = ""
    horizon: int = 30  # world frames
    replan_every: int = 2  # world frames of a chunk to execute before the next query
    sampler_steps: int | None = None  # of the world model, per frame; None: as it was trained
    guided: GuidedRecipe | None = None  # for `uwm`: sample episodes near the policy
    batch: int = 40  # episodes that advance together
    margin: float = 0.1  # true difference from which a pair of policies counts as separable
    truth: TruthRecipe | None = None

    def __post_init__(self) -> None:
        at_least(1, self, "tasks", "starts", "horizon", "replan_every", "sampler_steps", "batch")
        at_least(0, self, "first_seed", "margin")


@dataclass(frozen=True, kw_only=True)
class RolloutsRecipe:
    """A dataset of policy roll-outs in the simulator, mostly failures, to learn failure from."""

    tasks: tuple[str, ...]
    policies: tuple[str, ...]  # references or globs
    episodes: int = 240  # per task
    first_seed: int = 100_000  # of the simulator's resets
    switched: float = 0.25  # share of episodes that change to another policy midway
    # Share with biased, scaled or noisy actions or a wrong pose; for motions in [-1, 1].
    perturbed: float = 0.0
    horizon: int = 30
    replan_every: int = 2
    after_success: int = 8
    shard: int = 60  # episodes per file
    truth: TruthRecipe  # the simulator that records them

    def __post_init__(self) -> None:
        at_least(1, self, "tasks", "policies", "episodes", "horizon", "replan_every", "shard")
        at_least(0, self, "first_seed", "switched", "perturbed", "after_success")
