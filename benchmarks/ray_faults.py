"""A ranking on a Ray cluster of two nodes, of which one is lost while it works."""

import os
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray.cluster_utils import Cluster

from worldeval import recipe as recipes
from worldeval.evaluate.cluster import Actors
from worldeval.evaluate.imagined import Imagination
from worldeval.evaluate.jobs import BatchFailed, Result, by_task
from worldeval.evaluate.manifest import manifest_of, write_manifest
from worldeval.evaluate.policies import policy_cards
from worldeval.evaluate.worker import Setup
from worldeval.imagine.starts import read_starts, write_starts
from worldeval.run import open_run

ATTEMPTS = 4  # at starting the cluster
# A node is given up after so many missed signs of life, so long apart.
IMPATIENT = {"health_check_period_ms": 1000, "health_check_failure_threshold": 10}


def ranking_on_a_dying_cluster(
    protocol: Path, run: Path, rng: np.random.Generator, *, actors: int
) -> int:
    """Imagine all of `protocol` into `run`; returns how often something was killed.

    Args:
        actors: how many actors are killed, one by one, before the second node is.
    """
    found = recipes.load(str(protocol), "protocol")
    recipe = found.config
    open_run(run, recipe=found.resolved(), seed=0, command="rank")
    starts = by_task(read_starts(Path(recipe.starts_file)), recipe.tasks)
    write_starts(run / "starts.h5", starts)
    cards = policy_cards(recipe.policies)
    refs = dict(zip(cards["policy"], cards["ref"], strict=True))
    write_manifest(run, manifest_of(recipe, refs, seed=0))
    cluster, second = _two_nodes()
    killed = 0
    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        crew = Actors(
            Setup(recipe=recipe, starts=starts, seed=0),
            address=cluster.address,
            size=2,
            refs=list(refs.values()),
        )
        work = Imagination(folder=run, refs=refs, starts=starts, seed=0, batch=recipe.batch)

        def break_something(result: Result) -> None:
            nonlocal killed
            if isinstance(result, BatchFailed):
                raise RuntimeError(result.error)
            if killed < actors:
                ray.kill(crew.actors[int(rng.integers(len(crew.actors)))])
                killed += 1
            elif killed == actors and len(crew.actors) == 2:
                cluster.remove_node(second, allow_graceful=False)
                killed += 1

        work.work(crew, break_something)
    finally:
        ray.shutdown()
        cluster.shutdown()
    return killed


def _two_nodes() -> tuple[Cluster, Any]:
    """A cluster of two nodes with a core each, and the second of them.

    Ray gives a node 30 seconds to start, which a busy machine may not keep: another try then.
    """
    head = {"num_cpus": 1, "_system_config": IMPATIENT, "include_dashboard": False}
    for attempt in range(ATTEMPTS):
        cluster = Cluster()
        try:
            cluster.add_node(**head)
            return cluster, cluster.add_node(num_cpus=1)
        except Exception as error:  # Ray raises no narrower one
            cluster.shutdown()
            if attempt + 1 == ATTEMPTS or "timed out" not in str(error):
                raise
    raise AssertionError("unreachable")
