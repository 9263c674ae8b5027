"""Run the same closed loop in the ground-truth simulator, for comparison with imagination."""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from worldeval.axes import Array, UInt8
from worldeval.data.formats.shards.layout import ShardEpisode, write_shard
from worldeval.envs.apart import ApartEnvironment, redone
from worldeval.envs.protocol import EnvFrame, Environment
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.policy.pulse import WatchedPolicy, waiting
from worldeval.record import Episode, Observation
from worldeval.rollout.actions import stacked_for
from worldeval.rollout.apart import Say, run_apart, told
from worldeval.rollout.chunks import ChunkQueue
from worldeval.rollout.pool import short_lived
from worldeval.rollout.recipe import TruthRecipe

LARGEST = float(np.finfo(np.float32).max)  # any finite number

Progress = Callable[[int, int], None]  # completed jobs, all jobs
LoadPolicy = Callable[[str, int], Policy]  # a reference and the episode's seed
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TruthJob:
    """Episodes on one task for one process, which loads their policies itself."""

    task: str
    episodes: tuple[tuple[str, int], ...]  # (policy's reference, seed of the reset)
    load: LoadPolicy


@dataclass(frozen=True, kw_only=True)
class TruthOutcome:
    """The simulator's result for one episode."""

    policy: str  # the reference
    task: str
    seed: int
    success: bool
    steps: int  # world frames until success, or the horizon


def simulate(
    jobs: Sequence[TruthJob],
    truth: TruthRecipe,
    *,
    horizon: int,
    replan_every: int,
    processes: int,
    done: Callable[[TruthJob, list[TruthOutcome]], None],
    failed: Callable[[str, str], None],
    finished: Callable[[TruthOutcome], None] = lambda outcome: None,
    policy_timeout: float | None = None,
) -> None:
    """Run every job in its own process; `done` is called in this one as each finishes.

    `finished` is called with every single outcome.

    If a policy raises, ends its process or exceeds `policy_timeout` seconds in a call, it has no
    further outcomes: `failed` receives its reference and the reason. Other episodes continue.
    """

    def heard(part: _Part, said: Any) -> None:
        if isinstance(said, TruthOutcome):
            part.found.append(said)
            finished(said)
        elif isinstance(said, _Broke):
            part.broken.add(said.ref)
            failed(said.ref, said.error)
        else:
            part.at = said

    def ended(part: _Part, error: str | None) -> None:
        if error is not None and part.at is None:
            raise UserError(f"The simulator failed on {part.job.task}: {error}")
        if error is not None:
            part.broken.add(str(part.at))
            failed(str(part.at), error)
        rest = part.rest()
        if error is not None and rest:
            parts.append(replace(part, episodes=rest, at=None))
        else:
            done(part.job, part.found)

    parts = deque(
        _Part(job=job, episodes=job.episodes, truth=truth, horizon=horizon, replan=replan_every)
        for job in jobs
    )
    run_apart(
        parts,
        _run,
        processes=processes,
        policy_timeout=policy_timeout,
        heard=heard,
        ended=ended,
    )


@dataclass(kw_only=True)
class _Part:
    """The remaining part of a job, and the results so far."""

    job: TruthJob
    episodes: tuple[tuple[str, int], ...]
    truth: TruthRecipe
    horizon: int
    replan: int
    found: list[TruthOutcome] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)  # references of policies
    at: str | None = None  # the reference of the policy that is acting

    def rest(self) -> tuple[tuple[str, int], ...]:
        done = {(outcome.policy, outcome.seed) for outcome in self.found}
        return tuple(one for one in self.episodes if one not in done and one[0] not in self.broken)


@dataclass(frozen=True, kw_only=True)
class _Broke:
    ref: str
    error: str


def record(
    jobs: Sequence[tuple[TruthJob, Path]],
    truth: TruthRecipe,
    *,
    horizon: int,
    replan_every: int,
    after_success: int,
    processes: int,
    progress: Progress | None = None,
) -> None:
    """Run jobs and store every frame: one shard per job; existing shards are skipped."""
    missing = [(job, path) for job, path in jobs if not path.exists()]
    with short_lived(processes) as pool:
        futures = [
            pool.submit(_recorded, job, path, truth, horizon, replan_every, after_success)
            for job, path in missing
        ]
        for count, future in enumerate(as_completed(futures), len(jobs) - len(missing) + 1):
            future.result()
            if progress:
                progress(count, len(jobs))


def _run(part: _Part, say: Say) -> None:
    """Run a part's episodes; report the policy in turn, every outcome, and policy failures."""
    broken = set[str]()
    with closing(_environment(part.job, part.truth)) as env:
        for ref, seed in part.episodes:
            if ref in broken:
                continue
            say(ref)
            try:
                say(_redone(env, partial(_episode, part, env, ref, seed), part.job.task, seed))
            except UserError as error:
                if type(error) is UserError:  # a user error would only be repeated
                    raise
                broken.add(ref)
                say(_Broke(ref=ref, error=str(error)))
            except BaseException as error:
                broken.add(ref)
                say(_Broke(ref=ref, error=told(error)))


def _redone(env: ApartEnvironment, episode: Callable[[], T], task: str, seed: int) -> T:
    return redone(env, episode, f"task '{task}', seed {seed}")


def _episode(part: _Part, env: Environment, ref: str, seed: int) -> TruthOutcome:
    job, horizon = part.job, part.horizon
    with waiting():
        policy = WatchedPolicy(stacked_for(job.load(ref, seed), env.action_dim))
    queue = _begin(policy, job.task, seed, part.replan)
    seen = deque([env.reset(seed)], policy.spec.history)
    step, success = 0, False
    while step < horizon and not success:
        action = queue.next(partial(_observation, policy, seen, job.task), env.action_dim)
        # Do not render frames that the policy will not see.
        frame = env.step(action[0], look=queue.looks)
        success, step = frame.success, step + 1
        if frame.over:
            break
        if queue.looks:
            seen.append(frame)
    return TruthOutcome(policy=ref, task=job.task, seed=seed, success=success, steps=step)


def _recorded(job: TruthJob, *how: Any) -> None:
    """Call `_record`, so that a policy's `sys.exit` does not end the calling process."""
    try:
        _record(job, *how)
    except Exception:
        raise
    except BaseException as error:
        raise RuntimeError(f"{job.task}: {told(error)}") from error


def _record(
    job: TruthJob,
    path: Path,
    truth: TruthRecipe,
    horizon: int,
    replan_every: int,
    after_success: int,
) -> None:
    items = []
    with closing(_environment(job, truth)) as env:
        for ref, seed in job.episodes:
            once = partial(_record_one, job, env, ref, seed, horizon, replan_every, after_success)
            recorded, flags = _redone(env, once, job.task, seed)
            episode = replace(recorded, id=f"{path.stem}-{len(items)}-{seed}")
            items.append(ShardEpisode(episode=episode, flags=flags, seed=seed))
    write_shard(path, items)


def _record_one(
    job: TruthJob,
    env: Environment,
    ref: str,
    seed: int,
    horizon: int,
    replan_every: int,
    after_success: int,
) -> tuple[Episode, UInt8[Array, " t"]]:
    policy = stacked_for(job.load(ref, seed), env.action_dim)
    queue = _begin(policy, job.task, seed, replan_every)
    seen, actions, last = [env.reset(seed)], [], horizon
    while len(seen) <= last:
        action = queue.next(partial(_observation, policy, seen, job.task), env.action_dim)[0]
        seen.append(env.step(action))
        actions.append(action)
        if seen[-1].success and not any(frame.success for frame in seen[:-1]):
            last = max(last, len(seen) - 1 + after_success)
        if seen[-1].over:
            break
    flags = np.array([frame.success for frame in seen], np.uint8)
    episode = Episode(
        id="",
        frames={view: np.stack([frame.frames[view] for frame in seen]) for view in env.views},
        actions=np.stack([*actions, np.zeros_like(actions[0])]),
        pose=np.stack([frame.pose for frame in seen]),
        task=job.task,
        success=bool(flags.any()),
        fps=env.fps,
        source=policy.spec.name,
    )
    return episode, flags


def _environment(job: TruthJob, truth: TruthRecipe) -> ApartEnvironment:
    import torch

    torch.set_num_threads(1)  # parallelism comes from the processes
    return ApartEnvironment(truth.env, task=job.task, size=truth.size, steps_per_frame=truth.k)


def _begin(policy: Policy, task: str, seed: int, replan_every: int) -> ChunkQueue:
    policy.reset([task], [seed])
    # A simulator bounds its actions itself, in its own units: pixels, radians, shares of a step.
    return ChunkQueue(policy, replan_every=replan_every, low=-LARGEST, high=LARGEST)


def _observation(policy: Policy, seen: Sequence[EnvFrame], task: str) -> Observation:
    """The newest frame, with as much history as the policy reads."""
    last = len(seen) - 1
    moments = [seen[max(last - back, 0)] for back in range(policy.spec.history - 1, -1, -1)]
    *past, now = (
        Observation(
            frames={view: image[None] for view, image in frame.frames.items()},
            pose=frame.pose[None],
            tasks=(task,),
        )
        for frame in moments
    )
    return replace(now, past=tuple(past))
