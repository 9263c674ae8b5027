"""`worldeval data encode`: compute the latents of a dataset once."""

from pathlib import Path
from typing import Annotated

import typer

from worldeval.cli.common import (
    MODELS,
    OUTPUT,
    Format,
    Json,
    Map,
    Seed,
    console,
    counted,
    emit,
    verb,
)


def register(data: typer.Typer) -> None:
    """Add the verb to the `data` group."""
    verb(
        data, "encode", encode,
        "worldeval data encode runs/data/mine --world runs/world --out runs/latents",
        panels={MODELS: ("world",), OUTPUT: ("out",)},
    )  # fmt: skip


def encode(
    path: Annotated[Path, typer.Argument(help="Folder (or file) of a dataset.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the latents.")],
    world: Annotated[
        Path | None,
        typer.Option(
            help="World model whose tokenizer is used. Default: the dataset's precomputed latents."
        ),
    ] = None,
    kind: Format = None,
    named: Map = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compute and store a dataset's latents, and decode a sample to check them.

    Running it again continues an interrupted encoding. `worldeval train --data DATASET --latents
    FOLDER` trains on the latents without encoding again.

    To work in parallel, use `accelerate launch -m worldeval data encode ...` on GPUs, or
    `torchrun --nproc-per-node 4 -m worldeval data encode ...` on CPU cores.
    """
    from dataclasses import asdict

    from worldeval.api.encode import encode_dataset

    with counted("files of latents") as progress:
        done = encode_dataset(
            path, out, world=world, format=kind, map=named, seed=seed, progress=progress
        )
    if done is None:  # another process of a parallel launch reports
        return
    emit(asdict(done), as_json=as_json)
    if not as_json:
        checked = "precomputed, not decoded"
        if done.decoded_psnr is not None:
            checked = f"PSNR {done.decoded_psnr} dB after decoding"
        console.print(f"latents of {done.episodes} episodes in {done.out} ({checked})")
