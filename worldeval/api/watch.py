"""Compare each new checkpoint of a training run with the best one so far, while it trains."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path
from typing import Any

from worldeval.api.live_progress import shown
from worldeval.api.load import Address, JudgeArgument
from worldeval.api.request import Request, resolved
from worldeval.api.run_folder import run_folder
from worldeval.errors import UserError
from worldeval.evaluate.arriving import judge_arrival, spending_for
from worldeval.evaluate.manifest import FREE
from worldeval.evaluate.run import POLICY_TIMEOUT, Evaluation, Watcher
from worldeval.policy.address import read_address
from worldeval.policy.load import expand
from worldeval.policy.training_folder import Arrivals, checkpoints_in
from worldeval.runs.paths import plain_name
from worldeval.runs.watched import WatchedCheckpoint, read_watched, write_watched
from worldeval.training.track import opened_trackers

LEVEL = 0.95  # probability that all verdicts of a training are right
NUMBERS = {"better": 1, "first": 0, "tied": 0, "worse": -1}  # for trackers, which plot numbers


@dataclass(frozen=True, kw_only=True)
class WatchedTraining:
    """The checkpoints that were compared, in the order in which they were looked at."""

    run: Path
    checkpoints: tuple[WatchedCheckpoint, ...]
    errors: Mapping[str, str]  # checkpoint's name or address -> why it was not compared

    @property
    def best(self) -> str | None:
        """The name of the best checkpoint; None if there is none yet."""
        return self.checkpoints[-1].best if self.checkpoints else None

    @property
    def last(self) -> WatchedCheckpoint | None:
        """The newest checkpoint; None if there is none yet."""
        return self.checkpoints[-1] if self.checkpoints else None


def watch(
    folder: Address,
    protocol: str = "lab",
    *,
    world: Address | None = None,
    judge: JudgeArgument | None = None,
    baseline: Address | None = None,
    starts_per_task: int | None = None,
    settings: Mapping[str, Any] | None = None,
    budget_minutes: float | None = None,
    budget_rollouts: int | None = None,
    once: bool = False,
    idle_minutes: float | None = None,
    poll_seconds: float = 30.0,
    track: Sequence[str] = (),
    out: Address | None = None,
    seed: int = 0,
    jobs: int | None = None,
    policy_timeout: float = POLICY_TIMEOUT,
    trust_pickle: bool = False,
    heard: Callable[[WatchedCheckpoint], None] | None = None,
    progress: bool | Watcher = True,
    wait: Callable[[float], None] = time.sleep,
) -> WatchedTraining:
    """Compare each new checkpoint of a training run with the best one so far.

    Both are rolled out from the same starts with the same seeds. All verdicts of a training are
    right together with a probability of 95%, however many checkpoints appear and however often they
    are looked at. A checkpoint that is better becomes the best; after 'tied', the best one stays.

    Args:
        folder: folder that checkpoints are written to (by worldeval or LeRobot), or a glob.
        protocol: name or path of a protocol recipe, or the folder of a lab (`worldeval learn`).
        world, judge, settings: replace those of the protocol.
        baseline: policy that is the best one at the beginning. Default: the first checkpoint.
        starts_per_task: maximum number of starts per task.
        budget_minutes: minutes of imagining per checkpoint. Default: no limit.
        budget_rollouts: maximum number of roll-outs per comparison, of both policies together.
        once: compare the checkpoints that are there now, and return.
        idle_minutes: return after this long without a new checkpoint. Default: watch until Ctrl-C.
        poll_seconds: time between two looks at the folder.
        track: trackers of accelerate that get every verdict: tensorboard, wandb, trackio...
        out: run folder, which also keeps the verdicts, so that a later call continues. Default:
            `runs/watch-FOLDER`.
        seed: random seed.
        jobs: number of processes.
        policy_timeout: maximum seconds for one answer of a policy.
        trust_pickle: load pickled policies; loading a pickle executes code.
        heard: function that is called with every verdict.
        progress: whether to show progress.
        wait: function that waits for a number of seconds.

    Returns:
        The verdicts, also those of earlier calls on the same `out`.

    Raises:
        UserError: an argument is invalid, or the first checkpoint cannot be run.

    >>> import worldeval as we
    >>> watched = we.watch("toy/policies", "toy/toy.yaml", once=True, out="toy/watched", jobs=1,
    ...                    progress=False)
    >>> [(each.policy, each.verdict) for each in watched.checkpoints][:2]
    [('a/step-1', 'first'), ('a/step-2', 'tied')]
    """
    target = Path(out) if out is not None else Path("runs") / f"watch-{_last_name(str(folder))}"
    watching = _Watching(target, LEVEL)
    facts = {"folder": str(folder), "protocol": protocol, "baseline": str(baseline or "")}
    with shown(progress) as show, opened_trackers(track, target, facts=facts) as trackers:
        refs = _arriving(
            str(folder), baseline, watching.known, once=once, idle_minutes=idle_minutes,
            poll_seconds=poll_seconds, wait=wait,
        )  # fmt: skip
        for ref in refs:
            best = watching.best
            request = Request(
                policies=[ref] if best is None else [best.ref, ref], world=world, judge=judge,
                protocol=protocol, settings={**(settings or {}), **_given(starts_per_task)},
            )  # fmt: skip
            spending = spending_for(
                len(watching.known) + 1, level=LEVEL, minutes=budget_minutes,
                rollouts=budget_rollouts,
            )  # fmt: skip
            try:
                found = watching.compare(
                    request, watch=show, spending=spending, seed=seed,
                    processes=jobs or os.cpu_count() or 1, policy_timeout=policy_timeout,
                    trust_pickle=trust_pickle,
                )  # fmt: skip
            except UserError as error:
                if once or best is None:
                    raise
                watching.errors[ref] = str(error)
                found = None
            if found is None:
                show.say(f"{ref} could not be compared: {watching.errors[ref]}")
                continue
            for each in trackers:
                each.log(_values(found), step=watching.next_step())
            if heard is not None:
                heard(found)
    known = tuple(watching.known)
    return WatchedTraining(run=target, checkpoints=known, errors=dict(watching.errors))


class _Watching:
    """The verdicts so far, and the run folder that they come from."""

    def __init__(self, target: Path, level: float) -> None:
        self.known, self.errors = read_watched(target), dict[str, str]()
        self._target, self._level = target, level
        self._logged = 0

    @property
    def best(self) -> WatchedCheckpoint | None:
        """The best checkpoint so far."""
        return next((one for one in self.known if one.policy == self.known[-1].best), None)

    def compare(self, request: Request, **about: Any) -> WatchedCheckpoint | None:
        """Compare the last policy of the request with the best one; None if it cannot be run."""
        found = request.addresses(self._target).recipe(None)
        recipe, seed = resolved(found.config, found), about["seed"]
        with run_folder(self._target, recipe=recipe, seed=seed, command="watch", free=FREE):
            run = Evaluation(recipe=found.config, out=self._target, **about)
            run.check_models()
            new = run.cards.to_dict("records")[-1]
            if not self.known:
                run.tell_outside()
            judged = judge_arrival(
                run.imagine(), new, run.starts, best=self.best and self.best.policy,
                number=len(self.known) + 1, level=self._level,
            )  # fmt: skip
        refs = dict(zip(run.cards["policy"], run.cards["ref"], strict=True))
        self.errors |= {refs[policy]: error for policy, error in run.errors.items()}
        if judged.success.n == 0 and new["ref"] in self.errors:
            return None
        self.known.append(judged)
        write_watched(self._target, self.known)
        return judged

    def next_step(self) -> int:
        """The step of the newest checkpoint, or the next one, because trackers expect a rise."""
        self._logged = max(self.known[-1].step, self._logged + 1)
        return self._logged


def _arriving(
    folder: str,
    baseline: Address | None,
    known: Sequence[WatchedCheckpoint],
    *,
    once: bool,
    idle_minutes: float | None,
    poll_seconds: float,
    wait: Callable[[float], None],
) -> Iterator[str]:
    """Yield the addresses of checkpoints that were not compared yet, as they are finished.

    One at a time, because others may appear meanwhile. Only waiting counts as idle time.
    """
    seen = {each.ref for each in known}
    if baseline is not None:
        (first,) = _single(baseline)
        if known and first != known[0].ref:
            raise UserError(
                f"This run was begun with {known[0].policy} as the best policy, not with "
                f"{baseline}. Give another --out."
            )
        if not known:
            seen.add(first)
            yield first
    arrivals, idle = Arrivals(folder), 0.0
    while True:
        found = checkpoints_in(folder) if once else arrivals.look()
        ref = next((ref for ref in found if ref not in seen), None)
        if ref is not None:
            seen.add(ref)
            idle = 0.0
            yield ref
            continue
        idle = 0.0 if arrivals.unfinished else idle
        over = idle_minutes is not None and idle >= 60 * idle_minutes
        if once or (over and not arrivals.unfinished):
            return
        wait(poll_seconds)
        idle += poll_seconds


def _single(address: Address) -> list[str]:
    found = expand([str(address)])
    if len(found) != 1:
        raise UserError(f"--baseline {address} names {len(found)} policies; name one of them.")
    return found


def _values(found: WatchedCheckpoint) -> dict[str, float]:
    """The numbers of a verdict that a tracker plots."""
    numbers = {
        "watch/verdict": NUMBERS[found.verdict],
        "watch/success": found.success.value,
        "watch/success_low": found.success.low,
        "watch/success_high": found.success.high,
        "watch/difference_from_best": found.difference.value if found.difference else None,
    }
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _given(starts_per_task: int | None) -> dict[str, int]:
    return {} if starts_per_task is None else {"starts": starts_per_task}


def _last_name(folder: str) -> str:
    """Name a run after the last part of the training folder that is no glob."""
    place = Path(read_address(folder).place.removeprefix("lerobot:"))
    plain = [part for part in place.resolve().parts if not has_magic(part)]
    return plain_name(plain[-1])
