"""From data on disk to encoded episodes: what every family of world model trains on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Int
from worldeval.data.ctrl_world import CtrlWorldSource
from worldeval.data.latents import LatentEpisodes, join
from worldeval.data.recipe import RecordedRecipe
from worldeval.data.shards import Shards
from worldeval.data.source import open_source
from worldeval.errors import UserError
from worldeval.world.bounds import action_bounds
from worldeval.world.encoded import encoded
from worldeval.world.fit_tokenizer import fit_tokenizer, psnr
from worldeval.world.optimise import Progress
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.tokenizer import FrameTokenizer, new_tokenizer
from worldeval.world.weights import fill, load_weights, save_weights

TOKENIZER = "tokenizer.safetensors"

Report = Callable[[str, int], Progress]  # a stage and its steps -> its progress


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
    data: Path,
    weak: Sequence[Path],
    home: Path,
    *,
    seed: int,
    report: Report,
) -> Prepared:
    """Encode `data` (and roll-outs in `weak`), training the tokenizer of `home` if it is missing.

    Collected shards are encoded with our tokenizer; data in Ctrl-World's layout brings latents.
    """
    if sorted(data.glob("*.h5")):
        return _from_shards(recipe, data, weak, home, seed=seed, report=report)
    source = open_source(data)
    if not isinstance(source, CtrlWorldSource):
        raise UserError(
            f"{data} holds {type(source).__name__.removesuffix('Source')} data; world models train "
            "on collected shards (worldeval data collect) or on data that brings its latents."
        )
    return _from_latents(source, data, recipe, seed=seed)


def _from_shards(
    recipe: WorldRecipe,
    data: Path,
    weak: Sequence[Path],
    home: Path,
    *,
    seed: int,
    report: Report,
) -> Prepared:
    shards = Shards(data)
    training, held = shards.held_out(recipe.held_out, seed=seed)
    tokenizer = new_tokenizer(
        recipe.tokenizer, tasks=len(shards.tasks), views=len(shards.views), size=shards.size
    )
    path = home / TOKENIZER
    if not path.is_file():
        progress = report("tokenizer", recipe.tokenizer.trainer.steps)
        fitted = fit_tokenizer(recipe.tokenizer, shards, training, seed=seed, progress=progress)
        save_weights(path, fitted.model.state_dict(), compress=False)
    fill(tokenizer, load_weights(path), path)
    tokenizer.eval()
    parts = [encoded(tokenizer, shards, shards.tasks, home / f"latents-{data.name}.npy")]
    for folder in weak:
        name = home / f"latents-{folder.name}.npy"
        parts.append(encoded(tokenizer, Shards(folder), shards.tasks, name))
    episodes = join(*parts)
    return Prepared(
        spec=WorldSpec(
            views=shards.views,
            size=shards.size,
            latent=episodes.latents.shape[2:],
            action_dim=episodes.actions.shape[1],
            pose_dim=episodes.pose.shape[1],
            tasks=shards.tasks,
            fps=shards.fps,
            **action_bounds(episodes.actions, ""),
        ),
        tokenizer=tokenizer,
        episodes=episodes,
        held=held,
        weak=np.arange(len(parts[0]), len(episodes)),
        tokenizer_psnr=psnr(tokenizer, shards, held, frames=512, seed=seed),
    )


def _from_latents(
    source: CtrlWorldSource, data: Path, recipe: WorldRecipe, *, seed: int
) -> Prepared:
    recorded = RecordedRecipe(path=data, held_out_share=recipe.held_out)
    with_latents = [index for index in range(len(source)) if source.has_latents(index)]
    if not with_latents:
        raise UserError(f"{data} brings no latents (latent_videos/), and has no tokenizer here.")
    views = tuple(source.spec.views)
    latents, actions, pose = [], [], []
    for index in with_latents:
        rows, own = source.rows(index), source.latents(index)
        frames = min(len(rows.pose), *(len(own[view]) for view in views))
        latents.append(np.stack([own[view][:frames] for view in views], 1).astype(np.float16))
        actions.append(rows.actions[:frames])
        pose.append(rows.pose[:frames])
    length = np.array([len(part) for part in pose])
    episodes = LatentEpisodes(
        latents=np.concatenate(latents),
        actions=np.concatenate(actions),
        pose=np.concatenate(pose),
        task=np.zeros(len(length), np.int64),  # a robot's free-text tasks are one to the dynamics
        begin=np.cumsum(length) - length,
        length=length,
    )
    held = recorded.held(source, seed=seed)[with_latents]
    size = source.spec.views[views[0]][:2]
    return Prepared(
        spec=WorldSpec(
            views=views,
            size=size,
            latent=episodes.latents.shape[2:],
            action_dim=episodes.actions.shape[1],
            pose_dim=episodes.pose.shape[1],
            tasks=("any",),
            fps=source.spec.fps,
            space=source.spec.space,
            **action_bounds(episodes.actions, source.spec.space),
        ),
        tokenizer=_decoder(recipe, size=size, latent=episodes.latents.shape[2:]),
        episodes=episodes,
        held=np.flatnonzero(held),
        weak=np.zeros(0, np.int64),
    )


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
