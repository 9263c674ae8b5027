# pandas types a cell as anything that a table may hold.
# pyright: reportReturnType=false
"""Imagining and judging every policy from every start, in parallel processes, resumably."""

import multiprocessing as mp
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import pandas as pd

from worldeval.imagine.loop import imagine
from worldeval.imagine.recipe import ProtocolRecipe
from worldeval.imagine.store import RolloutStore
from worldeval.judge.judge import Judge, load_judge
from worldeval.policy.load import load_policy
from worldeval.record import Start
from worldeval.world.load import load_world
from worldeval.world.world import World


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """One batch of one policy, for the progress shown."""

    policy: str
    probabilities: tuple[float, ...]
    seconds: float  # of one process


Progress = Callable[[BatchDone], None]

_WORLD: World | None = None
_JUDGE: Judge | None = None
_STARTS: list[Start] = []


def imagine_all(
    recipe: ProtocolRecipe,
    refs: Sequence[str],
    starts: Sequence[Start],
    folder: Path,
    *,
    seed: int,
    processes: int,
    progress: Progress | None = None,
) -> None:
    """Roll every policy out from every start in the world model and judge it."""
    store = RolloutStore(folder)
    jobs = []
    for number, ref in enumerate(refs):
        for begin in range(0, len(starts), recipe.batch):
            name = f"{number:03d}-{begin:05d}"
            if not store.has(name):
                jobs.append((name, ref, begin, min(begin + recipe.batch, len(starts))))
    if not jobs:
        return
    context = mp.get_context("spawn")
    given = (recipe.world, recipe.judge, list(starts))
    with ProcessPoolExecutor(
        min(processes, len(jobs)), mp_context=context, initializer=_prepare, initargs=given
    ) as pool:
        futures = [pool.submit(_batch, recipe, folder, seed, *job) for job in jobs]
        for future in as_completed(futures):
            if progress:
                progress(future.result())
            else:
                future.result()


def outcomes(folder: Path, cards: pd.DataFrame) -> pd.DataFrame:
    """A row per imagined episode, with the lineage and step of its policy from `cards`."""
    rows = [
        {
            "policy": fact["policy"],
            "task": fact["task"],
            "start": fact["start"],
            "seed": fact["seed"],
            "score": round(verdict.probability, 6),
            "reached": verdict.step,
            "disagreement": round(max(verdict.votes) - min(verdict.votes), 6),
            "mended": fact["trust"].get("mended_actions", 0.0),
        }
        for fact, verdict in RolloutStore(folder).verdicts()
    ]
    table = pd.DataFrame(rows).merge(cards[["policy", "lineage", "step"]], on="policy")
    first = ["policy", "lineage", "step", "task", "start", "seed", "score"]
    return table[[*first, *(column for column in table if column not in first)]]


def _prepare(world: str, judge: str, starts: list[Start]) -> None:
    global _WORLD, _JUDGE
    import torch

    torch.set_num_threads(1)  # the processes are the parallelism
    _WORLD, _JUDGE = load_world(Path(world)), load_judge(Path(judge))
    _STARTS[:] = starts


def _batch(
    recipe: ProtocolRecipe, folder: Path, seed: int, name: str, ref: str, begin: int, end: int
) -> BatchDone:
    assert _WORLD is not None and _JUDGE is not None
    clock = perf_counter()
    starts = _STARTS[begin:end]
    policy = load_policy(ref)
    rollouts = imagine(
        _WORLD,
        policy,
        starts,
        horizon=recipe.horizon,
        replan_every=recipe.replan_every,
        # Paired: a start has the same seed for every policy.
        seeds=[seed + start.seed for start in starts],
    )
    verdicts = _JUDGE(rollouts)
    RolloutStore(folder).save(name, rollouts, verdicts)
    return BatchDone(
        policy=policy.spec.name,
        probabilities=tuple(verdict.probability for verdict in verdicts),
        seconds=perf_counter() - clock,
    )
