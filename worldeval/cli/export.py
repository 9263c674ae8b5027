"""`worldeval export`: write the imagined roll-outs of a run as a training dataset."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    MODELS,
    OUTPUT,
    SAFETY,
    Format,
    Json,
    Map,
    Seed,
    console,
    emit,
    log,
    verb,
)
from worldeval.cli.push import Private

CHOICE = "Which episodes"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    verb(
        app, "export", export,
        'worldeval export runs/demo --select "success and probability > 0.8" --out mine',
    )  # fmt: skip


def export(
    run: Annotated[Path, typer.Argument(help="A run folder with imagined roll-outs.")],
    made: Annotated[
        Path | None,
        typer.Argument(help="Dataset to write: a folder, or a .hdf5 file. Default: RUN/dataset."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The same as DST, given as an option.", rich_help_panel=OUTPUT),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            help='Episodes to keep, such as "success and trust > 0.8". Default: all.',
            rich_help_panel=CHOICE,
        ),
    ] = None,
    to: Annotated[
        str,
        typer.Option("--to", help="Format to write: lerobot or robomimic.", rich_help_panel=OUTPUT),
    ] = "lerobot",
    world: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the world model, if it has moved since the run.",
            rich_help_panel=MODELS,
        ),
    ] = None,
    mix: Annotated[
        Path | None,
        typer.Option(
            help="Recorded dataset to mix in, in any supported format.", rich_help_panel=CHOICE
        ),
    ] = None,
    kind: Format = None,
    named: Map = None,
    ratio: Annotated[
        float,
        typer.Option(
            help="Share of recorded episodes in the dataset, with --mix.", rich_help_panel=CHOICE
        ),
    ] = 0.5,
    seed: Seed = 0,
    license: Annotated[
        str | None, typer.Option(help="Licence for the dataset card.", rich_help_panel=OUTPUT)
    ] = None,
    despite: Annotated[
        bool,
        typer.Option(
            "--despite-refusals",
            help="Write the dataset although the run's checks refused its episodes or labels.",
            rich_help_panel=SAFETY,
        ),
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(
            help="Repository on the Hugging Face Hub (user/name) to upload the dataset to.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    private: Private = False,
    as_json: Json = False,
) -> None:
    """Write imagined episodes as a dataset, each with the judge's verdict and its provenance.

    --select is an expression over the columns success, probability, trust, disagreement,
    mended_actions (the share of clipped actions), reached, policy, lineage, step, task, start and
    seed, combined with and, or, not.

    A run whose checks refused the episodes or their labels (the world model ignores actions,
    failures come out as success, the judge is uninformative or uncalibrated) is not exported
    without --despite-refusals. The dataset's card names every refusal.
    """
    from dataclasses import asdict

    from rich.progress import track

    from worldeval.api.data import open_dataset
    from worldeval.api.export import export as exported

    done = exported(
        run,
        made or out,
        select=select,
        to=to,
        world=world,
        mix=None if mix is None else open_dataset(mix, kind, map=named),
        ratio=ratio,
        license=license,
        despite_refusals=despite,
        push=push,
        private=private,
        seed=seed,
        shown=lambda episodes, total: track(
            episodes, total=total, description="export", console=log
        ),
    )
    emit({**asdict(done), "out": str(done.out)}, as_json=as_json)
    if not as_json:
        console.print(
            f"{done.episodes} episodes ({done.imagined} of {done.of} imagined ones; "
            f"{done.successes} successful, {done.frames} frames) in {done.out}"
        )
        if done.pushed is not None:
            console.print(f"Address: {done.pushed}", soft_wrap=True)
