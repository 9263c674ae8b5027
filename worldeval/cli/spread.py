"""Options of verbs that imagine: who does the work, which part of it, and how much."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldeval.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from worldeval.evaluate.workers.spread import Crew
    from worldeval.evaluate.workers.worker import Setup

ALLOCATIONS = ("even", "halving", "top-two")

Jobs = Annotated[int | None, typer.Option(help="Processes; default: one per core.", min=1)]
Ray = Annotated[
    str | None,
    typer.Option(help="Imagine on a Ray cluster: its address, or 'auto' for one that is here."),
]
Workers = Annotated[
    int | None, typer.Option(help="Ray actors; default: one per core of the cluster.", min=1)
]
Shards = Annotated[
    int, typer.Option("--num-shards", help="Do one part of so many; see `worldeval merge`.", min=1)
]
ShardIndex = Annotated[int, typer.Option("--shard-index", help="Which part: 0, 1, ...", min=0)]
Minutes = Annotated[
    float | None, typer.Option("--budget-minutes", help="Stop imagining after so long.", min=0)
]
Rollouts = Annotated[
    int | None, typer.Option("--budget-rollouts", help="Spend so many roll-outs in all.", min=1)
]
Separated = Annotated[
    bool,
    typer.Option("--stop-when-separated", help="Stop once one policy is known to be the best."),
]
Allocate = Annotated[
    str, typer.Option(help="Which policies get roll-outs: even, halving or top-two.")
]
PolicyTimeout = Annotated[
    float,
    typer.Option(
        help="Seconds a policy may take for one answer; then its episodes count as errors.", min=0.1
    ),
]
Redo = Annotated[
    bool, typer.Option("--redo-changed", help="Try policies anew whose checkpoint has changed.")
]


def evaluation_options(
    *,
    ray: str | None = None,
    workers: int | None = None,
    num_shards: int = 1,
    shard_index: int = 0,
    minutes: float | None = None,
    rollouts: int | None = None,
    stop_when_separated: bool = False,
    allocate: str = "even",
    redo_changed: bool = False,
    policy_timeout: float = 600.0,
) -> dict[str, Any]:
    """The options as the fields of an `Evaluation`."""
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
            rollouts=rollouts,
            minutes=minutes,
        ),
        "redo_changed": redo_changed,
        "policy_timeout": policy_timeout,
    }


def _on_ray(address: str, workers: int | None) -> "Callable[[Setup, list[str]], Crew]":
    from worldeval.evaluate.workers.cluster import Actors, need_ray

    need_ray()
    return lambda setup, refs: Actors(setup, address=address, size=workers, refs=refs)
