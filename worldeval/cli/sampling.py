"""Options that say how a world model draws what it imagines."""

from typing import Annotated

import typer

from worldeval.cli.common import SAMPLING

SamplerSteps = Annotated[
    int | None,
    typer.Option(
        help="Steps of the world model's sampler for a frame, instead of its recipe's: 1-8 for "
        "dit, 1-50 for ctrl_world, up to its diffusion times for uwm.",
        rich_help_panel=SAMPLING,
    ),
]
Guided = Annotated[
    float | None,
    typer.Option(
        metavar="SCALE",
        help="In a `uwm` world model, draw episodes near the policy instead of carrying out its "
        "actions. 0 does what the data did; a large scale does what the policy does.",
        rich_help_panel=SAMPLING,
    ),
]
GuidedStd = Annotated[
    float | None,
    typer.Option(
        help="With --guided: how far the actions may be from the policy's, in standard deviations "
        "of the data's actions. Default: 0.5.",
        rich_help_panel=SAMPLING,
    ),
]
