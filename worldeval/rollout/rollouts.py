"""Record weak and perturbed policies in the simulator, as shards to train on."""

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import numpy as np

from worldeval.errors import UserError
from worldeval.files import file_name
from worldeval.policy.load import expand, load_policy
from worldeval.policy.perturb import Perturbation, Perturbed, Switched
from worldeval.policy.protocol import Policy
from worldeval.rollout.actions import stacked_for
from worldeval.rollout.recipe import RolloutsRecipe
from worldeval.rollout.simulate import TruthJob, record


def record_rollouts(
    recipe: RolloutsRecipe,
    out: Path,
    *,
    processes: int,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Record every missing shard of `recipe` into `out`."""
    choose = partial(drawn_policy, refs=tuple(expand(recipe.policies)), recipe=recipe)
    jobs = []
    for begin in range(0, recipe.episodes, recipe.shard):
        numbers = range(begin, min(begin + recipe.shard, recipe.episodes))
        for index, task in enumerate(recipe.tasks):
            # Seeds are disjoint between tasks, so that each task draws its own policies.
            first = recipe.first_seed + index * recipe.episodes
            episodes = tuple(("drawn", first + number) for number in numbers)
            job = TruthJob(task=task, episodes=episodes, load=choose)
            jobs.append((job, out / f"{file_name(task)}-{begin:05d}.h5"))
    record(
        jobs,
        recipe.truth,
        horizon=recipe.horizon,
        replan_every=recipe.replan_every,
        after_success=recipe.after_success,
        processes=processes,
        progress=progress,
    )


def drawn_policy(_: str, seed: int, *, refs: Sequence[str], recipe: RolloutsRecipe) -> Policy:
    """Draw the policy of one episode: which one, whether it is perturbed, whether it changes."""
    rng = np.random.default_rng([seed, 7])
    first, second = (refs[int(index)] for index in rng.choice(len(refs), 2, replace=len(refs) == 1))
    switched, perturbed = rng.random() < recipe.switched, rng.random() < recipe.perturbed
    policy = _loaded(first)
    if switched:
        other = _loaded(second)
        # One may act a step at a time, the other a frame of several steps.
        size = max(policy.spec.action_dim, other.spec.action_dim)
        policy = Switched(
            stacked_for(policy, size),
            stacked_for(other, size),
            frames_per_call=recipe.replan_every,
        )
    if not perturbed:
        return policy
    step_dim, rest = divmod(policy.spec.action_dim, recipe.truth.k)
    if rest or not step_dim:
        raise UserError(
            f"Policy {policy.spec.name} gives {policy.spec.action_dim} numbers per action, which "
            f"are not {recipe.truth.k} simulator steps (truth.k). Set truth.k to the steps in an "
            "action, or record the policies as they are: --set perturbed=0."
        )
    return Perturbed(policy, Perturbation(), step_dim=step_dim)


@cache
def _loaded(ref: str) -> Policy:
    return load_policy(ref)
