"""Options for the workers of an evaluation, its share of the work, and its budget."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from worldeval.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from worldeval.evaluate.workers.spread import Crew
    from worldeval.evaluate.workers.worker import Setup

ALLOCATIONS = ("even", "halving", "top-two")


def evaluation_options(
    *,
    ray: str | None = None,
    workers: int | None = None,
    num_shards: int = 1,
    shard_index: int = 0,
    budget_minutes: float | None = None,
    budget_rollouts: int | None = None,
    stop_when_separated: bool = False,
    allocate: str = "even",
    redo_changed: bool = False,
    policy_timeout: float = 600.0,
) -> dict[str, Any]:
    """Convert the options to the fields of an `Evaluation`.

    Raises:
        UserError: the options contradict each other.
    """
    from worldeval.evaluate.budget import Spending
    from worldeval.evaluate.workers.jobs import Shard

    if shard_index >= num_shards:
        raise UserError(
            f"--shard-index {shard_index} of --num-shards {num_shards}: the parts are 0 to "
            f"{num_shards - 1}."
        )
    if allocate not in ALLOCATIONS:
        raise UserError(f"--allocate {allocate} is unknown.{did_you_mean(allocate, ALLOCATIONS)}")
    if workers is not None and ray is None:
        raise UserError("--workers counts Ray actors: give --ray auto too, or --jobs instead.")
    return {
        "crew": None if ray is None else _on_ray(ray, workers),
        "shard": Shard(index=shard_index, count=num_shards),
        "spending": Spending(
            allocate=allocate,  # type: ignore[arg-type]
            stop_when_separated=stop_when_separated,
            rollouts=budget_rollouts,
            minutes=budget_minutes,
        ),
        "redo_changed": redo_changed,
        "policy_timeout": policy_timeout,
    }


def _on_ray(address: str, workers: int | None) -> "Callable[[Setup, list[str]], Crew]":
    from worldeval.evaluate.workers.cluster import Actors, need_ray

    need_ray()
    return lambda setup, refs: Actors(setup, address=address, size=workers, refs=refs)
