"""Options that say how a world model draws what it imagines, as overrides of a protocol."""

from typing import Annotated

import typer

SamplerSteps = Annotated[
    int | None,
    typer.Option(
        help="Steps of the world model's sampler for a frame, instead of its recipe's: dit 1-8, "
        "ctrl_world 1-50, uwm up to its diffusion times.",
    ),
]
Guided = Annotated[
    float | None,
    typer.Option(
        metavar="SCALE",
        help="In a `uwm` world model, draw episodes near the policy instead of carrying out its "
        "actions: from 0, what the data did, to large, what the policy does.",
    ),
]
GuidedStd = Annotated[
    float | None,
    typer.Option(
        help="With --guided: how far the policy may be missed, in deviations of the data's "
        "actions. Default: 0.5."
    ),
]


def with_sampling(
    sets: list[str] | None,
    sampler_steps: int | None,
    guided: float | None = None,
    guided_std: float | None = None,
) -> list[str]:
    """The overrides of a protocol, with those that these options stand for."""
    given = {"sampler_steps": sampler_steps, "guided.scale": guided, "guided.std": guided_std}
    return [*(sets or ()), *(f"{key}={value}" for key, value in given.items() if value is not None)]
