# pandas types a cell as anything that a table may hold.
# pyright: reportAttributeAccessIssue=false
"""Labelled episodes for `judges.py`: recorded and imagined, with their real outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.data.adapt import ChosenEpisodes
from worldeval.data.split import held_out
from worldeval.data.table import RecordedEpisodes
from worldeval.data.weighted import Weighted
from worldeval.evaluate.develop import protocol
from worldeval.judge.examples import Examples, gathered, replayed
from worldeval.judge.learn import COLLECTED, families, judged_frames
from worldeval.judge.recipe import JudgeRecipe
from worldeval.judge.tasks import judged_tasks
from worldeval.record import Rollout
from worldeval.runs.paths import TRUTH, RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.tables import read_side
from worldeval.world.load import load_world, read_card
from worldeval.world.sources import to_train_on
from worldeval.world.tokenizer.encode import cache_place, cached
from worldeval.world.tokenizer.episodes import latent_episodes

NEAR = "near"  # in the names of sources that aim a little beside the object
KEPT = (
    "imagined", "recorded", "imagined_pose", "recorded_pose", "achieved", "task", "timed", "last",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """Episodes with known outcomes, imagined from the same starts with the same actions."""

    examples: Examples
    source: np.ndarray  # who acted
    tasks: tuple[str, ...]  # names of the tasks that `examples.task` numbers
    seen: bool  # whether the world model was trained on them

    @property
    def near(self) -> np.ndarray:
        """Failures that aimed a little beside the object."""
        close = np.array([NEAR in str(name) for name in self.source])
        return close & ~self.examples.success

    def rollouts(self, *, real: bool) -> list[Rollout]:
        """Return them as roll-outs of nobody, recorded or imagined."""
        own = self.examples
        latents, pose = (
            (own.recorded, own.recorded_pose) if real else (own.imagined, own.imagined_pose)
        )
        still = np.zeros((latents.shape[1] - 1, 1), np.float32)
        return [
            Rollout(
                start=f"{row}", task=self.tasks[own.task[row]], policy="", seed=row,
                actions=still, pose=pose[row], latents=latents[row],
            )
            for row in range(len(own))
        ]  # fmt: skip


def labelled_episodes(world: Path, data: Path, weak: Path, home: Path, *, step: int) -> Labelled:
    """Imagine every labelled roll-out of `weak`, and the recordings that were held out.

    Each fold of the world model imagines those that it has not seen. Where the folds were not kept
    (the shipped world model is their mean), the world model itself imagines all: `seen`. Of the
    roll-outs only every `step`th is taken.
    """
    kept = home / "examples.npz"
    if kept.is_file():
        return _read(kept)
    recipe, model = read_card(world)["recipe"], load_world(world)
    recorded = to_train_on(Weighted(path=data).open(), recipe)
    held = np.flatnonzero(held_out(recorded, share=recipe.held_out, seed=0)).tolist()
    tried = to_train_on(Weighted(path=weak).open(), recipe)
    some = list(range(0, len(tried), step))
    sources = [ChosenEpisodes(recorded, held), ChosenEpisodes(tried, some)]
    joined, spec = RecordedEpisodes(sources), model.spec
    tokenizer = model.tokenizer  # pyright: ignore[reportAttributeAccessIssue]
    quiet = lambda stage, steps: lambda step, loss: None  # noqa: E731
    caches = [
        cached(one, cache_place(home, one, tokenizer, spec.tasks, joined.views), tokenizer,
               spec.tasks, joined.views, quiet)
        for one in sources
    ]  # fmt: skip
    episodes = latent_episodes(joined, caches, spec.tasks)
    assert episodes.labelled is not None and episodes.drivers is not None
    assert episodes.flags is not None
    folds = [world / f"fold-{k}" for k in range(recipe.folds) if (world / f"fold-{k}").is_dir()]
    drivers = np.array(episodes.drivers, dtype=object)
    family = families(drivers)
    family[: len(held)] = COLLECTED
    every = np.arange(len(episodes))
    horizon = judged_frames(JudgeRecipe(), episodes, every[len(held) :])
    told = judged_tasks(
        JudgeRecipe(), spec, task=episodes.task, instructions=episodes.instructions, episodes=every
    )
    # As in training, every fold leaves out each so manieth roll-out.
    number = every - len(held) * (every >= len(held))
    chosen, made = list[np.ndarray](), list[Examples]()
    for fold, place in enumerate(folds or [world]):
        mine = every[(number % max(1, len(folds)) == fold) & episodes.labelled]
        chosen.append(mine)
        made.append(
            replayed(
                load_world(place), episodes, mine, flags=episodes.flags, family=family,
                horizon=horizon, timed=episodes.timed,
            )
        )  # fmt: skip
    every, index = gathered(*made), np.concatenate(chosen)
    found = Labelled(
        examples=_numbered(every, told.index[index]),
        source=drivers[index],
        tasks=told.names,
        seen=not folds,
    )
    _write(kept, found)
    return found


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Proprioception and outcomes of recorded roll-outs, without pictures."""

    rollouts: Sequence[Rollout]
    success: np.ndarray
    task: np.ndarray


def recorded(world: Path, weak: Path) -> Recorded:
    """Read the labelled roll-outs of `weak`; shorter ones stay at their last frame."""
    source = to_train_on(Weighted(path=weak).open(), read_card(world)["recipe"])
    own = RecordedEpisodes([source])
    begin, length = own.episodes["begin"].to_numpy(), own.episodes["length"].to_numpy()
    last = begin + length - 1
    rows = np.minimum(begin[:, None] + np.arange(length.max()), last[:, None])
    still = np.zeros((rows.shape[1] - 1, 1), np.float32)
    task = np.array([head.task for head in source.heads])
    rollouts = [
        Rollout(
            start=f"{k}", task=task[k], policy="", seed=k, actions=still, pose=own.pose[rows[k]]
        )
        for k in range(len(rows))
    ]
    return Recorded(rollouts=rollouts, success=np.asarray(own.flags[rows].any(1)), task=task)


@dataclass(frozen=True, kw_only=True)
class Developed:
    """Imagined episodes of a run, and whether the policy succeeded from the same start."""

    rollouts: Sequence[Rollout]
    success: np.ndarray
    policy: np.ndarray
    task: np.ndarray

    @property
    def rates(self) -> Mapping[str, float]:
        """Measured rate of every policy."""
        return {name: float(self.success[self.policy == name].mean()) for name in self.policies}

    @property
    def policies(self) -> list[str]:
        """Names of the policies."""
        return sorted(set(self.policy.tolist()))


def developed(run: Path) -> Developed:
    """Read the imagined episodes of a run with `--truth`."""
    truth = read_side(run, TRUTH, needed=("policy", "task", "start", "success"))
    real = truth.groupby(["policy", "task", "start"])["success"].mean().to_dict()
    pairs = [
        (rollout, real[key])
        for rollout, _ in RolloutStore(RunPaths(run).imagined).rollouts()
        if (key := (rollout.policy, rollout.task, rollout.start)) in real
    ]
    return Developed(
        rollouts=[rollout for rollout, _ in pairs],
        success=np.array([value >= 0.5 for _, value in pairs]),
        policy=np.array([rollout.policy for rollout, _ in pairs]),
        task=np.array([rollout.task for rollout, _ in pairs]),
    )


def world_of(run: Path) -> Path:
    """Return the world model in which a run imagined."""
    return Path(protocol(run).world)


def _numbered(examples: Examples, task: np.ndarray) -> Examples:
    every = {name: getattr(examples, name) for name in examples.__dataclass_fields__}
    return Examples(**{**every, "task": task})


def _write(path: Path, found: Labelled) -> None:
    arrays = {name: getattr(found.examples, name) for name in KEPT}
    arrays = {name: each for name, each in arrays.items() if each is not None}
    names = {"family": found.examples.family, "source": found.source, "tasks": found.tasks}
    texts = {name: np.array(each, dtype=str) for name, each in names.items()}
    np.savez(path, allow_pickle=False, seen=np.array(found.seen), **arrays, **texts)


def _read(path: Path) -> Labelled:
    with np.load(path) as file:
        arrays = {name: file.get(name) for name in KEPT}
        return Labelled(
            examples=Examples(**arrays, family=file["family"].astype(object)),  # pyright: ignore
            source=file["source"],
            tasks=tuple(str(name) for name in file["tasks"]),
            seen=bool(file["seen"]),
        )
