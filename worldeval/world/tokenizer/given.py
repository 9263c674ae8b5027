"""Latents that `worldeval data encode` made, given instead of encoding: of which data, by what.

A cache holds the latents of one dataset, by the tokenizer of the world model that encoded it. Both
are checked before anything is trained: a cache of other episodes, frames or tokenizers is refused.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldeval.data.latent_cache import CARD, LatentCache, is_whole
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.run import whole_file
from worldeval.training.processes import this_process
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.encode import batch_encoder
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.weights import load_weights

SAMPLE = 16  # frames that are encoded to see whether latents are theirs
APART = 0.1  # mean distance from which they are not: latents are standardised
AGAIN = "worldeval data encode DATA --world WORLD --out LATENTS"


class GivenLatents:
    """Caches of one encoder, each of another dataset."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._caches = [LatentCache(folder) for folder in folders]
        first = self._caches[0]
        for other in self._caches[1:]:
            if other.encoder != first.encoder:
                raise UserError(
                    f"{other.path} was encoded by {other.encoder}, and {first.path} by "
                    f"{first.encoder}. Encode both by one: {AGAIN}."
                )
        # Folder, widths, channels, size and tasks of what made them; None: they came with the data.
        self.tokenizer = first.tokenizer
        self._found: set[Path] = set()

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that the tokenizer tells apart, in its order; none where there is none."""
        return tuple(self.tokenizer["tasks"]) if self.tokenizer else ()

    def copy_tokenizer(self, path: Path, recipe: TokenizerRecipe, *, size: tuple[int, int]) -> None:
        """Put the tokenizer that encoded the latents at `path`, where it is not already.

        Raises:
            UserError: there is none, another one is at `path`, or it is for frames of another size,
                or built otherwise than the recipe says.
        """
        folder = self._caches[0].path
        if self.tokenizer is None or not (folder / path.name).is_file():
            raise UserError(
                f"{folder} holds latents without their tokenizer. Encode again: {AGAIN}."
            )
        then = tuple(self.tokenizer["size"])
        if then != size:
            raise UserError(
                f"The latents in {folder} are of frames of {then}, and the data's are {size}."
            )
        theirs, ours = self.tokenizer, {**asdict(recipe), "widths": list(recipe.widths)}
        # One that others trained is the same wherever its folder lies, and knows no tasks.
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
                f"{path} is another tokenizer than the one that encoded {folder}. Train into "
                f"another --out, or encode with this one: worldeval data encode DATA --world "
                f"{path.parent} --out LATENTS."
            )

    def _refuse_unlike(self, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        folder = self._caches[0].path
        for key in ("folder", "widths", "channels"):
            if theirs[key] != ours[key]:
                given = str(theirs[key]).replace(" ", "")
                advice = f"Give --set tokenizer.{key}={given}" if given else f"Leave {key} out"
                raise UserError(
                    f"The latents in {folder} are those of a tokenizer with {key} {given or None}, "
                    f"and the recipe wants {ours[key] or None}. {advice}."
                )

    def find(self, source: Source, views: Sequence[str]) -> LatentCache:
        """The cache of a dataset.

        Raises:
            UserError: none of the caches is of these episodes, or it is of other views.
        """
        where = source.spec.path
        wanted = [(head.id, head.length) for head in source.heads]
        for cache in self._caches:
            if cache.episodes != wanted:
                continue
            if cache.views != tuple(views):
                raise UserError(
                    f"{cache.path} holds latents of the views {', '.join(cache.views)}; "
                    f"{where} has {', '.join(views)}, and training wants the same in this order."
                )
            self._found.add(cache.path)
            return cache
        held = ", ".join(f"{cache.path} ({len(cache)} episodes)" for cache in self._caches)
        raise UserError(
            f"No latents are of the {len(wanted)} episodes of {where}: given are {held}. Encode "
            f"them: worldeval data encode {where} --world WORLD --out LATENTS."
        )

    def all_found(self) -> None:
        """Refuse a cache that would not be used."""
        for cache in self._caches:
            if cache.path not in self._found:
                raise UserError(f"{cache.path} matches no --data dataset; remove it.")


def adopt(cache: LatentCache, place: Path) -> None:
    """Put a given cache at `place`, where encoding would put it: linked where the disk allows."""
    if is_whole(place) or not this_process().is_main_process:
        return
    place.mkdir(parents=True, exist_ok=True)
    # The card last: it says that all is there.
    for file in [*cache.files, cache.path / CARD]:
        target = place / file.name
        target.unlink(missing_ok=True)
        try:
            os.link(file, target)
        except OSError:
            with whole_file(target) as draft:
                shutil.copyfile(file, draft)


def refuse_others(
    cache: LatentCache, source: Source, tokenizer: FrameTokenizer, tasks: tuple[str, ...]
) -> None:
    """Encode a few frames, evenly over the episodes: the cache must hold their latents.

    Raises:
        UserError: it does not: episodes may bear the same names and lengths and be others.
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
            f"{cache.path} does not hold the latents of the frames in {source.spec.path}, although "
            f"episodes have the same names and lengths (they are {np.mean(apart):.2f} deviations "
            f"apart). Encode again: worldeval data encode {source.spec.path} --world WORLD --out "
            "LATENTS."
        )
