# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false, reportReturnType=false
"""Choose informative roll-outs and render them, imagined and simulated from the same start."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from worldeval.axes import Array, UInt8
from worldeval.data.table import read_table
from worldeval.evaluate.judging import imagined_frames, run_judge
from worldeval.evaluate.truth import load_one, world_of
from worldeval.judge.protocol import Judge
from worldeval.record import Rollout, Verdict
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.simulate import TruthJob, record
from worldeval.runs.episodes import CUT
from worldeval.runs.films import Filmstrip, Frames, Moves, read_filmstrips, write_filmstrip
from worldeval.runs.paths import RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.world.load import load_world

TELLING = 10  # informative roll-outs of any policy
MOST = 60  # maximum number of film strips by default
JOB = 8  # episodes per process, enough to be worth starting it
ROUNDED = 1e-4  # rounding difference between a probability in a table and in the run store

Outcome = dict[str, Any]  # a row of outcomes: policy, task, start, seed, score
Shown = tuple[str, str, int]  # a policy's reference, a task and the seed of its reset


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A simulated episode with every frame."""

    frames: dict[str, UInt8[Array, "_n _h _w 3"]]
    moves: Moves


def choose(
    imagined: pd.DataFrame, truth: pd.DataFrame | None, *, count: int | None = None
) -> list[Outcome]:
    """Choose roll-outs to render: informative ones, then a success and a failure of every policy.

    Returns the rows of `imagined` as mappings, with `success` where the truth is known.

    Args:
        imagined: policy, task, start, score.
        truth: policy, start, success; None if nothing was measured.
        count: maximum number; None for all of these, up to `MOST`.
    """
    table = imagined
    if truth is not None:
        table = imagined.merge(truth[["policy", "start", "success"]], on=["policy", "start"])
        table = table.assign(error=table["score"] - table["success"])
    count = MOST if count is None else count
    chosen = _telling(table, min(count, TELLING))
    chosen += _of_each(table, chosen)
    return chosen[:count]


def not_filmed(run: Path, chosen: Sequence[Outcome], *, real: bool) -> list[Outcome]:
    """Select roll-outs whose film strip is missing, outdated, or without a simulated side."""
    kept = {strip.key: strip for strip in read_filmstrips(RunPaths(run).films)}

    def is_kept(row: Outcome) -> bool:
        strip = kept.get((row["policy"], row["task"], row["start"], int(row["seed"])))
        if strip is None or strip.probability is None or (real and strip.moves is None):
            return False
        return abs(strip.probability - row["score"]) < ROUNDED

    return [row for row in chosen if not is_kept(row)]


def film(
    run: Path,
    recipe: ProtocolRecipe,
    chosen: Sequence[Outcome],
    real: Sequence[Simulated | None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Decode roll-outs of a run, and store each with its simulated side if there is one.

    `progress` is called with the number that are stored and their total.
    """
    world = load_world(Path(recipe.world))
    judge = run_judge(recipe.judge, world, cache=RunPaths(run).answers)
    store = RolloutStore(RunPaths(run).imagined)
    progress(0, len(chosen))
    for place, (row, side) in enumerate(zip(chosen, real, strict=True), start=1):
        rollout, verdict = store.find(policy=row["policy"], start=row["start"])
        success = bool(row["success"]) if "success" in row else None
        entry = described(row, rollout, verdict, judge, success=success)
        keep(run, entry, imagined_frames(rollout, world), side)
        progress(place, len(chosen))


def described(
    row: Outcome,
    rollout: Rollout,
    verdict: Verdict,
    judge: Judge,
    *,
    success: bool | None,
    drawn: bool = False,
) -> Filmstrip:
    """Describe a film strip: its episode, the judge's verdict, and the measured outcome."""
    return Filmstrip(
        policy=row["policy"],
        task=row["task"],
        start=row["start"],
        seed=int(row["seed"]),
        probability=verdict.probability,
        progress=verdict.progress,
        success=success,
        evidence=tuple(float(p) for p in judge.over_time([rollout])[0]),
        drawn=drawn,
    )


def keep(run: Path, entry: Filmstrip, imagined: Frames, real: Simulated | None) -> Filmstrip:
    """Write a film strip to a run folder."""
    if real is None:
        return write_filmstrip(RunPaths(run).films, entry, imagined)
    return write_filmstrip(RunPaths(run).films, entry, imagined, real.frames, real.moves)


def _telling(table: pd.DataFrame, count: int) -> list[Outcome]:
    """Choose clear successes and failures and the worst disagreements, from varying tasks."""
    if "error" in table:
        right = table[table["error"].abs() < 0.3]
        queues = [
            right.sort_values("score", ascending=False),
            table.sort_values("error", ascending=False),
            right.sort_values("score"),
            table.sort_values("error"),
        ]
    else:
        queues = [table.sort_values("score", ascending=False), table.sort_values("score")]
    chosen, used = list[Outcome](), set()
    tasks = list(dict.fromkeys(table["task"]))
    for turn in range(count):
        queue = queues[turn % len(queues)]
        queue = queue[queue["task"] == tasks[turn % len(tasks)]]
        row = next((row for row in queue.to_dict("records") if row["start"] not in used), None)
        if row is not None:
            used.add(row["start"])
            chosen.append(row)
    return chosen


def _of_each(table: pd.DataFrame, known: Sequence[Outcome]) -> list[Outcome]:
    """Choose every policy's clearest success and failure not in `known`, from varying tasks.

    The policy with the highest predicted rate comes first.
    """
    shown = {(row["policy"], row["score"] >= CUT) for row in known}
    tasks = Counter(row["task"] for row in known)
    order = table.groupby("policy")["score"].mean().sort_values(ascending=False, kind="stable")
    chosen = []
    for policy in order.index:
        for success in (True, False):
            own = table[(table["policy"] == policy) & ((table["score"] >= CUT) == success)]
            if own.empty or (policy, success) in shown:
                continue
            task = min(dict.fromkeys(own["task"]), key=lambda name: tasks[name])
            own = own[own["task"] == task].sort_values("score", ascending=not success)
            chosen.append(own.to_dict("records")[0])
            tasks[task] += 1
    return chosen


def simulated_frames(
    recipe: ProtocolRecipe,
    chosen: Sequence[Shown],
    *,
    processes: int,
    trust_pickle: bool = False,
) -> dict[Shown, Simulated]:
    """Run these episodes in the simulator, with every frame, action and pose."""
    assert recipe.truth is not None
    load = partial(load_one, trust_pickle=trust_pickle, world=world_of(recipe))
    out: dict[Shown, Simulated] = {}
    with tempfile.TemporaryDirectory() as place:
        jobs = []
        for task, episodes in _by_task(chosen):
            path = Path(place) / f"films-{len(jobs)}.h5"
            jobs.append((TruthJob(task=task, episodes=episodes, load=load), path))
        record(
            jobs,
            recipe.truth,
            horizon=recipe.horizon,
            replan_every=recipe.replan_every,
            after_success=0,
            processes=processes,
        )
        for job, path in jobs:
            part = path.with_suffix("")
            part.mkdir()
            path.rename(part / path.name)  # alone in a folder, its rows are those of the job
            shard = read_table(part)
            for row, (ref, seed) in enumerate(job.episodes):
                episode = shard.episode(row)
                # Copy, because the file is deleted with its folder.
                frames = {view: np.array(images) for view, images in episode.frames.items()}
                # Each action belongs to the frame at which it is applied; the last frame has none.
                moves = Moves(actions=np.array(episode.actions[:-1]), pose=np.array(episode.pose))
                out[ref, job.task, seed] = Simulated(frames=frames, moves=moves)
    return out


def _by_task(
    chosen: Sequence[Shown],
) -> Iterator[tuple[str, tuple[tuple[str, int], ...]]]:
    """Group episodes by task without duplicates, at most `JOB` per group."""
    tasks: dict[str, list[tuple[str, int]]] = {}
    for ref, task, seed in dict.fromkeys(chosen):
        tasks.setdefault(task, []).append((ref, seed))
    for task, episodes in tasks.items():
        for begin in range(0, len(episodes), JOB):
            yield task, tuple(episodes[begin : begin + JOB])
