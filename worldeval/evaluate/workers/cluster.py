"""Workers as Ray actors, on this machine or on every machine of a cluster.

World model, judge and checkpoints are sent to the actors, so that machines need not share a folder;
the run store stays with the process that gave the command. When a node dies, its actors' jobs are
given to others, and new actors are requested, which Ray starts wherever there is room.
"""

import logging
import os
from collections.abc import Collection, Hashable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worldeval.device import COMPILE, TURN
from worldeval.errors import UserError
from worldeval.evaluate.workers.jobs import Job, Result
from worldeval.evaluate.workers.parcel import Parcel
from worldeval.evaluate.workers.spread import Died, Ready
from worldeval.evaluate.workers.worker import PER_GPU, Setup, Worker
from worldeval.policy.address import read_address
from worldeval.policy.pulse import end_when_hung

LARGE = 1 << 30  # bytes of a world model's weights that has a GPU of its own
LOOK = 1.0  # seconds between two polls of the actors, so that Ctrl-C is noticed


def folders_of(ref: str) -> list[str]:
    """Return the parts of a policy's address that may be folders: the policy and its adapter."""
    address = read_address(ref)
    return [address.place, *(str(v) for key, v in address.params.items() if key == "adapter")]


def need_ray() -> None:
    """Raise an error if Ray is not installed."""
    if find_spec("ray") is None:
        raise UserError("Ray is not installed. Run pip install 'worldeval[ray]', or omit --ray.")


def gpu_share(world: Path) -> float:
    """Return the share of a GPU that a worker with this world model asks for.

    A model with less than 1 GiB of weights in its files (a billion parameters in one byte each)
    leaves room for another worker's model and batch on the same GPU.
    """
    size = sum(path.stat().st_size for path in world.glob("*.safetensors"))
    return 1.0 if size >= LARGE else 1 / PER_GPU


def fitting(resources: Mapping[str, float], share: float) -> int:
    """Return how many workers, of one core each, fit on a cluster.

    Where there are GPUs, every worker has its share of one.
    """
    cores, gpus = int(resources.get("CPU", 1)), resources.get("GPU", 0)
    return max(1, min(cores, int(gpus / share)) if gpus else cores)


class ClusterActor:
    """A worker, with its models, that Ray can start on any machine."""

    def __init__(self, setup: Setup, parcel: Parcel, turn: int) -> None:
        os.environ[TURN] = str(turn)
        if setup.compile:
            os.environ.setdefault(COMPILE, "1")
        if setup.policy_timeout is not None:
            end_when_hung(setup.policy_timeout)
        self._worker = Worker(replace(setup, places=parcel.unpack()))

    def ready(self) -> Ready:
        """Report that the constructor has finished."""
        return Ready()

    def do(self, job: Job) -> Result:
        """Do the job and return its outcome."""
        return self._worker(job)


class Actors:
    """A crew of Ray actors, with one core each, and a share of a GPU where there are any.

    Args:
        setup: setup of every worker.
        address: address of a cluster; 'auto' uses the cluster that runs here, or else starts one
            on this machine alone.
        size: number of actors; None for as many as fit on the cluster's GPUs, or else its cores.
        refs: addresses of policies; checkpoints among them are sent to the actors.
    """

    def __init__(
        self, setup: Setup, *, address: str, size: int | None, refs: Collection[str]
    ) -> None:
        need_ray()
        # Set before Ray is imported, because an evaluation sends no usage reports.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self._ours = not ray.is_initialized()  # otherwise, whoever started it stops it
        if self._ours:
            _connect(ray, address)
        recipe, found = setup.recipe, ray.cluster_resources()
        share = gpu_share(Path(setup.place(recipe.world))) if found.get("GPU") else 0
        self.size = size or fitting(found, share)
        held = [folder for folder in (recipe.world, recipe.judge, recipe.checker) if folder]
        parcel = Parcel.of([*held, *(folder for ref in refs for folder in folders_of(ref))])
        self._given = (ray.put(setup), ray.put(parcel))
        # The foreman replaces a lost actor, since it knows which job the actor had.
        self._class: Any = ray.remote(num_cpus=1, num_gpus=share, max_restarts=0)(ClusterActor)
        self._actors: dict[Hashable, Any] = {}
        self._awaited: dict[Any, Hashable] = {}  # pending Ray result -> its actor
        self._count = 0

    @property
    def actors(self) -> list[Any]:
        """Return the handles of the actors that are not known to be dead."""
        return list(self._actors.values())

    def hire(self) -> Hashable:
        self._count += 1
        actor = self._class.remote(*self._given, self._count)
        self._actors[self._count] = actor
        self._awaited[actor.ready.remote()] = self._count
        return self._count

    def give(self, worker: Hashable, job: Job) -> None:
        self._awaited[self._actors[worker].do.remote(job)] = worker

    def wait(self, workers: Collection[Any]) -> list[tuple[Any, Ready | Died | Result]]:
        done: list[Any] = []
        while not done:
            done, _ = self._ray.wait(list(self._awaited), num_returns=1, timeout=LOOK)
        said = []
        for promise in done:
            worker = self._awaited.pop(promise)
            try:
                said.append((worker, self._ray.get(promise)))
            except (
                self._ray.exceptions.RayActorError,
                self._ray.exceptions.WorkerCrashedError,
                self._ray.exceptions.ObjectLostError,
            ) as error:
                del self._actors[worker]
                said.append((worker, Died(str(error).splitlines()[0])))
        return said

    def close(self) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        self._awaited.clear()
        if self._ours:
            self._ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        ray.init(address=address, **quiet)
    except ConnectionError as error:
        if address != "auto":
            raise UserError(
                f"No Ray cluster answers at {address}: {error}. Start one with `ray start --head`, "
                "or use --ray auto."
            ) from error
        ray.init(address="local", include_dashboard=False, **quiet)
