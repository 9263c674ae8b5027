"""Load what a recipe of improvement names: world, judge, starts and data."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.errors import UserError, did_you_mean
from worldeval.improve.doubt import Doubt, check_second
from worldeval.improve.left_out import Guarded, guarded
from worldeval.improve.offpolicy_recipe import OffPolicyRecipe
from worldeval.improve.place import Judging, Simulation
from worldeval.improve.recipe import PlaceRecipe, RlRecipe
from worldeval.improve.starts import Starts, divide, recorded_starts
from worldeval.judge.load import load_judge
from worldeval.policy.checkpoint import LearnedPolicy, is_checkpoint, load
from worldeval.recipe import shipped
from worldeval.rollout.starts import read_starts
from worldeval.world.load import load_world, world_hash
from worldeval.world.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A place, its starts, and the recorded data if there are any."""

    place: Simulation  # its judge is the one that is optimised
    left_out: Judging | None  # the judge that is not; None: nobody is left out
    starts: Starts
    recorded: RecordedEpisodes | None
    world_hash: str
    tasks: tuple[str, ...]


def open_place(recipe: PlaceRecipe, policy_tasks: tuple[str, ...] | None, *, seed: int) -> Opened:
    """Load world and judge, and draw the starts of the tasks to improve on.

    `policy_tasks` is None for a policy that does not declare its tasks.

    Raises:
        UserError: the policy or the world does not know a task, or a task has no start.
    """
    folder = Path(shipped(recipe.world))
    world = load_world(folder)
    policy_tasks = policy_tasks or world.spec.tasks
    tasks = recipe.tasks or tuple(task for task in policy_tasks if task in world.spec.tasks)
    for task in tasks:
        for known, whose in ((policy_tasks, "The policy"), (world.spec.tasks, "The world model")):
            if task not in known:
                raise UserError(f"{whose} was not trained on '{task}'.{did_you_mean(task, known)}")
    data = Path(recipe.data)
    recorded = read_table(data) if recipe.data and data.exists() else None
    if recipe.starts_file:
        found = read_starts(Path(shipped(recipe.starts_file)))
    elif recorded is not None:
        found = recorded_starts(recorded, tasks, np.random.default_rng([seed, 0]))
    else:
        raise UserError(
            f"There is no folder of recorded episodes {data} to start from. Pass --data, or set "
            "starts_file in the recipe."
        )
    starts = divide(found, check=recipe.check, held_out=recipe.held_out, tasks=tasks)
    if recipe.begin_at != (0, 0) and recorded is not None and not recipe.starts_file:
        rng = np.random.default_rng([seed, 1])
        starts = starts.later(recorded_starts(recorded, tasks, rng, begin_at=recipe.begin_at))
    judge = load_judge(Path(shipped(recipe.judge)))
    guard = guarded_by(recipe, world, judge)
    return Opened(
        place=guard.place,
        left_out=guard.left_out,
        starts=starts,
        recorded=recorded,
        world_hash=world_hash(folder),
        tasks=tasks,
    )


def guarded_by(recipe: PlaceRecipe, world: WorldModel, judge: Judging) -> Guarded:
    """The place of a recipe, without the judge that is left out of the optimisation."""
    place = Simulation(
        world=world,
        judge=judge,
        horizon=recipe.horizon,
        replan_every=recipe.replan_every,
        batch=recipe.batch,
    )
    second = None
    if recipe.second_judge:
        second = load_judge(Path(shipped(recipe.second_judge)))
    return guarded(
        place, leave_out=recipe.leave_out, pessimism=recipe.judge_pessimism, second=second
    )


def open_doubt(
    recipe: RlRecipe | OffPolicyRecipe, place: Simulation, *, seed: int
) -> tuple[Doubt, WorldModel | None]:
    """Where actions are replayed, and the second world model if the recipe names one.

    Raises:
        UserError: the judge cannot read what the second world imagines.
    """
    second = None
    if recipe.second:
        check_second(Path(shipped(recipe.world)), Path(shipped(recipe.second)))
        second = load_world(Path(shipped(recipe.second)))
    return Doubt(place=place, second=second, seed=seed), second


def open_policy(ref: str) -> LearnedPolicy:
    """Load one of this project's checkpoints, which can be trained further.

    Raises:
        UserError: the reference is not a checkpoint folder.
    """
    folder = Path(shipped(ref))
    if not is_checkpoint(folder):
        raise UserError(
            f"{ref} is not a worldeval checkpoint (no policy.json), so it cannot be trained "
            "further here. `worldeval improve search` works with any policy."
        )
    return load(folder)
