"""Whoever does the jobs: holds the world model and the judge, and imagines batch after batch."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch

from worldeval.device import threads
from worldeval.errors import UserError
from worldeval.evaluate.workers.jobs import BatchDone, BatchFailed, Job, Result
from worldeval.judge.judge import load_judge
from worldeval.policy.address import read_address
from worldeval.policy.load import load_policy
from worldeval.policy.pulse import WatchedPolicy, waiting
from worldeval.record import Start
from worldeval.rollout.apart import told
from worldeval.rollout.inverse import checked, load_checker
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.rollout.sampling import roll_out, sampled_world
from worldeval.runs.store import pack

# Matrix products of fewer rows take other paths, which round differently: that moves a probability
# by 1e-4 in 30 frames. In batches of whole eights the episodes imagined beside one move it by
# nothing at all, mostly, and by less than 1e-5 where a pixel is rounded the other way.
ROWS = 8
# Every worker has a world model of its own on its GPU; while one waits for its policy or judge,
# which are on the CPU, another imagines.
PER_GPU = 2


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker needs before its first job."""

    recipe: ProtocolRecipe
    starts: Sequence[Start] = field(repr=False)
    seed: int
    trust_pickle: bool = False
    policy_timeout: float | None = None  # seconds for one call of a policy
    # Where this machine keeps what the recipe and the jobs name, if elsewhere.
    places: Mapping[str, str] = field(default_factory=dict)

    def place(self, ref: str) -> str:
        """Where `ref` is on this machine; of a policy's address, its folder and its adapter's."""
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
    """How many of at most `most` workers this machine has room for: it counts its GPUs."""
    gpus = torch.cuda.device_count()
    return min(most, PER_GPU * gpus) if gpus else most


class Worker:
    """Imagines and judges jobs, one after the other. Its policies stay loaded for the next job."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._world = sampled_world(setup.recipe, Path(setup.place(setup.recipe.world)))
        self._judge = load_judge(Path(setup.place(setup.recipe.judge)))
        self._checker = load_checker(setup.place(setup.recipe.checker))
        self._loaded: tuple[str, WatchedPolicy] | None = None

    def __call__(self, job: Job) -> Result:
        """The job's outcome. What a policy does wrong is told in it, never raised."""
        try:
            with threads(1):  # the workers are the parallelism
                return self._imagine(job)
        except KeyboardInterrupt:
            raise
        # What a policy raises is its own error, whatever it is: `sys.exit` is no way out of a run.
        except BaseException as error:
            self._loaded = None  # it may be broken: the next job begins with a fresh one
            return BatchFailed(
                job=job,
                error=told(error),
                # A subclass is no mistake of the user's: a server that does not answer, say.
                mistake=type(error) is UserError,
                details=traceback.format_exc(limit=-6),
            )

    def _imagine(self, job: Job) -> BatchDone:
        clock = perf_counter()
        setup, recipe = self._setup, self._setup.recipe
        starts = [setup.starts[place] for place in job.starts]
        beside = [starts[-1]] * (-len(starts) % ROWS)
        policy = self._policy(job.ref)
        rollouts = roll_out(
            recipe,
            self._world,
            policy,
            [*starts, *beside],
            # Paired: a start has the same seed for every policy.
            seeds=[setup.seed + start.seed for start in (*starts, *beside)],
        )
        policy.settle()
        if self._checker is not None:
            rollouts = checked(rollouts, self._world, self._checker)
        judged, kept = self._judge.judged(rollouts), slice(len(starts))
        verdicts = judged.verdicts[kept]
        packed = pack(rollouts[kept], verdicts, evidence=judged.evidence[kept])
        return BatchDone(
            job=job,
            probabilities=tuple(verdict.probability for verdict in verdicts),
            seconds=perf_counter() - clock,
            packed=packed,
        )

    def _policy(self, ref: str) -> WatchedPolicy:
        if self._loaded is None or self._loaded[0] != ref:
            setup = self._setup
            with waiting():
                policy = load_policy(setup.place(ref), trust_pickle=setup.trust_pickle)
            self._loaded = (ref, WatchedPolicy(policy))
        return self._loaded[1]
