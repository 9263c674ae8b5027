"""Compute the latents of a dataset once."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from worldeval.api.data import Address, Counted, as_source
from worldeval.data.latent_cache import (
    LatentCache,
    build_cache,
    decoded_psnr,
    encode_frames,
    precomputed,
)
from worldeval.data.source import Source
from worldeval.device import pick_device
from worldeval.errors import UserError, did_you_mean
from worldeval.files import whole_file
from worldeval.recipe import shipped
from worldeval.world.load import load_world, read_card, world_hash
from worldeval.world.training.prepare import TOKENIZER

SAMPLE = 32  # frames decoded to check that the latents belong to the dataset


@dataclass(frozen=True, kw_only=True)
class EncodedDataset:
    """A summary of the written latents."""

    out: Path
    episodes: int
    encoder: str  # the tokenizer that made them, or the format that they came with
    decoded_psnr: float | None  # dB, of a sample; None if they came with the dataset


def encode_dataset(
    data: Address | Source,
    out: Address,
    *,
    world: Address | None = None,
    format: str | None = None,
    map: Address | None = None,
    seed: int = 0,
    progress: Counted | None = None,
) -> EncodedDataset | None:
    """Compute and store a dataset's latents, and decode a sample to check them.

    The same call continues an interrupted encoding. Under `accelerate launch` or `torchrun`, the
    processes share the work.

    Args:
        data: folder (or file) of a dataset, or one from `open_dataset`.
        out: folder for the latents, for `train_world(data, ..., latents=[out])`.
        world: folder of the world model whose tokenizer is used. Default: the latents that came
            with the dataset.
        format, map: as in `open_dataset`.
        seed: random seed for the choice of the sample.
        progress: function that is called with the number of finished files and their total, in the
            first process only.

    Returns:
        The number of episodes and the PSNR of the sample; None in every process but the first.

    Raises:
        UserError: the dataset has no latents and no world model is given, the world model does not
            know a task, or `out` contains other latents.

    >>> from worldeval.api.encode import encode_dataset
    >>> encode_dataset("mine", "runs/latents", world="runs/world")  # doctest: +SKIP
    """
    source, folder = as_source(data, format, map), Path(out)
    place = None if world is None else Path(shipped(str(world)))
    launched = _launched()
    process, processes = (launched.process_index, launched.num_processes) if launched else (0, 1)
    used = _precomputed(source) if place is None else _tokenizer(source, place, launched)
    build_cache(
        source,
        folder,
        used.latents,
        encoder=used.made_by,
        views=used.views,
        tokenizer=used.facts,
        process=process,
        processes=processes,
        progress=progress if process == 0 else None,
    )
    if launched:
        launched.wait_for_everyone()
    if process > 0:
        return None
    cache, psnr = LatentCache(folder), None
    if place is not None:
        # Training on the latents needs the tokenizer, so it is stored beside them.
        with whole_file(folder / TOKENIZER) as draft:
            shutil.copyfile(place / TOKENIZER, draft)
    if used.decode is not None:
        rng = np.random.default_rng(seed)
        psnr = round(decoded_psnr(source, cache, used.decode, frames=SAMPLE, rng=rng), 2)
    return EncodedDataset(out=folder, episodes=len(cache), encoder=used.made_by, decoded_psnr=psnr)


@dataclass(frozen=True, kw_only=True)
class _Latents:
    """Where the latents of an episode come from."""

    latents: Callable[[Source, int], Any]  # an episode's latents (t, v, d, h, w)
    made_by: str
    views: tuple[str, ...]
    decode: Callable[..., Any] | None = None  # None: no decoder is known
    facts: dict[str, Any] | None = None  # of the tokenizer, for training on the latents


def _precomputed(source: Source) -> _Latents:
    views = tuple(source.spec.views)
    made_by = f"precomputed, of {source.spec.format}"
    return _Latents(latents=precomputed(views), made_by=made_by, views=views)


def _tokenizer(source: Source, folder: Path, launched: PartialState | None) -> _Latents:
    model = load_world(folder, device="auto" if launched is None else str(launched.device))
    source.choose(model.spec.views)
    for head in source.heads:
        if not model.spec.knows(head.task):
            raise UserError(
                f"Episode '{head.id}' has the task '{head.task}', which {folder} was not trained "
                f"on.{did_you_mean(head.task, model.spec.tasks)}"
            )

    def encode(frames: Any, task: str) -> Any:
        count = len(next(iter(frames.values())))
        return model.encode(frames, [task] * count).cpu().numpy()

    views, recipe = model.spec.views, read_card(folder)["recipe"].tokenizer
    return _Latents(
        latents=encode_frames(encode, views),
        made_by=f"world {world_hash(folder)}",
        views=views,
        decode=lambda latents, task: model.render(latents, [task] * len(latents)),
        facts={
            "folder": recipe.folder,
            "widths": list(recipe.widths),
            "channels": recipe.channels,
            "size": list(model.spec.size),
            "tasks": list(model.spec.tasks),
        },
    )


def _launched() -> PartialState | None:
    """Return the state of this process under accelerate or torchrun; None if it runs alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return None
    # Without `cpu=True`, accelerate treats every process on a CPU as the only one.
    return PartialState(cpu=pick_device().type == "cpu")
