"""`worldeval push`: upload to the Hugging Face Hub."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import Json, Out, Seed, console, emit, verb

Private = Annotated[bool, typer.Option("--private", help="Make a new repository private.")]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(app, "push", push, "worldeval push lab/world me/my-robot-world --license apache-2.0")


def push(
    folder: Annotated[
        Path, typer.Argument(help="Folder of a world model, judge, policy, lab or dataset.")
    ],
    repo: Annotated[str, typer.Argument(help="Repository on the hub, user/name.")],
    private: Private = False,
    license: Annotated[str | None, typer.Option(help="Licence for the model card.")] = None,
    out: Out = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Upload a world model, a judge, policies, a lab or a dataset to the Hugging Face Hub.

    Others use it by its address hf:USER/NAME. A model card is written if the folder has no
    README.md. Only data files are uploaded. Log in first, with `hf auth login`. --out writes the
    address as JSON.
    """
    from worldeval.api.push import push as pushed

    done = pushed(folder, repo, private=private, license=license)
    emit(asdict(done), as_json=as_json, out=out)
    if not as_json:
        console.print(f"{len(done.files)} files at {done.url}", soft_wrap=True)
        console.print(f"Address: {done.address}", soft_wrap=True)
