"""Train a set of lineages in several processes; an interrupted set resumes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from worldeval.data.table import read_table
from worldeval.data.weighted import Weighted
from worldeval.device import threads
from worldeval.policy.recipe import Lineage, PolicyRecipe, PolicySetRecipe
from worldeval.policy.train import KeptCheckpoint, train
from worldeval.training.optimise import Progress
from worldeval.training.track import tracked


def as_set(name: str, recipe: PolicyRecipe | PolicySetRecipe) -> PolicySetRecipe:
    """Wrap a single training run as a set of one lineage, named after its recipe."""
    if isinstance(recipe, PolicySetRecipe):
        return recipe
    return PolicySetRecipe(policy=recipe, lineages=(Lineage(name=name, seed=0),))


def train_set(
    recipe: PolicySetRecipe,
    data: Sequence[Path | Weighted],
    out: Path,
    *,
    seed: int = 0,
    jobs: int = 1,
    track: Sequence[str] = (),
) -> Iterator[list[KeptCheckpoint]]:
    """Train every lineage, yielding each one's checkpoints as it ends.

    Finished lineages are skipped. Each process uses one core, since the networks are small.
    Training curves go to the trackers named by `track`, one run per lineage.
    """
    if jobs <= 1:
        for lineage in recipe.lineages:
            yield _one(recipe, lineage, data, out, seed, track)
        return
    # Spawn new processes instead of forking: torch's threads do not survive a fork.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [
            pool.submit(_one, recipe, lineage, data, out, seed, track)
            for lineage in recipe.lineages
        ]
        for done in as_completed(waiting):
            yield done.result()


def _one(
    recipe: PolicySetRecipe,
    lineage: Lineage,
    data: Sequence[Path | Weighted],
    out: Path,
    seed: int,
    track: Sequence[str],
) -> list[KeptCheckpoint]:
    own, folder = recipe.recipe(lineage), out / lineage.name
    curves = tracked(_silent, track, folder, recipe=asdict(own))
    with threads(1), curves as report:
        return train(own, lineage, read_table(*data), out, seed=seed, report=report)


def _silent(stage: str, steps: int) -> Progress:
    return lambda step, loss: None
