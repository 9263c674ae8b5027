"""`worldeval doctor` and `worldeval recipes`: check this machine, and list recipes."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from worldeval.cli.common import Json, Out, Seed, console, emit, log, verb
from worldeval.errors import UserError, did_you_mean
from worldeval.run import whole_file, write_json

Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        help="Kind of recipe to list: model, policy, judge, dataset, protocol or improvement.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command."""
    verb(app, "doctor", doctor, "worldeval doctor")
    group = typer.Typer(help="List the recipes, or show one.", cls=ListUnlessTold)
    verb(group, "list", list_recipes, "worldeval recipes --kind model")
    verb(group, "show", show, "worldeval recipes show latent")
    app.add_typer(group, name="recipes")


class ListUnlessTold(TyperGroup):
    """A command group that runs `list` if no command is given: `worldeval recipes --json`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not {"-h", "--help"}.intersection(args) and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def doctor(as_json: Json = False, out: Out = None, seed: Seed = 0) -> None:
    """Check what this machine can run, and what to install for the rest."""
    from worldeval.cli.doctor import checks

    with log.status("checking this machine"):
        found = list(checks())
    well = all(check.ok for check in found if check.required)
    result = {"ok": well, "checks": [asdict(check) for check in found]}
    if out is not None:
        write_json(out, result)
    emit(result, as_json=as_json)
    if not as_json:
        table = Table("", "", "found", "what to do", box=None, header_style="dim")
        for check in found:
            missing = Text("missing", "red") if check.required else Text("no", "yellow")
            state = Text("ok", "green") if check.ok else missing
            todo = "" if check.ok else check.todo
            table.add_row(state, check.name, check.found, todo)
        console.print(table)
    if not well:
        raise typer.Exit(1)


def list_recipes(
    kind: Kind = None,
    as_json: Json = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """List the recipes; this is the default of `worldeval recipes`."""
    from worldeval.cli.shelf import listed

    groups = _groups(kind)
    count = as_json or out is not None  # machines can wait, a table should be there at once
    rows = [asdict(row) for row in listed(count=count) if row.kind in groups]
    if out is not None:
        write_json(out, rows)
    emit(rows, as_json=as_json)
    if not as_json:
        table = Table("kind", "name", "family", "parameters", "weights", "summary", box=None)
        for row in rows:
            count = f"{row['parameters']:,}" if row["parameters"] else ""
            summary = row["summary"]
            table.add_row(row["kind"], row["name"], row["family"], count, row["weights"], summary)
        console.print(table)


def show(
    name: Annotated[str, typer.Argument(help="Name or path of a recipe.")],
    kind: Kind = None,
    as_json: Json = False,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Show a recipe with its base recipes and every default filled in."""
    found = _resolved(name, kind)
    text = "---\n".join(
        f"# {recipe['recipe']}\n{yaml.safe_dump(recipe['content'], sort_keys=False)}"
        for recipe in found
    )
    if out is not None:
        with whole_file(out) as draft:
            draft.write_text(text)
    emit(found, as_json=as_json)
    if not as_json:
        console.out(text, end="")


def _resolved(name: str, kind: str | None) -> list[dict[str, Any]]:
    """Find every recipe of a name, because recipes of different kinds may share it."""
    from worldeval import recipe as recipes

    groups = _groups(kind)
    if Path(name).suffix in {".yaml", ".yml"}:
        own = recipes.group_of(recipes.read(recipes.find(name, groups[0]), groups[0]))
        groups = [own] if own in groups else groups[:1]  # `load` says what is wrong with it
    else:
        shelf = {group: [path.stem for path in recipes.available(group)] for group in groups}
        groups = [group for group in groups if name in shelf[group]]
        if not groups:
            hint = did_you_mean(name, {stem for stems in shelf.values() for stem in stems})
            raise UserError(f"There is no recipe '{name}' in {recipes.RECIPES}.{hint}")
    loaded = [recipes.load(name, group) for group in groups]
    return [
        {"kind": recipe.group, "recipe": str(recipe.path), "content": recipe.resolved()}
        for recipe in loaded
    ]


def _groups(kind: str | None) -> list[str]:
    from worldeval import recipe as recipes

    if kind is None:
        return list(recipes.FOLDERS)
    if kind not in recipes.FOLDERS:
        raise UserError(f"--kind {kind} is unknown.{did_you_mean(kind, recipes.FOLDERS)}")
    return [kind]
