# pandas types a cell as anything that a table may hold.
# pyright: reportCallIssue=false, reportArgumentType=false
"""Roll the same policies out from the same starts in the simulator, to compare the ranking with.

`truth/*.csv` has a row per episode; a file is written when its block of episodes is done. Episodes
in no file are missing, so a run can be resumed, and extended by policies and starts.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from worldeval.envs.address import unavailable
from worldeval.errors import UserError
from worldeval.evaluate.workers.jobs import Shard
from worldeval.files import file_name
from worldeval.policy.load import load_policy
from worldeval.policy.protocol import Policy
from worldeval.rollout.actions import fitted
from worldeval.rollout.recipe import ProtocolRecipe, TruthRecipe
from worldeval.rollout.simulate import LoadPolicy, TruthJob, TruthOutcome, simulate
from worldeval.rollout.starts import simulated_id
from worldeval.runs.checksums import move, remove
from worldeval.runs.tables import read_table, write_table
from worldeval.world.load import CARD, read_card
from worldeval.world.protocol import WorldSpec

BLOCK = 100  # episodes per process: enough to be worth starting it, few enough to resume
KEY = ["policy", "task", "seed"]  # columns that identify an episode
DAMAGED = "damaged"  # folder of blocks that could not be read


def named_simulator(recipe: ProtocolRecipe) -> TruthRecipe:
    """Return the simulator of a protocol; UserError if it names none."""
    if recipe.truth is None:
        raise UserError(
            "The protocol names no simulator to compare with. Name it: --truth ADDRESS (in Python, "
            "truth='ADDRESS'), or `truth: {env: ADDRESS}` in the protocol."
        )
    return recipe.truth


def measure_truth(
    recipe: ProtocolRecipe,
    refs: Sequence[str],
    names: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    *,
    processes: int,
    shard: Shard | None = None,
    trust_pickle: bool = False,
    policy_timeout: float | None = None,
    progress: Callable[[int, int], None] | None = None,
    failed: Callable[[str, str], None] | None = None,
) -> pd.DataFrame:
    """Run the missing episodes; returns a row per episode: policy, task, start, seed, success.

    `failed` is called with every policy that raised an error, and why; its other episodes have no
    outcome. For a shard, only the rows that exist are returned.
    """
    simulator = named_simulator(recipe)
    problem = unavailable(simulator.env)
    if problem:
        raise UserError(problem)
    load = partial(load_one, trust_pickle=trust_pickle, world=world_of(recipe))
    jobs = list(_missing(recipe.tasks, refs, names, seeds, folder, shard or Shard(), load=load))
    total = sum(len(job.episodes) for job in jobs)
    finished = 0
    tell = progress or (lambda done, total: None)
    name_of = dict(zip(refs, names, strict=True))

    def done(job: TruthJob, found: list[TruthOutcome]) -> None:
        path = folder / f"{_name(job, name_of)}.csv"
        if found:  # a policy that failed at once has no outcomes
            write_table(path, table(found, name_of), durable=True)

    def count(outcome: TruthOutcome) -> None:
        nonlocal finished
        finished += 1
        tell(finished, total)

    if jobs:
        tell(0, total)
        simulate(
            jobs,
            simulator,
            horizon=recipe.horizon,
            replan_every=recipe.replan_every,
            processes=processes,
            policy_timeout=policy_timeout,
            done=done,
            finished=count,
            failed=lambda ref, error: failed(name_of[ref], error) if failed else None,
        )
    kept = read_truth(folder)
    wanted = kept["policy"].isin(names) & kept["task"].isin(recipe.tasks) & kept["seed"].isin(seeds)
    place = {name: k for k, name in enumerate([*recipe.tasks, *names])}
    return kept[wanted].sort_values(
        KEY, key=lambda column: column if column.name == "seed" else column.map(place)
    )


def read_truth(folder: Path) -> pd.DataFrame:
    """Read every episode in the folder, without duplicates."""
    tables = [read_block(path) for path in sorted(folder.glob("*.csv"))]
    if not tables:
        return pd.DataFrame(columns=[*KEY, "start", "success", "frames"])
    return pd.concat(tables, ignore_index=True).drop_duplicates(KEY)


def read_block(path: Path) -> pd.DataFrame:
    """Read the episodes of one block.

    Raises:
        UserError: the file is damaged, or an outcome in it is neither 0 nor 1.
    """
    rows = read_table(path, needed=(*KEY, "start", "success"))
    wrong = ~rows["success"].isin([0, 1]).to_numpy()
    if wrong.any() or rows["seed"].dtype.kind != "i":
        line = int(wrong.argmax()) + 2
        raise UserError(
            f"{path}, line {line}: every simulated episode needs an integer as its seed "
            "and 0 or 1 as its success."
        )
    return rows


def mend(folder: Path) -> list[Path]:
    """Set aside unreadable blocks, so that they are measured again."""
    damaged = []
    for path in sorted(folder.glob("*.csv")):
        try:
            read_block(path)
        except UserError:
            (folder / DAMAGED).mkdir(exist_ok=True)
            damaged.append(move(path, folder / DAMAGED / path.name))
    return damaged


def forget(folder: Path, policy: str) -> None:
    """Remove the outcomes of a policy."""
    for path in sorted(folder.glob("*.csv")):
        rows = read_block(path)
        kept = rows[rows["policy"] != policy]
        if kept.empty:
            remove(path)
        elif len(kept) < len(rows):
            write_table(path, kept)


def table(found: Sequence[TruthOutcome], name_of: dict[str, str]) -> pd.DataFrame:
    """Arrange outcomes as rows of a table."""
    return pd.DataFrame(
        {
            "policy": name_of[outcome.policy],
            "task": outcome.task,
            "start": simulated_id(outcome.task, outcome.seed),
            "seed": outcome.seed,
            "success": int(outcome.success),
            "frames": outcome.steps,
        }
        for outcome in found
    )


def load_one(
    ref: str, seed: int, *, trust_pickle: bool = False, world: WorldSpec | None = None
) -> Policy:
    """Load the policy of a reference; its seed is given in `reset`.

    A simulator takes the actions of the `world` that it is compared with, so that policies are
    converted there as they are in the world.
    """
    policy = load_policy(ref, trust_pickle=trust_pickle)
    return policy if world is None else fitted(policy, world)


def world_of(recipe: ProtocolRecipe) -> WorldSpec | None:
    """Return what the protocol's world model is like; None if it is not here."""
    folder = Path(recipe.world)
    return read_card(folder)["spec"] if (folder / CARD).is_file() else None


def _missing(
    tasks: Sequence[str],
    refs: Sequence[str],
    names: Sequence[str],
    seeds: Sequence[int],
    folder: Path,
    shard: Shard,
    *,
    load: LoadPolicy = load_one,
) -> Iterator[TruthJob]:
    """Plan a job per task and block of policies, without finished episodes."""
    rows = read_truth(folder)[KEY].itertuples(index=False, name=None)
    done = {(str(policy), str(task), int(seed)) for policy, task, seed in rows}
    per_block = max(1, BLOCK // len(seeds))
    pairs = list(zip(refs, names, strict=True))
    place = 0
    for task in tasks:
        for begin in range(0, len(pairs), per_block):
            episodes = tuple(
                (ref, seed)
                for ref, name in pairs[begin : begin + per_block]
                for seed in seeds
                if (name, task, seed) not in done
            )
            if episodes and shard.takes(place):
                yield TruthJob(task=task, episodes=episodes, load=load)
            place += 1


def _name(job: TruthJob, name_of: dict[str, str]) -> str:
    """Name a job by its episodes, so that copies of one job share a file."""
    told = repr([(name_of[ref], seed) for ref, seed in job.episodes])
    return f"{file_name(job.task)}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
