"""Latents that `worldeval data encode` left, in the place of encoding: whose, and by what.

A cache holds the latents of one dataset, by the tokenizer of the world model that encoded it. Both
are asked about before anything is trained: a cache of other episodes, pictures or networks is
refused.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldeval.axes import Array, Float, Int, UInt8
from worldeval.data.latent_cache import LatentCache
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.run import whole_file
from worldeval.training.processes import this_process
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.fit import to_unit
from worldeval.world.tokenizer.network import FrameTokenizer
from worldeval.world.weights import load_weights

SAMPLE = 16  # frames that are encoded to see whether latents are theirs
APART = 0.1  # mean distance from which they are not: latents are standardised
AGAIN = "worldeval data encode DATA --world WORLD --out LATENTS"


class Cached:
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

    def bring_tokenizer(
        self,
        path: Path,
        recipe: TokenizerRecipe,
        *,
        size: tuple[int, int],
        tasks: tuple[str, ...],
    ) -> None:
        """Put the tokenizer that encoded the latents at `path`, where it is not already.

        Raises:
            UserError: there is none, another one is at `path`, or it is for pictures of another
                size or other tasks than the data's, or built otherwise than the recipe says.
        """
        folder = self._caches[0].path
        if self.tokenizer is None or not (folder / path.name).is_file():
            raise UserError(
                f"{folder} holds latents without their tokenizer. Encode again: {AGAIN}."
            )
        then = tuple(self.tokenizer["size"])
        if then != size:
            raise UserError(
                f"The latents in {folder} are of pictures of {then}, and the data's are {size}."
            )
        theirs, ours = self.tokenizer, {**asdict(recipe), "widths": list(recipe.widths)}
        # One that others trained is the same wherever its folder lies, and knows no tasks.
        if not (theirs["folder"] and ours["folder"]):
            self._refuse_unlike(theirs, ours, tasks)
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

    def _refuse_unlike(
        self, theirs: Mapping[str, Any], ours: Mapping[str, Any], tasks: tuple[str, ...]
    ) -> None:
        folder = self._caches[0].path
        for key in ("folder", "widths", "channels"):
            if theirs[key] != ours[key]:
                given = str(theirs[key]).replace(" ", "")
                advice = f"Give --set tokenizer.{key}={given}" if given else f"Leave {key} out"
                raise UserError(
                    f"The latents in {folder} are those of a tokenizer with {key} {given or None}, "
                    f"and the recipe wants {ours[key] or None}. {advice}."
                )
        if self.tasks != tasks:
            raise UserError(
                f"The tokenizer of {folder} tells apart {', '.join(self.tasks)}; the data have "
                f"{', '.join(tasks)}. Encode by a world model of these tasks: {AGAIN}."
            )

    def find(
        self, ids: Sequence[str], lengths: Sequence[int], views: Sequence[str], where: Path
    ) -> LatentCache:
        """The cache of the dataset at `where`, which has these episodes and views.

        Raises:
            UserError: none of the caches is of these episodes, or it is of other views.
        """
        wanted = list(zip(ids, lengths, strict=True))
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
        """Refuse a cache that is of none of the data: the user thinks that it is used."""
        for cache in self._caches:
            if cache.path not in self._found:
                raise UserError(f"{cache.path} holds latents of none of the data. Leave it out.")

    def copy(
        self, paths: Sequence[Path], tokenizer: FrameTokenizer, shards: RecordedEpisodes, out: Path
    ) -> None:
        """Write the latents of `shards`, whose folders are `paths`, to `out` as encode_all does.

        Raises:
            UserError: they are not those of the pictures, as `tokenizer` encodes a few of them.
        """
        table, caches = shards.episodes, []
        for number, path in enumerate(paths):
            own = table[shards.part == number]
            ids, lengths = map(str, own["id"]), map(int, own["length"])
            caches.append(self.find(list(ids), list(lengths), shards.views, path))
        self.all_found()
        shape = caches[0].latents(0).shape[1:]
        with whole_file(out) as draft:
            rows = np.lib.format.open_memmap(draft, "w+", np.float16, (len(shards.pose), *shape))
            begin = 0
            for cache in caches:
                for index in range(len(cache)):
                    latents = cache.latents(index)
                    rows[begin : begin + len(latents)] = latents
                    begin += len(latents)
            sample = spread(len(rows))
            pictures = [shards.frames(view, sample) for view in shards.views]
            task = shards.task_of_row[sample]
            refuse_others(tokenizer, np.array(rows[sample]), pictures, task, paths[0])
            rows.flush()
            del rows


def spread(count: int) -> Int[Array, " n"]:
    """A few places among so many, evenly from the first to the last."""
    return np.unique(np.linspace(0, count - 1, SAMPLE).astype(int))


@torch.no_grad()
def refuse_others(
    tokenizer: FrameTokenizer,
    latents: Float[Array, "n v d y x"],
    pictures: Sequence[UInt8[Array, "n h w 3"]],
    task: Int[Array, " n"],
    where: Path,
) -> None:
    """Encode a few frames, given by view: `latents` must be theirs.

    Raises:
        UserError: they are not: episodes may bear the same names and lengths and be others.
    """
    device = next(tokenizer.parameters()).device
    views = torch.arange(len(pictures), device=device).repeat_interleave(len(latents))
    tasks = torch.from_numpy(np.tile(task, len(pictures))).to(device)
    own = tokenizer.encode(to_unit(np.concatenate(pictures)).to(device), tasks, views)
    own = own.float().cpu().unflatten(0, (len(pictures), len(latents))).transpose(0, 1).numpy()
    apart = float(np.abs(own - latents.astype(np.float32)).mean())
    if apart > APART:
        raise UserError(
            f"The latents that were given are not those of the pictures in {where}, although its "
            f"episodes have the same names and lengths (they are {apart:.2f} deviations apart). "
            f"Encode again: worldeval data encode {where} --world WORLD --out LATENTS."
        )
