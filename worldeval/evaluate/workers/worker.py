"""Worker that holds the world model and the judge, and imagines batch after batch."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import process_time

import torch

from worldeval.device import compiles, threads
from worldeval.errors import UserError
from worldeval.evaluate.judging import run_judge
from worldeval.evaluate.workers.jobs import BatchDone, BatchFailed, Job, Result
from worldeval.policy.address import read_address
from worldeval.policy.load import load_policy
from worldeval.policy.pulse import WatchedPolicy, waiting
from worldeval.record import Start
from worldeval.rollout.apart import told
from worldeval.rollout.inverse import checked, load_checker
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.sampling import roll_out, sampled_world
from worldeval.runs.store import pack

# Matrix products of fewer rows take other code paths, which round differently: that changes a
# probability by 1e-4 in 30 frames. In batches of multiples of eight, the other episodes of a batch
# mostly do not change it at all, and by less than 1e-5 if a pixel is rounded the other way.
ROWS = 8
# Every worker has its own world model on its GPU; while one waits for its policy or judge, which
# are on the CPU, another imagines.
PER_GPU = 2


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that a worker needs before its first job."""

    recipe: ProtocolRecipe
    starts: Sequence[Start] = field(repr=False)
    seed: int
    trust_pickle: bool = False
    policy_timeout: float | None = None  # seconds for one call of a policy
    answers: str | None = None  # folder for answers of judges of frames
    compile: bool = field(default_factory=compiles)  # networks, as this process was told to
    # This machine's paths of what the recipe and the jobs name, where they differ.
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, ref: str) -> str:
        """Translate `ref` to this machine, including the folders in a policy's address."""
        if ref in self.places or not self.places:
            return self.places.get(ref, ref)
        address = read_address(ref)
        params = {
            key: self.places.get(str(value), value) if key == "adapter" else value
            for key, value in address.params.items()
        }
        place = self.places.get(address.place, address.place)
        return str(replace(address, place=place, params=params))


def workers(most: int) -> int:
    """Return how many of at most `most` workers fit on this machine, by its number of GPUs."""
    gpus = torch.cuda.device_count()
    return min(most, PER_GPU * gpus) if gpus else most


class Worker:
    """A worker that imagines and judges jobs in turn; a policy stays loaded for the next job."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._world = sampled_world(setup.recipe, Path(setup.place(setup.recipe.world)))
        judge = setup.recipe.judge
        cache = None if setup.answers is None else Path(setup.answers)
        self._judge = run_judge(setup.places.get(judge, judge), self._world, cache=cache)
        self._checker = load_checker(setup.place(setup.recipe.checker))
        self._loaded: tuple[str, WatchedPolicy] | None = None

    def __call__(self, job: Job) -> Result:
        """Return the job's outcome, which reports errors of the policy instead of raising them."""
        try:
            with threads(1):  # parallelism comes from the workers
                return self._imagine(job)
        except KeyboardInterrupt:
            raise
        # Any exception of a policy is its own error; even `sys.exit` does not end a run.
        except BaseException as error:
            self._loaded = None  # it may be broken, so the next job loads it again
            return BatchFailed(
                job=job,
                error=told(error),
                # A subclass is not the user's mistake, for example a server that does not answer.
                mistake=type(error) is UserError,
                details=traceback.format_exc(limit=-6),
            )

    def _imagine(self, job: Job) -> BatchDone:
        clock = process_time()  # CPU time, which other work on the machine does not change
        setup, recipe = self._setup, self._setup.recipe
        starts = [setup.starts[place] for place in job.starts]
        beside = [starts[-1]] * (-len(starts) % ROWS)
        policy = self._policy(job.ref)
        rollouts = roll_out(
            recipe,
            self._world,
            policy,
            [*starts, *beside],
            # Paired comparison: a start has the same seed for every policy.
            seeds=[setup.seed + start.seed for start in (*starts, *beside)],
        )
        policy.settle()
        if self._checker is not None:
            rollouts = checked(rollouts, self._world, self._checker)
        judged = self._judge.judged(rollouts)
        reasons = judged.abstained or ("",) * len(rollouts)
        kept = [row for row in range(len(starts)) if not reasons[row]]
        abstained = {job.starts[k]: reasons[k] for k in range(len(starts)) if reasons[k]}
        verdicts, packed = [judged.verdicts[row] for row in kept], b""
        if kept:
            packed = pack(
                [rollouts[row] for row in kept],
                verdicts,
                evidence=judged.evidence[kept],
                progress=None if judged.progress is None else judged.progress[kept],
            )
        return BatchDone(
            job=replace(job, starts=tuple(job.starts[row] for row in kept)),
            probabilities=tuple(verdict.probability for verdict in verdicts),
            seconds=process_time() - clock,
            packed=packed,
            abstained=abstained,
        )

    def _policy(self, ref: str) -> WatchedPolicy:
        if self._loaded is None or self._loaded[0] != ref:
            setup = self._setup
            with waiting():
                policy = load_policy(setup.place(ref), trust_pickle=setup.trust_pickle)
            self._loaded = (ref, WatchedPolicy(policy))
        return self._loaded[1]
