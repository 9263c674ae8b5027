"""The same policies from the same starts in the simulator: what the ranking is compared with."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from worldeval.envs.metaworld import available
from worldeval.errors import UserError
from worldeval.imagine.recipe import ProtocolRecipe
from worldeval.imagine.simulate import TruthJob, TruthOutcome, simulate
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.run import whole_file

BLOCK = 100  # episodes to a process: enough to pay for its start, few enough to resume


def measure_truth(
    recipe: ProtocolRecipe,
    refs: Sequence[str],
    names: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    *,
    processes: int,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Run what `folder` lacks; returns a row per episode: policy, task, start, seed, success."""
    if recipe.truth is None:
        raise UserError("The protocol has no `truth:`; give one to measure the policies.")
    problem = available()
    if problem:
        raise UserError(problem)
    jobs, paths = [], {}
    per_block = max(1, BLOCK // len(seeds))
    for task in recipe.tasks:
        for begin in range(0, len(refs), per_block):
            path = folder / f"{task}-{begin:03d}.csv"
            if path.is_file():
                continue
            block = tuple((ref, seed) for ref in refs[begin : begin + per_block] for seed in seeds)
            job = TruthJob(task=task, episodes=block, load=load_one)
            jobs.append(job)
            paths[job] = path
    total = sum(len(job.episodes) for job in jobs)
    finished = 0
    name_of = dict(zip(refs, names, strict=True))

    def done(job: TruthJob, found: list[TruthOutcome]) -> None:
        nonlocal finished
        with whole_file(paths[job]) as draft:
            table(found, name_of).to_csv(draft, index=False)
        finished += len(found)
        if progress:
            progress(finished, total)

    simulate(
        jobs,
        recipe.truth,
        horizon=recipe.horizon,
        replan_every=recipe.replan_every,
        processes=processes,
        done=done,
    )
    return pd.concat([pd.read_csv(path) for path in sorted(folder.glob("*.csv"))])


def table(found: Sequence[TruthOutcome], name_of: dict[str, str]) -> pd.DataFrame:
    """Outcomes as rows."""
    return pd.DataFrame(
        {
            "policy": name_of[outcome.policy],
            "task": outcome.task,
            "start": f"{outcome.task}-{outcome.seed}",
            "seed": outcome.seed,
            "success": int(outcome.success),
            "frames": outcome.steps,
        }
        for outcome in found
    )


def load_one(ref: str, seed: int) -> Policy:
    """The policy of a reference; its seed comes with `reset`."""
    return load_policy(ref)
