"""Options of the world model's sampler."""

from typing import Annotated

import typer

from worldeval.cli.common import SAMPLING

SamplerSteps = Annotated[
    int | None,
    typer.Option(
        help="Sampler steps per frame of the world model, instead of the recipe's: 1-8 for "
        "dit, 1-50 for ctrl_world, up to its diffusion times for uwm.",
        rich_help_panel=SAMPLING,
    ),
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the world model's networks (torch.compile; CUDA graphs on a GPU). The first "
        "steps take minutes, so it pays on a GPU and for long runs.",
        rich_help_panel=SAMPLING,
    ),
]
Guided = Annotated[
    float | None,
    typer.Option(
        metavar="SCALE",
        help="In a `uwm` world model, sample episodes near the policy instead of executing its "
        "actions. 0 follows the data; a large scale follows the policy.",
        rich_help_panel=SAMPLING,
    ),
]
GuidedStd = Annotated[
    float | None,
    typer.Option(
        help="With --guided: distance allowed from the policy's actions, in standard deviations "
        "of the data's actions. Default: 0.5.",
        rich_help_panel=SAMPLING,
    ),
]
