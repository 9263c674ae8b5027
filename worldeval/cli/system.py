"""`worldeval doctor` and `worldeval recipes`: check this machine, and list recipes."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from worldeval.cli.common import Json, Out, Seed, console, emit, log, verb
from worldeval.files import whole_file

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Kind of recipe: model, policy, judge, dataset, protocol or improvement.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, "doctor", doctor, "worldeval doctor")
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


def doctor(as_json: Json = False, out: Out = None, seed: Seed = 0) -> None:
    """Check what this machine can run, and what to install for the rest."""
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
