"""From data on disk to encoded episodes: what every family of world model trains on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Int
from worldeval.data.adapt import jumping
from worldeval.data.draws import OUTSIDE
from worldeval.data.latents import LatentEpisodes, join
from worldeval.data.split import held_out, refuse_empty
from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.data.weighted import Weighted, refuse_video, weighted
from worldeval.device import pick_device
from worldeval.errors import UserError
from worldeval.training.optimise import Report
from worldeval.training.processes import this_process
from worldeval.world.bounds import action_bounds
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.tokenizer.cached import Cached, refuse_others, spread
from worldeval.world.tokenizer.encode import encoded
from worldeval.world.tokenizer.fit import fit_tokenizer, psnr
from worldeval.world.tokenizer.network import FrameTokenizer, new_tokenizer
from worldeval.world.tokenizer.precomputed_latents import Brought, mixed, read_brought, world_spec
from worldeval.world.weights import fill, load_weights, save_weights

TOKENIZER = "tokenizer.safetensors"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Encoded episodes, base data first. `weak` marks what folds divide among them."""

    spec: WorldSpec
    tokenizer: FrameTokenizer | None
    episodes: LatentEpisodes
    held: Int[Array, " h"]  # kept from every training
    weak: Int[Array, " w"]  # roll-outs of policies, which teach the judge too
    tokenizer_psnr: float | None = None

    def training(self, *, weak: bool, without_fold: int | None, folds: int) -> Int[Array, " e"]:
        """Indices to fit to: base episodes that are not held out, and the weak ones of all folds
        but one."""
        every = np.arange(len(self.episodes))
        base = np.setdiff1d(every, np.concatenate([self.held, self.weak]))
        if not weak:
            return base
        if without_fold is None:
            return np.concatenate([base, self.weak])
        return np.concatenate([base, self.weak[self.fold_of_weak(folds) != without_fold]])

    def fold_of_weak(self, folds: int) -> Int[Array, " w"]:
        """Which fold leaves a weak episode out: by turns, so alike across tasks."""
        return np.arange(len(self.weak)) % folds


def prepare(
    recipe: WorldRecipe,
    data: Path | Sequence[Weighted],
    weak: Sequence[Path],
    home: Path,
    *,
    seed: int,
    report: Report,
    latents: Sequence[Path] = (),
) -> Prepared:
    """Encode `data` (and roll-outs in `weak`), training the tokenizer of `home` if it is missing.

    Shards are encoded with our tokenizer; data in Ctrl-World's layout brings latents. Several
    datasets are a mixture: windows come from each by its weight, and every dataset holds out the
    episodes that it would hold out alone.

    `latents` are folders of `worldeval data encode`, one for every dataset: instead of encoding,
    their latents are copied and their tokenizer is taken. So other data than shards need not bring
    any. Roll-outs in `weak` are encoded by that tokenizer.
    """
    parts = weighted(data)
    family = type(recipe).__name__.removesuffix("Recipe").lower()
    refuse_video(parts, family, learns_video=recipe.learns_video)
    cached = Cached(latents) if latents else None
    of_shards = [part.format is None and bool(sorted(part.path.glob("*.h5"))) for part in parts]
    if all(of_shards):
        return _from_shards(recipe, parts, weak, home, cached, seed=seed, report=report)
    if any(of_shards):
        listed = ", ".join(str(p.path) for p, of in zip(parts, of_shards, strict=True) if not of)
        raise UserError(
            f"{listed} brings its own latents or none, and the other data are shards. Bring all of "
            "a mixture into shards: worldeval data convert --to shards."
        )
    return _from_latents(parts, recipe, home, cached, seed=seed)


def _from_shards(
    recipe: WorldRecipe,
    parts: Sequence[Weighted],
    weak: Sequence[Path],
    home: Path,
    cached: Cached | None,
    *,
    seed: int,
    report: Report,
) -> Prepared:
    shards = RecordedEpisodes([part.open() for part in parts])
    _refuse_jumps(shards, parts)
    weights = tuple(part.weight for part in parts)
    held = _held_out(shards, parts, recipe.held_out, seed=seed)
    training = np.setdiff1d(np.arange(len(shards)), held)
    path, state = home / TOKENIZER, this_process()
    if cached is not None:
        cached.bring_tokenizer(path, recipe.tokenizer, size=shards.size, tasks=shards.tasks)
        state.wait_for_everyone()
    tokenizer = new_tokenizer(
        recipe.tokenizer, tasks=len(shards.tasks), views=len(shards.views), size=shards.size
    )
    if not path.is_file():
        progress = report("tokenizer", recipe.tokenizer.trainer.steps)
        fitted = fit_tokenizer(
            recipe.tokenizer, shards, training, weights=weights, seed=seed, progress=progress
        )
        if state.is_main_process:
            save_weights(path, fitted.model.state_dict(), compress=False)
    state.wait_for_everyone()
    fill(tokenizer, load_weights(path), path)
    tokenizer.eval().to(pick_device())
    name = "+".join(part.path.name for part in parts)
    paths = [part.path for part in parts]
    copy = None if cached is None else partial(cached.copy, paths, tokenizer)
    sets = [encoded(tokenizer, shards, shards.tasks, home / f"latents-{name}.npy", copy)]
    for folder in weak:
        path = home / f"latents-{folder.name}.npy"
        sets.append(encoded(tokenizer, read_table(folder), shards.tasks, path))
    quality = psnr(tokenizer, shards, held, frames=512, seed=seed)
    episodes = join(*sets)
    if any(part.video for part in parts):
        marked = np.zeros(len(episodes), bool)
        marked[: len(shards)] = np.array([part.video for part in parts])[shards.part]
        episodes = replace(episodes, video=marked)
    if len(parts) > 1:
        joined = np.full(len(episodes) - len(shards), OUTSIDE)
        episodes = episodes.blended(np.concatenate([shards.part, joined]), weights)
    return Prepared(
        spec=WorldSpec(
            views=shards.views,
            size=shards.size,
            latent=episodes.latents.shape[2:],
            action_dim=episodes.actions.shape[1],
            pose_dim=episodes.pose.shape[1],
            tasks=shards.tasks,
            instructions=(),
            fps=shards.fps,
            space="",  # a frame may hold several steps of the controller
            **action_bounds(episodes.actions, ""),
        ),
        tokenizer=tokenizer.cpu(),  # its GPU is for what is trained next
        episodes=episodes,
        held=held,
        weak=np.arange(len(shards), len(episodes)),
        tokenizer_psnr=quality,
    )


def _held_out(
    table: RecordedEpisodes, parts: Sequence[Weighted], share: float, *, seed: int
) -> Int[Array, " h"]:
    """Of every dataset the episodes that it holds out when it is alone."""
    masks = []
    for part, source in zip(parts, table.sources, strict=True):
        if part.video:  # without actions there is nothing to follow, so nothing to measure
            masks.append(np.zeros(len(source), bool))
            continue
        masks.append(held_out(source, share=share, seed=seed))
        refuse_empty(masks[-1], source)
    return np.flatnonzero(np.concatenate(masks))


def _refuse_jumps(shards: RecordedEpisodes, parts: Sequence[Weighted]) -> None:
    begin = shards.episodes["begin"].to_numpy()
    for what, values, names in (
        ("action", shards.actions, shards.sources[0].spec.action_names),
        ("pose", shards.pose, shards.sources[0].spec.pose_names),
    ):
        angles = jumping(values, names, begin)
        if angles:
            raise UserError(
                f"{', '.join(str(part.path) for part in parts)}: {what} {', '.join(angles)} passes "
                "+-pi, and a model would learn the jump. Convert the data with --rotation 6d: "
                "worldeval data convert SRC DST --to shards --rotation 6d."
            )


def _from_latents(
    parts: Sequence[Weighted], recipe: WorldRecipe, home: Path, cached: Cached | None, *, seed: int
) -> Prepared:
    sets = [read_brought(part, recipe, seed=seed, cached=cached) for part in parts]
    episodes, held = mixed(parts, sets)
    spec = world_spec(sets[0].spec, episodes, instructions=recipe.reads_tasks)
    if cached is not None:
        cached.all_found()
    if cached is not None and cached.tasks:
        spec = replace(spec, tasks=cached.tasks)
        tokenizer = _brought_tokenizer(cached, recipe, home / TOKENIZER, parts, sets, spec)
    else:
        tokenizer = _decoder(recipe, size=spec.size, latent=spec.latent)
    return Prepared(
        spec=spec,
        tokenizer=tokenizer,
        episodes=episodes,
        held=held,
        weak=np.zeros(0, np.int64),
    )


def _brought_tokenizer(
    cached: Cached,
    recipe: WorldRecipe,
    path: Path,
    parts: Sequence[Weighted],
    sets: Sequence[Brought],
    spec: WorldSpec,
) -> FrameTokenizer:
    """The tokenizer of the caches, once a frame of some episodes has been seen to be theirs."""
    cached.bring_tokenizer(path, recipe.tokenizer, size=spec.size, tasks=spec.tasks)
    this_process().wait_for_everyone()
    tokenizer = new_tokenizer(
        recipe.tokenizer, tasks=len(spec.tasks), views=len(spec.views), size=spec.size
    )
    fill(tokenizer, load_weights(path), path)
    tokenizer.eval()
    for part, each in zip(parts, sets, strict=True):
        chosen = spread(len(each.episodes))
        first = np.zeros(1, np.int64)
        pictures = [
            np.concatenate([each.source.frames(int(index), view, first) for index in chosen])
            for view in spec.views
        ]
        latents = each.episodes.latents[each.episodes.begin[chosen]]
        refuse_others(tokenizer, latents, pictures, each.episodes.task[chosen], part.path)
    return tokenizer


def _decoder(
    recipe: WorldRecipe, *, size: tuple[int, int], latent: tuple[int, int, int]
) -> FrameTokenizer | None:
    """The autoencoder that made the latents of the data, where the recipe names its folder."""
    if not recipe.tokenizer.folder:
        return None
    tokenizer = new_tokenizer(recipe.tokenizer, tasks=1, views=1, size=size)
    if tokenizer.grid != tuple(latent):
        raise UserError(
            f"The autoencoder in {recipe.tokenizer.folder} makes latents of {tokenizer.grid}, and "
            f"the data bring {tuple(latent)}: it is not theirs. Give theirs, or none."
        )
    return tokenizer
