"""`worldeval adapter`: fit a policy's actions to a world's, through a URDF or from recordings."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from worldeval.cli.common import Json, Out, Seed, console, emit, log, verb

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
    from dataclasses import replace

    import numpy as np

    from worldeval.policy.adapters.folder import AdapterCard, load_adapter, save_adapter
    from worldeval.policy.adapters.joint_records import fitted_scale, measure, read_records, split
    from worldeval.policy.adapters.motion import JointAdapter

    card: Any = _card(
        AdapterCard,
        kind="urdf",
        policy=policy,
        world=world,
        policy_fps=policy_fps,
        world_fps=world_fps,
        frame=frame,
        velocity_scale=1.0 if velocity_scale is None else velocity_scale,
    )
    control, held = card.spaces[0].control, []
    if data is not None:
        records = read_records(data, control)
        kept, held = split(records, share=held_out, rng=np.random.default_rng(seed))
        if velocity_scale is None and control == "joint-velocity":
            scale = fitted_scale(kept, steps=card.steps, fps=policy_fps)
            card = replace(card, velocity_scale=scale)
            log.print(f"one unit of velocity is {scale:.3f} rad/s in {len(kept)} episodes")
    folder = out or Path("runs/adapters") / robot.stem
    save_adapter(folder, card, urdf=robot)
    made = load_adapter(folder)
    if held:
        assert isinstance(made, JointAdapter)
        card = replace(card, held_out=asdict(measure(made.motion, held, steps=card.steps)))
        save_adapter(folder, card)
    _show(folder, card, as_json)


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
    import numpy as np
    import torch

    from worldeval.policy.adapters.folder import AdapterCard, needs_arm, save_adapter
    from worldeval.policy.adapters.joint_records import measure, read_records, split
    from worldeval.policy.adapters.learned_motion import fit_motion, save_motion

    card: Any = _card(
        AdapterCard,
        kind="learned",
        policy=policy,
        world=world,
        policy_fps=policy_fps,
        world_fps=world_fps,
    )
    needs_arm(*card.spaces)
    records = read_records(data, card.spaces[0].control)
    kept, held = split(records, share=held_out, rng=np.random.default_rng(seed))
    log.print(f"fitting to {len(kept)} episodes, {len(held)} held out")
    generator = torch.Generator().manual_seed(seed)
    motion = fit_motion(kept, steps=card.steps, generator=generator, iterations=iterations)
    from dataclasses import replace

    card = replace(card, held_out=asdict(measure(motion, held, steps=card.steps)))
    folder = out or Path("runs/adapters") / data.name
    save_motion(folder, motion)
    save_adapter(folder, card)
    _show(folder, card, as_json)


def _card(cls: Any, **raw: Any) -> Any:
    from worldeval.config import build

    return build(cls, raw, where="the adapter")


def _show(folder: Path, card: Any, as_json: bool) -> None:
    emit({"adapter": str(folder), **asdict(card)}, as_json=as_json)
    if as_json:
        return
    error = dict(card.held_out)
    if error:
        console.print(
            f"one world frame ahead, mean over {error['frames']:.0f} frames of "
            f"{error['episodes']:.0f} episodes: {error['position_mm']:.2f} mm and "
            f"{error['rotation_deg']:.2f} deg (standing still: "
            f"{error['still_position_mm']:.2f} mm, {error['still_rotation_deg']:.2f} deg); "
            "joints from the pose: "
            f"{error['joints_rad']:.3f} rad"
        )
    console.print(f"{folder}: use it as POLICY?adapter={folder}")


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
