"""`worldeval fidelity`: measure how well a world model predicts held-out episodes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from worldeval.cli.common import Format, Json, Map, Out, Seed, console, emit, log, verb
from worldeval.cli.part_table import part_table
from worldeval.cli.sampling import SamplerSteps
from worldeval.errors import UserError

MEASURE = "What is measured"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(
        app, "fidelity", fidelity, "worldeval fidelity runs/world runs/data/mine --horizons 1,10",
        panels={MEASURE: ("horizons", "episodes", "probe", "fvd_backbone")},
    )  # fmt: skip


def fidelity(
    world: Annotated[Path, typer.Argument(help="Folder of a trained world model.")],
    data: Annotated[
        Path, typer.Argument(help="The dataset that it was trained on, or another one.")
    ],
    horizons: Annotated[
        str,
        typer.Option(
            help="Horizons at which errors are measured, in world frames after the start."
        ),
    ] = "1,5,10,20",
    episodes: Annotated[int, typer.Option(help="Maximum number of held-out episodes.")] = 60,
    probe: Annotated[
        str | None,
        typer.Option(
            help="Address of the simulator that recorded the episodes. Replays them to measure "
            "where objects are in imagined frames."
        ),
    ] = None,
    fvd_backbone: Annotated[
        Path | None,
        typer.Option(
            help="TorchScript file of an I3D network, for FVD. Without it, FVD is skipped."
        ),
    ] = None,
    sampler_steps: SamplerSteps = None,
    kind: Format = None,
    named: Map = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Replay held-out episodes open loop, to measure image quality, action following and memory."""
    from worldeval.api.fidelity import fidelity as measured

    with log.status("") as status:
        found = measured(
            world,
            data,
            horizons=_numbers(horizons),
            episodes=episodes,
            fvd_backbone=fvd_backbone,
            sampler_steps=sampler_steps,
            probe=probe,
            format=kind,
            map=named,
            seed=seed,
            say=status.update,
        ).record
    emit(found, as_json=as_json, out=out)
    if not as_json:
        for table in tables(found):
            console.print(table)
        taken = found["action_following"]["taken_as"]
        console.print(f"actions: {_rest(taken)} ({taken['said_by']})")
        for name, reason in found["not_measured"].items():
            console.print(f"not measured: {name} ({reason})")


def _rest(taken: Mapping[str, Any]) -> str:
    """Describe how the robot rests."""
    if taken["held"] is None:
        return "their meaning is not known"
    if taken["absolute"] is None:
        return "positions and motions; at rest, positions keep their first value and motions are 0"
    if taken["absolute"]:
        return "positions; the robot rests at the current one"
    return "motions; zero is rest"


def _numbers(horizons: str) -> tuple[int, ...]:
    """Read the numbers of `1,5,10`."""
    try:
        return tuple(int(part) for part in horizons.split(","))
    except ValueError as error:
        raise UserError(
            f"--horizons {horizons} is not valid; give whole numbers, such as 1,5,10,20."
        ) from error


def tables(found: Mapping[str, Any]):
    """Print the result as tables, one per question."""
    yield _pictures(found) if found["pictures"] else _latents(found)
    parts = part_table(found["latents"], lambda mean: number(mean, 3))
    if parts is not None:
        yield parts
    if found["fvd"]:
        yield _table("Fréchet video distance", ("view", "FVD"), found["fvd"].items())
    following = found["action_following"]
    yield _actions(following)
    # Without metres, errors have the position's own unit.
    told = following.get("inverse_dynamics_mm") or following.get("inverse_dynamics")
    if told:
        digits = 1 if "inverse_dynamics_mm" in following else 3
        rows = [(name, number(told[name], digits)) for name in ("imagined", "recorded", "still")]
        unit = f"{following['unit']} per frame".strip()
        yield _table(f"error of motion recovered from images ({unit})", ("from", "error"), rows)
    if found["objects"]:
        yield _objects(found["objects"])
    if found["memory"]:
        kept = found["memory"]
        rows = [(name.replace("_", " "), number(kept[name], 2)) for name in
                ("with_retrieval", "without", "gain")]  # fmt: skip
        yield _table(f"back where it was ({kept['unit']})", ("retrieval", ""), rows)


def _objects(found: Mapping[str, Any]):
    columns = ("state", "horizon", "imagined", "recorded", "unmoved", "still there", "recorded")
    rows = [
        (
            name,
            horizon[1:],
            number(row["imagined"][name], 1),
            *(f"{row[side][name]['value']:.1f}" for side in ("recorded", "unmoved")),
            number(row["still_there"], 2),
            f"{row['still_there_recorded']['value']:.2f}",
        )
        for horizon, row in found.items()
        for name in row["imagined"]
    ]
    return _table("error of objects' state, read from frames by a probe", columns, rows)


def number(mean: dict[str, Any] | None, digits: int) -> str:
    """`26.6 [26.1, 27.0]`."""
    if mean is None:
        return ""
    text = f"{mean['value']:.{digits}f}"
    if mean["low"] is None:
        return text
    return f"{text} [{mean['low']:.{digits}f}, {mean['high']:.{digits}f}]"


def _pictures(found: Mapping[str, Any]):
    names = ["psnr", "ssim", *(["lpips"] if "lpips" not in found["not_measured"] else [])]
    columns = ["view", "horizon"]
    columns += [f"{name.upper()}{kind}" for name in names for kind in ("", " copied", " ceiling")]
    columns.append("n")
    rows = []
    for view, by_horizon in found["pictures"].items():
        for horizon, row in by_horizon.items():
            cells = []
            for name in names:
                digits = 1 if name == "psnr" else 3
                cells.append(number(row[name], digits))
                for kind in ("copied", "ceiling"):
                    cells.append(f"{row[f'{kind}_{name}']['value']:.{digits}f}")
            rows.append((view, horizon[1:], *cells, str(row["psnr"]["n"])))
    return _table("held-out episodes replayed open loop [95%]", columns, rows)


def _latents(found: Mapping[str, Any]):
    columns = ("horizon", "latent MSE", "first frame copied", "position error", "n")
    rows = [
        (
            horizon[1:],
            number(row["latent_mse"], 3),
            number(row["copied_latent_mse"], 3),
            f"{number(row['hand_mm'], 1)} mm"
            if "hand_mm" in row
            else number(row["place_error"], 3),
            str(row["latent_mse"]["n"]),
        )
        for horizon, row in found["latents"].items()
    ]
    return _table("held-out episodes replayed open loop [95%]", columns, rows)


def _actions(followed: Mapping[str, Any]):
    unit = f" ({followed['unit']})" if followed.get("unit") else ""
    columns = ("actions", "horizon", "latent MSE to the recording", "change", f"moved{unit}")
    rows = [
        (
            name,
            horizon[1:],
            number(row["error"], 3),
            number(row["change"], 2),
            number(row["hand_mm"], 0) if "hand_mm" in row else number(row["place_error"], 3),
        )
        for name, by_horizon in followed["actions"].items()
        for horizon, row in by_horizon.items()
    ]
    title = "effect of other actions (change: 1 is as much as in the recording)"
    return _table(title, columns, rows)


def _table(title: str, columns, rows):
    from rich.table import Table

    table = Table(title=title, box=None)
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:.1f}" for cell in row))
    return table
