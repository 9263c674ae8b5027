"""A ranking on a Ray cluster of two nodes, of which one is lost while it works."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

# Ray gives up on what starts slowly, which on a busy machine everything does.
os.environ.update(
    RAY_USAGE_STATS_ENABLED="0",
    RAY_gcs_server_request_timeout_seconds="600",
    RAY_gcs_rpc_server_connect_timeout_s="600",
    RAY_worker_register_timeout_seconds="600",
)

import ray
from ray._private import services
from ray.cluster_utils import Cluster

from worldeval import recipe as recipes
from worldeval.evaluate.imagined import ImaginedPart
from worldeval.evaluate.manifest import manifest_of
from worldeval.evaluate.policies import policy_cards
from worldeval.evaluate.workers.cluster import Actors
from worldeval.evaluate.workers.jobs import BatchFailed, Result, by_task
from worldeval.evaluate.workers.worker import Setup
from worldeval.rollout.starts import read_starts, write_starts
from worldeval.runs.manifest import write_manifest
from worldeval.runs.origin import open_run

STARTING = 600.0  # seconds that a node may take to start
# A node is given up after so many missed signs of life, so long apart.
IMPATIENT = {"health_check_period_ms": 1000, "health_check_failure_threshold": 20}


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
    services.get_node = _patient(services.get_node)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "_system_config": IMPATIENT, "include_dashboard": False},
    )
    killed = 0
    try:
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        crew = Actors(
            Setup(recipe=recipe, starts=starts, seed=0),
            address=str(cluster.address),
            size=2,
            refs=list(refs.values()),
        )
        work = ImaginedPart(folder=run, refs=refs, starts=starts, seed=0, batch=recipe.batch)

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


def _patient(get_node: Callable[..., Any]) -> Callable[..., Any]:
    """Ray's question whether a node is up, asked for longer than the 30 seconds that it waits."""

    def ask(*given: Any) -> Any:
        deadline = monotonic() + STARTING
        while True:
            try:
                return get_node(*given)
            except RuntimeError:
                if monotonic() > deadline:
                    raise

    return ask
