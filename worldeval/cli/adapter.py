"""`worldeval adapter`: fit a policy's actions to a world's, through a URDF or from recordings."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import Json, Out, Seed, console, emit, log, verb

if TYPE_CHECKING:
    from worldeval.api.adapter import MadeAdapter

adapter = typer.Typer(
    name="adapter", help="Fit a policy's actions to a world model's.", no_args_is_help=True
)

Space = "such as joint-velocity(7)+1 or ee-absolute(euler)+1."
Policy = Annotated[str, typer.Option("--policy", help=f"The policy's actions, {Space}")]
World = Annotated[str, typer.Option("--world", help=f"The world's actions, {Space}")]
PolicyFps = Annotated[float, typer.Option(help="Policy steps per second.")]
WorldFps = Annotated[float, typer.Option(help="World frames per second.")]
Scale = Annotated[
    float | None,
    typer.Option(
        help="rad/s for one unit of joint velocity. Default: fitted to --data, otherwise 1."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Recordings to fit the scale to, and to measure the error on."),
]
HeldOut = Annotated[float, typer.Option(help="Share of episodes held out to measure the error.")]


def register(app: typer.Typer) -> None:
    """Add the `adapter` group."""
    app.add_typer(adapter)


def urdf(
    robot: Annotated[Path, typer.Argument(help="URDF file of the robot. Meshes are not needed.")],
    frame: Annotated[str, typer.Option(help="Name of the link whose pose the world model uses.")],
    policy: Policy,
    policy_fps: PolicyFps,
    world_fps: WorldFps,
    world: World = "ee-absolute(euler)+1",
    velocity_scale: Scale = None,
    data: Data = None,
    held_out: HeldOut = 0.2,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make an adapter from joints to the end effector by a robot's kinematics."""
    from worldeval.api.adapter import adapter_from_urdf

    made = adapter_from_urdf(
        robot,
        out or Path("runs/adapters") / robot.stem,
        frame=frame,
        policy=policy,
        policy_fps=policy_fps,
        world_fps=world_fps,
        world=world,
        velocity_scale=velocity_scale,
        data=data,
        held_out=held_out,
        seed=seed,
        say=log.print,
    )
    _show(made, as_json)


def train(
    data: Annotated[
        Path, typer.Argument(help="Recordings: Ctrl-World annotations with joints, or .npz files.")
    ],
    policy: Policy,
    policy_fps: PolicyFps,
    world_fps: WorldFps,
    world: World = "ee-absolute(euler)+1",
    held_out: HeldOut = 0.2,
    iterations: Annotated[
        int, typer.Option(help="Training steps per network; there are three small ones.", min=1)
    ] = 3000,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Learn an adapter from joints to the end effector; prints its error on held-out episodes."""
    from worldeval.api.adapter import train_adapter

    made = train_adapter(
        data,
        out or Path("runs/adapters") / data.name,
        policy=policy,
        policy_fps=policy_fps,
        world_fps=world_fps,
        world=world,
        held_out=held_out,
        iterations=iterations,
        seed=seed,
        say=log.print,
    )
    _show(made, as_json)


def _show(made: "MadeAdapter", as_json: bool) -> None:
    emit({"adapter": str(made.folder), **asdict(made.card)}, as_json=as_json)
    if as_json:
        return
    error = dict(made.card.held_out)
    if error:
        console.print(
            f"one world frame ahead, mean over {error['frames']:.0f} frames of "
            f"{error['episodes']:.0f} episodes: {error['position_mm']:.2f} mm and "
            f"{error['rotation_deg']:.2f} deg (standing still: "
            f"{error['still_position_mm']:.2f} mm, {error['still_rotation_deg']:.2f} deg); "
            "joints from the pose: "
            f"{error['joints_rad']:.3f} rad"
        )
    console.print(f"{made.folder}: use it as POLICY?adapter={made.folder}")


SPACES = "Action spaces"
FITTING = "Fitting"
verb(
    adapter, "urdf", urdf,
    "worldeval adapter urdf panda.urdf --frame panda_hand --policy 'joint-velocity(7)+1' "
    "--policy-fps 15 --world-fps 5",
    panels={SPACES: ("policy", "policy_fps", "world", "world_fps", "frame"),
            FITTING: ("velocity_scale", "data", "held_out")},
)  # fmt: skip
verb(
    adapter, "train", train,
    "worldeval adapter train annotations --policy 'joint-velocity(7)+1' --policy-fps 15 "
    "--world-fps 5",
    panels={FITTING: ("iterations",)},
)  # fmt: skip
