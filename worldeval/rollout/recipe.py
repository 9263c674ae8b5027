"""The recipe of an evaluation: what is tried, from where, in which world, judged by whom."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TruthRecipe:
    """The simulator that the ranking is compared with."""

    env: str = "metaworld"  # its address: gym:ID?..., ./sim.py:make (worldeval/envs/address.py)
    k: int = 5  # simulator steps to a world frame; the same as the world model's data
    size: int = 64  # height and width of its pictures, where it can be asked for that


@dataclass(frozen=True, kw_only=True)
class GuidedRecipe:
    """Episodes drawn between what the data did and what a policy does (guided.py)."""

    scale: float  # 0: what the data did; a large one: what the policy does
    std: float = 0.5  # of the policy around its chunk, in deviations of the data's actions

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
    # Folder of a trained `uwm` world whose inverse dynamics says, for every imagined step, how well
    # its frames show the action that was commanded; it may be the world itself.
    checker: str = ""
    starts: int = 20  # per task
    first_seed: int = 0  # of the simulator's resets; no collected episode may share them
    starts_file: str = ""  # recorded starts to use where there is no simulator
    replays: str = ""  # recorded episodes for the replay gate
    horizon: int = 30  # world frames
    replan_every: int = 2  # world frames of a chunk that are carried out
    sampler_steps: int | None = None  # of the world model, for a frame; None: as it was trained
    guided: GuidedRecipe | None = None  # for `uwm`: episodes near a policy instead of its own
    batch: int = 40  # episodes that advance together
    margin: float = 0.1  # true gap from which a pair of policies counts as separable
    truth: TruthRecipe | None = None


@dataclass(frozen=True, kw_only=True)
class RolloutsRecipe:
    """A dataset made by policies in the simulator, most of them weak: what failure looks like."""

    tasks: tuple[str, ...]
    policies: tuple[str, ...]  # references or globs
    episodes: int = 240  # per task
    first_seed: int = 100_000  # of the simulator's resets
    switched: float = 0.25  # share that hands over to another policy midway
    perturbed: float = 0.6  # share that is pushed, scaled, shaken or misled about its hand
    horizon: int = 30
    replan_every: int = 2
    after_success: int = 8
    shard: int = 60  # episodes to a file
    truth: TruthRecipe = TruthRecipe()
