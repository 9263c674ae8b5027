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
    emit,
    log,
    opened,
    verb,
)

SAMPLE = 32  # frames decoded to check that the latents belong to the dataset


def register(data: typer.Typer) -> None:
    """Add the verb to the `data` group."""
    verb(
        data, "encode", encode,
        "worldeval data encode runs/data/mine --world runs/world --out runs/latents",
        panels={MODELS: ("world",), OUTPUT: ("out",)},
    )  # fmt: skip


def encode(
    path: Annotated[Path, typer.Argument(help="The folder (or file) of a dataset.")],
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
    import numpy as np
    from rich.progress import Progress

    from worldeval.data.latent_cache import LatentCache, build_cache, decoded_psnr

    source = opened(path, kind, named)
    launched = _launched()
    process, processes = (launched.process_index, launched.num_processes) if launched else (0, 1)
    latents, encoder, views, decode, tokenizer = _encoder(source, world, launched)
    with Progress(console=log, disable=process > 0) as bar:
        task = bar.add_task("files of latents")
        build_cache(
            source,
            out,
            latents,
            encoder=encoder,
            views=views,
            tokenizer=tokenizer,
            process=process,
            processes=processes,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if launched:
        launched.wait_for_everyone()
    if process > 0:
        return
    cache = LatentCache(out)
    if world is not None:
        _keep_tokenizer(world, out)
    psnr = None
    if decode is not None:
        rng = np.random.default_rng(seed)
        psnr = round(decoded_psnr(source, cache, decode, frames=SAMPLE, rng=rng), 2)
    result = {"out": str(out), "episodes": len(cache), "encoder": encoder, "decoded_psnr": psnr}
    emit(result, as_json=as_json)
    if not as_json:
        checked = "not decoded: they came with the data" if psnr is None else f"{psnr} dB decoded"
        console.print(f"latents of {len(cache)} episodes in {out} ({checked})")


def _encoder(source, folder: Path | None, launched):
    """Return the encoder of an episode, its description, views, decoder and tokenizer."""
    from worldeval.data.latent_cache import encode_frames, precomputed

    if folder is None:
        views = tuple(source.spec.views)
        return precomputed(views), f"precomputed, of {source.spec.format}", views, None, None
    from worldeval.errors import UserError, did_you_mean
    from worldeval.world.load import load_world, read_card, world_hash

    model = load_world(folder, device="auto" if launched is None else str(launched.device))
    source.choose(model.spec.views)
    for head in source.heads:
        if not model.spec.knows(head.task):
            raise UserError(
                f"Episode '{head.id}' has the task '{head.task}', which {folder} was not trained "
                f"on.{did_you_mean(head.task, model.spec.tasks)}"
            )

    def encode_batch(frames, task: str):
        count = len(next(iter(frames.values())))
        return model.encode(frames, [task] * count).cpu().numpy()

    def decode(latents, task: str):
        return model.render(latents, [task] * len(latents))

    views, recipe = model.spec.views, read_card(folder)["recipe"].tokenizer
    tokenizer = {
        "folder": recipe.folder,
        "widths": list(recipe.widths),
        "channels": recipe.channels,
        "size": list(model.spec.size),
        "tasks": list(model.spec.tasks),
    }
    made_by = f"world {world_hash(folder)}"
    return encode_frames(encode_batch, views), made_by, views, decode, tokenizer


def _keep_tokenizer(world: Path, out: Path) -> None:
    """Store the tokenizer beside its latents, for training on them."""
    import shutil

    from worldeval.run import whole_file
    from worldeval.world.training.prepare import TOKENIZER

    with whole_file(out / TOKENIZER) as draft:
        shutil.copyfile(world / TOKENIZER, draft)


def _launched():
    """Return the state of this process under accelerate or torchrun; None if it runs alone."""
    import os

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    from accelerate import PartialState

    from worldeval.device import pick_device

    # Without `cpu=True`, accelerate treats every process on a CPU as the only one.
    return PartialState(cpu=pick_device().type == "cpu")
