"""Use latents from `worldeval data encode` instead of encoding, after checking their origin.

A cache holds the latents of one dataset, made by the tokenizer of the world model that encoded it.
Both are checked before any training: caches of other episodes, frames or tokenizers are refused.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldeval.data.latent_cache import CARD, INDEX, LatentCache, is_whole
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.files import whole_file
from worldeval.training.processes import this_process
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.encode import batch_encoder
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.weights import load_weights

SAMPLE = 16  # frames that are encoded again to check the latents
APART = 0.1  # mean distance at which latents no longer match; latents are standardised
AGAIN = "worldeval data encode DATA --world WORLD --out LATENTS"


class GivenLatents:
    """Latent caches of one encoder, each of another dataset."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._caches = [LatentCache(folder) for folder in folders]
        first = self._caches[0]
        for other in self._caches[1:]:
            if other.encoder != first.encoder:
                raise UserError(
                    f"{other.path} was encoded by {other.encoder}, but {first.path} by "
                    f"{first.encoder}. Encode both with the same world: {AGAIN}."
                )
        # Folder, widths, channels, size and tasks of the encoder; None: precomputed latents.
        self.tokenizer = first.tokenizer
        self._found: set[Path] = set()

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the tokenizer distinguishes, in its order; empty without a tokenizer."""
        return tuple(self.tokenizer["tasks"]) if self.tokenizer else ()

    def copy_tokenizer(self, path: Path, recipe: TokenizerRecipe, *, size: tuple[int, int]) -> None:
        """Copy the tokenizer that encoded the latents to `path`, unless it is there already.

        Raises:
            UserError: there is none, another one is at `path`, it was built for frames of another
                size, or it does not match the recipe.
        """
        folder = self._caches[0].path
        if self.tokenizer is None or not (folder / path.name).is_file():
            raise UserError(
                f"{folder} contains latents without their tokenizer. Encode them again: {AGAIN}."
            )
        then = tuple(self.tokenizer["size"])
        if then != size:
            raise UserError(
                f"The latents in {folder} were made from frames of {then}, but the dataset has "
                f"{size}. Encode them again: {AGAIN}."
            )
        theirs, ours = self.tokenizer, {**asdict(recipe), "widths": list(recipe.widths)}
        # A pretrained autoencoder is the same wherever its folder lies, and has no tasks.
        if not (theirs["folder"] and ours["folder"]):
            self._refuse_unlike(theirs, ours)
        if not this_process().is_main_process:
            return
        if not path.is_file():
            with whole_file(path) as draft:
                shutil.copyfile(folder / path.name, draft)
            return
        here, there = load_weights(path), load_weights(folder / path.name)
        if here.keys() != there.keys() or any(not torch.equal(here[k], there[k]) for k in here):
            raise UserError(
                f"{path} is not the tokenizer that encoded {folder}. Train into another --out, or "
                f"encode with this tokenizer: worldeval data encode DATA --world {path.parent} "
                "--out LATENTS."
            )

    def _refuse_unlike(self, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        folder = self._caches[0].path
        for key in ("folder", "widths", "channels"):
            if theirs[key] != ours[key]:
                given = str(theirs[key]).replace(" ", "")
                advice = f"Give --set tokenizer.{key}={given}" if given else f"Omit {key}"
                raise UserError(
                    f"The latents in {folder} were made by a tokenizer with {key} {given or None}, "
                    f"but the recipe sets {ours[key] or None}. {advice}."
                )

    def find(self, source: Source, views: Sequence[str]) -> LatentCache:
        """Return the cache of a dataset.

        Raises:
            UserError: no cache has these episodes, or it holds other views.
        """
        where = source.spec.path
        wanted = [(head.id, head.length) for head in source.heads]
        for cache in self._caches:
            if cache.episodes != wanted:
                continue
            if cache.views != tuple(views):
                raise UserError(
                    f"{cache.path} contains latents of the views {', '.join(cache.views)}, but "
                    f"{where} has {', '.join(views)}. Encode the same views in the same order."
                )
            self._found.add(cache.path)
            return cache
        held = ", ".join(f"{cache.path} ({len(cache)} episodes)" for cache in self._caches)
        raise UserError(
            f"No given latents match the {len(wanted)} episodes of {where}: found {held}. Encode "
            f"them: worldeval data encode {where} --world WORLD --out LATENTS."
        )

    def all_found(self) -> None:
        """Raise UserError if a cache matched no dataset and would go unused."""
        for cache in self._caches:
            if cache.path not in self._found:
                raise UserError(f"{cache.path} matches no --data dataset; remove it.")


def adopt(cache: LatentCache, place: Path) -> None:
    """Place a given cache at `place`, where encoding would write it, by links: nothing is copied.

    A file of another disk gets a symbolic link, so its folder must then stay where it is.
    """
    if is_whole(place) or not this_process().is_main_process:
        return
    place.mkdir(parents=True, exist_ok=True)
    # The card is linked last: it marks the cache as complete.
    for file in [*cache.files, cache.path / INDEX, cache.path / CARD]:
        target = place / file.name
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:
            target.symlink_to(file.resolve())


def refuse_others(
    cache: LatentCache, source: Source, tokenizer: FrameTokenizer, tasks: tuple[str, ...]
) -> None:
    """Encode a few evenly spaced frames and check that the cache holds their latents.

    Raises:
        UserError: it does not; other episodes may have the same names and lengths.
    """
    encode = batch_encoder(tokenizer, tasks, cache.views)
    apart = []
    for index in np.unique(np.linspace(0, len(source) - 1, SAMPLE).astype(int)).tolist():
        row = np.array([source.heads[index].length // 2])
        frames = {view: source.frames(index, view, row) for view in cache.views}
        own = encode(frames, source.heads[index].task)
        apart.append(np.abs(own - cache.latents(index, row).astype(np.float32)).mean())
    if float(np.mean(apart)) > APART:
        raise UserError(
            f"{cache.path} does not contain the latents of the frames in {source.spec.path}, "
            "although episodes have the same names and lengths (they differ by "
            f"{np.mean(apart):.2f} standard deviations). Encode them again: worldeval data "
            f"encode {source.spec.path} --world WORLD --out LATENTS."
        )
