# pandas types a cell as anything that a table may hold.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Record episodes in a simulator, by a dataset recipe, in the format wanted."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldeval import recipe as recipes
from worldeval.api.data import Address, Counted
from worldeval.data.convert import FORMATS, convert
from worldeval.data.source import open_source
from worldeval.data.table import read_table
from worldeval.envs.address import refuse_env_code
from worldeval.errors import UserError, did_you_mean
from worldeval.policy.address import refuse_code
from worldeval.rollout.rollouts import record_rollouts
from worldeval.runs.origin import open_run

SHARDS = "shards"


@dataclass(frozen=True, kw_only=True)
class CollectedDataset:
    """A summary of the recorded episodes."""

    out: Path
    episodes: int
    frames: int
    success: dict[str, float]  # task -> success rate


def collect_dataset(
    recipe: str,
    out: Address,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    jobs: int = 2,
    to: str = SHARDS,
    progress: Counted | None = None,
) -> CollectedDataset:
    """Record demonstrations, near misses, play or policy roll-outs in the simulator.

    Args:
        recipe: name or path of a dataset recipe that collects episodes.
        out: folder for the dataset. The same call continues an interrupted recording.
        settings: overrides of recipe keys, such as `{"policies": ["mine.py:make"]}`.
        seed: random seed.
        jobs: number of parallel processes.
        to: `shards`, `lerobot` (v3) or `robomimic`. Until all episodes are recorded and converted,
            they lie in a folder beside `out`, whose name ends in `.recording`.
        progress: function that is called with the number of finished shards and their total.

    Returns:
        The number of episodes and frames, and the success rate of every task.

    Raises:
        UserError: the recipe describes an existing dataset, names Python code, or needs a
            simulator that is not installed; `out` exists and is not this recording.

    >>> from worldeval.api.collect import collect_dataset
    >>> collect_dataset("mine.yaml", "runs/data").episodes  # doctest: +SKIP
    """
    found, folder = recipes.load(recipe, "dataset", settings), Path(out)
    given = settings or {}
    if "policies" not in given:
        refuse_code(getattr(found.config, "policies", ()), found.path)
    if found.kind == "rollouts" and not any(key.startswith("truth") for key in given):
        refuse_env_code([found.config.truth.env], found.path)
    own = getattr(found.config, "collect", None)  # of a simulator, with scripted drivers
    if found.kind != "rollouts" and own is None:
        raise UserError(
            f"{found.path} describes an existing dataset, so there is nothing to collect. Give "
            "a recipe that collects."
        )
    if to not in FORMATS:
        raise UserError(f"Unknown output format '{to}'.{did_you_mean(to, FORMATS)}")
    shards = folder if to == SHARDS else folder.with_name(f"{folder.name}.recording")
    if shards != folder and folder.exists():
        raise UserError(f"{folder} already exists. Remove it, or give another --out.")
    open_run(shards, recipe=found.resolved(), seed=seed, command="data collect", resume=True)
    counted = progress or (lambda done, total: None)
    if own is None:
        record_rollouts(found.config, shards, processes=jobs, progress=counted)
    else:
        own(shards, seed=seed, jobs=jobs, progress=counted)
    episodes = read_table(shards).episodes
    rates = episodes[episodes["success"] >= 0].groupby("task")["success"].mean()
    if shards != folder:
        convert(open_source(shards), folder, to=to)
        shutil.rmtree(shards)
    return CollectedDataset(
        out=folder,
        episodes=len(episodes),
        frames=int(episodes["length"].sum()),
        success={task: round(rate, 4) for task, rate in rates.items()},
    )
