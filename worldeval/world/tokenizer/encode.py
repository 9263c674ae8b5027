"""Write a dataset's frames or precomputed latents to a latent cache named by content.

    <home>/latents/<name>/ as data/latent_cache.py writes it

The name is a digest of the tokenizer and the data. Latents are therefore found again wherever the
data lie and in whatever format, and never confused with those of other data or tokenizers.
"""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, UInt8
from worldeval.data.content import fingerprint
from worldeval.data.latent_cache import (
    FORMAT,
    Encode,
    LatentCache,
    build_cache,
    encode_frames,
    files_of,
    is_whole,
    precomputed,
)
from worldeval.data.source import Source
from worldeval.device import autocast
from worldeval.training.optimise import Report
from worldeval.training.processes import this_process
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.frames import task_place, to_unit

LATENTS = "latents"  # the folder of the caches, within a world's folder


def batch_encoder(
    tokenizer: FrameTokenizer, tasks: tuple[str, ...], views: Sequence[str]
) -> Encode:
    """Build a function that encodes frames of one task on the tokenizer's device."""
    weights = itertools.chain(tokenizer.parameters(), tokenizer.buffers())
    device = next((each.device for each in weights), torch.device("cpu"))

    @torch.no_grad()
    def encode(frames: Mapping[str, UInt8[Array, "n h w 3"]], task: str) -> Array:
        each = [frames[view] for view in views]
        count = len(each[0])
        place = torch.full((len(views) * count,), task_place(tasks, task), device=device)
        view = torch.arange(len(views), device=device).repeat_interleave(count)
        with autocast(device):
            latents = tokenizer.encode(to_unit(np.concatenate(each)).to(device), place, view)
        return latents.float().unflatten(0, (len(views), count)).transpose(0, 1).cpu().numpy()

    return encode


def digest_of(tokenizer: FrameTokenizer) -> str:
    """Return a digest of a tokenizer's weights."""
    return digest_of_weights(tokenizer.state_dict())


def digest_of_weights(state: Mapping[str, Tensor]) -> str:
    """Return a digest of the names and values of weights."""
    digest = hashlib.sha256()
    for key, value in sorted(state.items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def cache_place(
    home: Path,
    source: Source,
    tokenizer: FrameTokenizer | None,
    tasks: tuple[str, ...],
    views: Sequence[str],
) -> Path:
    """Path of the latents of `source`; without a tokenizer, of its precomputed latents."""
    parts = [f"format {FORMAT}", fingerprint(source, views, latents=tokenizer is None)]
    if tokenizer is not None:
        places = [task_place(tasks, head.task) for head in source.heads]
        parts += [digest_of(tokenizer), repr(places)]
    return home / LATENTS / hashlib.sha256("|".join(parts).encode()).hexdigest()[:16]


def cached(
    source: Source,
    place: Path,
    tokenizer: FrameTokenizer | None,
    tasks: tuple[str, ...],
    views: Sequence[str],
    report: Report,
) -> LatentCache:
    """Open the latents of `source` in `place`, encoding what is missing.

    With several processes, each encodes a share of the files.
    """
    state = this_process()
    missing = not is_whole(place)
    state.wait_for_everyone()  # every process has checked before one writes
    if missing:
        files = files_of(source)
        if tokenizer is None:
            name, latents = "precomputed", precomputed(views)
        else:
            name = f"tokenizer {digest_of(tokenizer)[:16]}"
            latents = encode_frames(batch_encoder(tokenizer, tasks, views), views)
        progress = report(f"latents of {source.spec.path.name}", files)

        def told(done: int, total: int) -> None:
            progress(files * done // total, 0.0)

        build_cache(
            source,
            place,
            latents,
            encoder=name,
            views=views,
            process=state.process_index,
            processes=state.num_processes,
            progress=told if state.is_main_process else None,
        )
        state.wait_for_everyone()
    return LatentCache(place)
