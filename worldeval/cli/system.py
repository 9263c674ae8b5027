"""`worldeval doctor` and `worldeval recipes`: check this machine, and list recipes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from worldeval.cli.common import Json, Out, Seed, Sets, console, emit, log, verb
from worldeval.errors import UserError
from worldeval.files import whole_file

if TYPE_CHECKING:
    from worldeval.api.fit import RecipeFit

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Kind of recipe: model, policy, judge, dataset, protocol or improvement.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(
        app, "doctor", doctor,
        "worldeval doctor",
        "worldeval doctor --fit dit-base --gpu H100",
        "worldeval doctor --fit ctrl-world --sampler-steps 4 --memory 24GiB --tflops 165",
    )  # fmt: skip
    group = typer.Typer(help="List the recipes, or show one.", cls=ListUnlessTold)
    verb(group, "list", list_recipes, "worldeval recipes --kind model")
    verb(
        group, "show", show,
        "worldeval recipes show latent",
        "worldeval recipes show judge --kind judge",
    )  # fmt: skip
    app.add_typer(group, name="recipes")


class ListUnlessTold(TyperGroup):
    """A command group that runs `list` if no command is given: `worldeval recipes --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not {"-h", "--help"}.intersection(args) and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def doctor(
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Compute instead whether this model recipe fits a GPU, and which batches to "
            "take. It needs no GPU and measures nothing.",
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="With --fit: a GPU such as H100. Default: the one of this machine."
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="With --fit: the memory of a GPU, such as 24GiB."),
    ] = None,
    tflops: Annotated[
        float | None,
        typer.Option(help="With --memory: the GPU's bfloat16 matrix products, in TFLOP/s."),
    ] = None,
    bandwidth: Annotated[
        float | None,
        typer.Option(
            help="With --memory: the bandwidth of the GPU's memory, in TB/s. Default: --tflops "
            "/ 250."
        ),
    ] = None,
    sampler_steps: Annotated[
        int | None,
        typer.Option(help="With --fit: sampler steps per frame, instead of the recipe's."),
    ] = None,
    settings: Sets = None,
    as_json: Json = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Check what this machine can run, and what to install for the rest."""
    if fit is None:
        described = {"--gpu": gpu, "--memory": memory, "--tflops": tflops}
        described |= {"--bandwidth": bandwidth, "--sampler-steps": sampler_steps}
        described |= {"--set": settings}
        given = [name for name, value in described.items() if value]
        if given:
            raise UserError(f"{given[0]} needs --fit RECIPE.")
        _check(as_json, out)
        return
    from worldeval.api.fit import fit_recipe

    with log.status(f"computing what {fit} needs"):
        found = fit_recipe(
            fit,
            settings=settings or (),
            gpu=gpu,
            memory=memory,
            tflops=tflops,
            bandwidth=bandwidth,
            sampler_steps=sampler_steps,
        )
    emit({"ok": found.ok, **asdict(found)}, as_json=as_json, out=out)
    if not as_json:
        _show_fit(found)
    if not found.ok:
        raise typer.Exit(1)


def _check(as_json: bool, out: Path | None) -> None:
    from worldeval.api.doctor import check_machine

    with log.status("checking this machine"):
        found = check_machine()
    emit({"ok": found.ok, **asdict(found)}, as_json=as_json, out=out)
    if not as_json:
        table = Table("", "", "found", "what to do", box=None, header_style="dim")
        for check in found.checks:
            missing = Text("missing", "red") if check.required else Text("no", "yellow")
            state = Text("ok", "green") if check.ok else missing
            todo = "" if check.ok else check.todo
            table.add_row(state, check.name, check.found, todo)
        console.print(table)
    if not found.ok:
        raise typer.Exit(1)


def _show_fit(found: "RecipeFit") -> None:
    gpu = found.gpu
    steps = f", {found.sampler_steps} sampler steps" if found.sampler_steps else ""
    console.print(
        f"{found.recipe} ({found.family}): {found.parameters / 1e6:,.1f} million parameters"
        f"{steps}\n"
        f"{gpu.name}: {gpu.memory_gib:.4g} GiB, {gpu.tflops:g} TFLOP/s, {gpu.terabytes:.3g} TB/s"
    )
    console.print(
        f"\nimagination: {found.teraflops_per_frame:.3g} TFLOP a frame of all views, "
        f"{found.frames_per_call} frames a call, {found.cache_mib_per_episode:.4g} MiB of keys and "
        "values an episode; frames per second, at most"
    )
    table = Table("batch", "GiB", "eager", "compiled", "arithmetic alone", "", box=None)
    for row in found.imagination:
        taken = "take this" if row.batch == found.take_episodes else ""
        table.add_row(
            str(row.batch), f"{row.memory_gib:.1f}",
            *(f"{each:,.3g}" if each < 100 else f"{each:,.0f}"
              for each in (row.eager_frames, row.compiled_frames, row.arithmetic_frames)),
            taken if row.fits else "does not fit",
        )  # fmt: skip
    console.print(table)
    console.print(
        f"\ntraining: {found.teraflops_per_row:.3g} TFLOP a row of the batch; the recipe's batch "
        f"has {found.recipe_batch} rows; steps per second, at most"
    )
    table = Table("rows", "GiB", "eager", "compiled", "", box=None)
    for row in found.training:
        taken = "take this" if row.batch == found.take_rows else ""
        table.add_row(
            str(row.batch), f"{row.memory_gib:.1f}",
            f"{row.eager_steps:,.3g}", f"{row.compiled_steps:,.3g}",
            taken if row.fits else "does not fit",
        )  # fmt: skip
    console.print(table)
    if not found.take_rows:
        console.print("Not even one row can be trained on this GPU.")
    elif found.take_rows < found.recipe_batch:
        parts = found.recipe_batch // found.take_rows
        console.print(
            f"The recipe's batch needs {parts} such GPUs, or {parts} accumulated parts where the "
            "recipe has `trainer.accumulate`."
        )
    console.print("Computed, not measured: no program reaches these bounds.")


def list_recipes(
    kind: Kind = None,
    as_json: Json = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """List the recipes; this is the default of `worldeval recipes`."""
    from worldeval.api.recipes import list_recipes as listed

    count = as_json or out is not None  # programs can wait, a table should be there at once
    rows = listed(kind, count=count)
    emit([asdict(row) for row in rows], as_json=as_json, out=out)
    if not as_json:
        table = Table("kind", "name", "family", "parameters", "weights", "summary", box=None)
        for row in rows:
            size = f"{row.parameters:,}" if row.parameters else ""
            table.add_row(row.kind, row.name, row.family, size, row.weights, row.summary)
        console.print(table)


def show(
    name: Annotated[str, typer.Argument(help="Name or path of a recipe.")],
    kind: Kind = None,
    as_json: Json = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Show a recipe with its base recipes and every default filled in."""
    from worldeval.api.recipes import show_recipe

    found = show_recipe(name, kind)
    text = f"# {found.recipe}\n{yaml.safe_dump(found.content, sort_keys=False)}"
    if out is not None:
        with whole_file(out) as draft:
            draft.write_text(text)
    emit(asdict(found), as_json=as_json)
    if not as_json:
        console.out(text, end="")
