"""`worldeval passport`: what a world model and a judge were validated for."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worldeval.cli.common import MODELS, Json, Out, Seed, console, emit, log, verb

if TYPE_CHECKING:
    from worldeval.api.passport import CheckedPassport, PassportFolder

EVIDENCE, SIGNING = "Evidence", "Signature"

passport = typer.Typer(
    name="passport",
    help="Record what a world model and a judge were validated for.",
    no_args_is_help=True,
)

Place = Annotated[
    Path,
    typer.Argument(help="Folder of the judge, of a lab, or of a world model beside its judge."),
]


def register(app: typer.Typer) -> None:
    """Add the `passport` group."""
    app.add_typer(passport)


@passport.callback()
def group() -> None:
    """Record what a world model and a judge were validated for."""


def make(
    run: Annotated[
        Path, typer.Argument(help="Folder of a finished `rank` with --truth or --real.")
    ],
    world: Annotated[
        Path | None, typer.Option("--world", help="Folder of the world model, if it was moved.")
    ] = None,
    judge: Annotated[
        Path | None, typer.Option("--judge", help="Folder of the judge, if it was moved.")
    ] = None,
    starts: Annotated[
        Path | None,
        typer.Option(
            "--starts",
            help="File of further held-out starts (worldeval starts). 99 held-out starts, besides "
            "as many to fit, allow a false-alarm rate of 1%.",
        ),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option("--card", help="File that describes the data; its hash is recorded."),
    ] = None,
    keep_rates: Annotated[
        bool,
        typer.Option(
            "--keep-rates",
            help="Keep the validated rates that the judge already has; add none of this run.",
        ),
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", help="Private SSH key to sign with, such as ~/.ssh/id_ed25519 (ssh-keygen)."
        ),
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write passport.json and passport.html to the judge's folder, from a validated ranking.

    They hold what was validated, when, on which tasks, lineages, cameras, rates and actions; how
    well it agreed; what an imagined rate is worth; and hashes of everything. `rank` reads them.
    """
    from worldeval.api.passport import make_passport

    made = make_passport(
        run, world=world, judge=judge, starts=starts, card=card, keep_rates=keep_rates, key=key,
        seed=seed,
    )  # fmt: skip
    _shown(made, as_json=as_json, out=out)
    log.print(f"Written: {made.path}, {made.page}", soft_wrap=True)


def show(
    place: Place,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Print a passport."""
    from worldeval.api.passport import open_passport

    _shown(open_passport(place), as_json=as_json, out=out)


def check(
    place: Place,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", help="Public SSH key whose signature the passport must have."),
    ] = None,
    out: Out = None,
    seed: Seed = 0,  # every verb takes it; nothing here is random
    as_json: Json = False,
) -> None:
    """Compare a passport with its files, and check its signature; exit status 2 if one differs."""
    from dataclasses import asdict

    from worldeval.api.passport import check_passport

    found = check_passport(place, public_key=public_key)
    plain = [
        {
            "folder": str(one.folder),
            "valid": one.valid,
            "signature": one.signature,
            "problems": list(one.problems),
            "files": [{**asdict(each.file), "state": each.state} for each in one.files],
        }
        for one in found
    ]
    emit({"passports": plain}, as_json=as_json, out=out)
    if not as_json:
        for one in found:
            _print_check(one)
    if not all(one.valid for one in found):
        raise typer.Exit(2)


def _shown(found: "PassportFolder", *, as_json: bool, out: Path | None) -> None:
    from dataclasses import asdict

    emit(
        {"folder": str(found.folder), "signed": found.signed, **asdict(found.passport)},
        as_json=as_json,
        out=out,
    )
    if not as_json:
        _print(found)


def _print(found: "PassportFolder") -> None:
    from rich.table import Table

    told, scope = found.passport, found.passport.scope
    validation, starts = told.validation, scope.starts
    table = Table(title=found.title, title_justify="left", show_header=False)
    cameras = scope.cameras
    said = {
        "validated": f"{validation.date[:10]}, run {validation.run}: {validation.policies} policies"
        if validation
        else "never",
        "tasks": ", ".join(scope.tasks),
        "lineages": ", ".join(scope.lineages) or "none",
        "cameras": f"{', '.join(cameras.views)}, {cameras.height} x {cameras.width}, "
        f"{scope.fps:g} frames a second"
        if cameras and scope.fps
        else "not recorded",
        "phi": found.phi,
        **{name: str(one) for name, one in (validation.agreement if validation else {}).items()},
        **{f"gate {name}": str(one) for name, one in told.gates.items()},
        "errors of probes": ", ".join(f"{k} {v:.3g}" for k, v in told.probes.items())
        or "not measured",
        "start frames": f"{starts.fitted} fitted, {len(starts.held_out)} held out, "
        f"{starts.rate:.1%} false alarms per start"
        if starts and starts.rate
        else "not measured: too few starts",
        "signature": "signed (passport check --public-key verifies it)"
        if found.signed
        else "unsigned: the checksum shows damage, not who made it",
        "checksum": told.sha256,
    }
    for name, value in said.items():
        table.add_row(name, value)
    console.print(table)


def _print_check(found: "CheckedPassport") -> None:
    from rich.table import Table

    table = Table("file", "kept at", "state", title=str(found.folder), title_justify="left")
    for each in found.files:
        style = "red" if each.wrong else None
        table.add_row(each.file.role, each.file.path or each.file.name, each.state, style=style)
    if found.files:
        console.print(table)
    console.print(f"signature: {found.signature}")
    for problem in found.problems:
        console.print(problem, style="bold red", soft_wrap=True)
    if found.valid:
        console.print("The passport is valid: nothing that it needs has changed.")


verb(
    passport, "make", make, "worldeval passport make runs/demo --starts held-out.h5",
    panels={MODELS: ("world", "judge"), EVIDENCE: ("starts", "card", "keep_rates"),
            SIGNING: ("key",)},
)  # fmt: skip
verb(
    passport, "check", check, "worldeval passport check models/latent",
    panels={SIGNING: ("public_key",)},
)  # fmt: skip
verb(passport, "show", show, "worldeval passport show models/judge")
