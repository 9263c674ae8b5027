"""Options of commands that imagine: parallel work, parts and budget."""

from typing import Annotated

import typer

from worldeval.cli.common import BUDGET, WORK

Jobs = Annotated[
    int | None,
    typer.Option(help="Number of processes. Default: one per core.", min=1, rich_help_panel=WORK),
]
Ray = Annotated[
    str | None,
    typer.Option(
        help="Run on a Ray cluster: its address, or 'auto' for a cluster on this machine.",
        rich_help_panel=WORK,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        help="Number of Ray actors. Default: one per core of the cluster.",
        min=1,
        rich_help_panel=WORK,
    ),
]
Shards = Annotated[
    int,
    typer.Option(
        "--num-shards",
        help="Number of parts that the work is split into; see `worldeval merge`.",
        min=1,
        rich_help_panel=WORK,
    ),
]
ShardIndex = Annotated[
    int,
    typer.Option(
        "--shard-index",
        help="Part of the work to do, counted from 0.",
        min=0,
        rich_help_panel=WORK,
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--budget-minutes",
        help="Stop imagining after this many minutes.",
        min=0,
        rich_help_panel=BUDGET,
    ),
]
Rollouts = Annotated[
    int | None,
    typer.Option(
        "--budget-rollouts",
        help="Maximum total number of roll-outs.",
        min=1,
        rich_help_panel=BUDGET,
    ),
]
Separated = Annotated[
    bool,
    typer.Option(
        "--stop-when-separated",
        help="Stop once one policy is separated from all others as the best.",
        rich_help_panel=BUDGET,
    ),
]
Allocate = Annotated[
    str,
    typer.Option(
        help="How to allocate roll-outs to policies: even, halving or top-two.",
        rich_help_panel=BUDGET,
    ),
]
PolicyTimeout = Annotated[
    float,
    typer.Option(
        help="Maximum seconds for one answer of a policy; beyond it, its episodes count as errors.",
        min=0.1,
        rich_help_panel=WORK,
    ),
]
Redo = Annotated[
    bool,
    typer.Option(
        "--redo-changed",
        help="Repeat the episodes of policies whose checkpoint has changed.",
        rich_help_panel=WORK,
    ),
]
