"""Turn any dataset into the encoded episodes that every family of world model trains on.

frames or precomputed latents -> the latent cache -> `LatentEpisodes`, from which windows are cut.
If there is no tokenizer, it is trained along the way; nothing is encoded twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np

from worldeval.axes import Array, Bool, Int
from worldeval.checked_weights import fill
from worldeval.data.action_bounds import action_bounds
from worldeval.data.adapt import ChosenEpisodes
from worldeval.data.content import fingerprint
from worldeval.data.decoded import decoded
from worldeval.data.draws import OUTSIDE
from worldeval.data.latent_cache import LatentCache
from worldeval.data.latents import LatentEpisodes
from worldeval.data.source import Source
from worldeval.data.split import held_out, refuse_empty
from worldeval.data.table import RecordedEpisodes
from worldeval.data.weighted import Weighted, refuse_video, weighted
from worldeval.device import pick_device
from worldeval.errors import UserError
from worldeval.files import read_object, write_json
from worldeval.training.optimise import Report
from worldeval.training.processes import this_process
from worldeval.world.body import body_of
from worldeval.world.own_pixels import objects_of
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.sources import tasks_of, to_train_on, with_latents
from worldeval.world.tokenizer.build import new_tokenizer
from worldeval.world.tokenizer.encode import cache_place, cached, digest_of
from worldeval.world.tokenizer.episodes import latent_episodes
from worldeval.world.tokenizer.fit import fit_tokenizer, psnr
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.frames import TokenizerFrames
from worldeval.world.tokenizer.given import GivenLatents, adopt, refuse_others
from worldeval.world.weights import load_weights, save_weights

TOKENIZER = "tokenizer.safetensors"
QUALITY = "tokenizer.json"  # how well it reconstructs the frames it encoded
FRAMES = "frames"  # decoded for training a tokenizer, and removed afterwards

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Encoded episodes, base data first. `weak` indexes the episodes that are split into folds."""

    spec: WorldSpec
    tokenizer: FrameTokenizer | None
    episodes: LatentEpisodes
    held: Int[Array, " h"]  # held out of all training
    weak: Int[Array, " w"]  # policy roll-outs, from which the judge learns as well
    tokenizer_psnr: float | None = None
    # task -> how well the tokenizer shows its objects (own_pixels.py); None: without frames
    objects: Mapping[str, Any] | None = None

    def training(self, *, weak: bool, without_fold: int | None, folds: int) -> Int[Array, " e"]:
        """Indices to fit to: base episodes that are not held out, and the weak episodes of every
        fold except `without_fold`."""
        every = np.arange(len(self.episodes))
        base = np.setdiff1d(every, np.concatenate([self.held, self.weak]))
        if not weak:
            return base
        if without_fold is None:
            return np.concatenate([base, self.weak])
        return np.concatenate([base, self.weak[self.fold_of_weak(folds) != without_fold]])

    def fold_of_weak(self, folds: int) -> Int[Array, " w"]:
        """The fold that leaves each weak episode out: round robin, so balanced across tasks."""
        return np.arange(len(self.weak)) % folds


def prepare(
    recipe: WorldRecipe,
    data: Path | Sequence[Weighted],
    weak: Sequence[Path | Weighted],
    home: Path,
    *,
    seed: int,
    report: Report,
    latents: Sequence[Path] = (),
    say: Say = lambda text: None,
) -> Prepared:
    """Encode `data` and the roll-outs in `weak`; train the tokenizer of `home` if it is missing.

    The data may be in any format. If every dataset has precomputed latents, training uses them;
    otherwise the frames are encoded. Several datasets form a mixture: windows are drawn from each
    in proportion to its weight, and each keeps the held-out episodes it would have on its own.

    `latents` are folders written by `worldeval data encode`, one per dataset: training uses them
    with their tokenizer, and nothing is encoded again. Roll-outs in `weak` are encoded by it.

    Raises:
        UserError: the datasets do not match each other or the recipe; the message names what is
            missing.
    """
    parts = weighted(data)
    family = type(recipe).__name__.removesuffix("Recipe").lower()
    refuse_video(parts, f"{family} world model", learns_video=recipe.learns_video)
    given = GivenLatents(latents) if latents else None
    whole = [to_train_on(part.open(), recipe) for part in parts]
    held = [held_out(source, share=recipe.held_out, seed=seed) for source in whole]
    ready = [any(map(source.has_latents, range(len(source)))) for source in whole]
    precomputed = all(ready) if given is None else given.tokenizer is None
    sources = whole
    if precomputed and given is None:
        sources = [with_latents(source) for source in whole]
        held = [_of(mask, source) for mask, source in zip(held, whole, strict=True)]
    elif any(ready) and given is None:
        say(_unused([part.path for part, one in zip(parts, ready, strict=True) if one]))
    for part, mask, source in zip(parts, held, sources, strict=True):
        if part.video:  # without actions, following them cannot be measured
            mask[:] = False
        else:
            refuse_empty(mask, source)
        say(f"{source.spec.path}: training {(~mask).sum()}, held out {mask.sum()} episodes")
    added = [to_train_on(one.open(), recipe) for each in weak for one in weighted(each)]
    if recipe.kept_rollouts:
        added = [
            without(source, kept_out(source, recipe.kept_rollouts, seed=seed, number=number))
            for number, source in enumerate(added)
        ]
    if recipe.own_rollouts and not added:
        sources, held, added = set_aside(sources, held, recipe.own_rollouts, seed=seed)
    road = _Road(recipe, parts, sources, np.flatnonzero(np.concatenate(held)), home, seed=seed)
    if added:  # refuses roll-outs of another robot before any training
        RecordedEpisodes([sources[0], *added])
    if precomputed:
        return road.of_latents(added, given, report)
    return road.of_frames(added, given, report)


def kept_out(source: Source, share: float, *, seed: int, number: int) -> list[int]:
    """Episodes of the roll-outs `source`, the `number`th of several, that no training sees."""
    count = round(share * len(source))
    chosen = np.random.default_rng([seed, 5, number]).permutation(len(source))[:count]
    return sorted(chosen.tolist())


def without(source: Source, episodes: Sequence[int]) -> Source:
    """A dataset without some of its episodes."""
    gone = set(episodes)
    return ChosenEpisodes(source, [i for i in range(len(source)) if i not in gone])


def set_aside(
    sources: Sequence[Source], held: Sequence[Array], share: float, *, seed: int
) -> tuple[list[Source], list[Array], list[Source]]:
    """Set labelled episodes aside to replace roll-outs; returns the rest, their mask, and these.

    Raises:
        UserError: fewer than four episodes that are not held out have a label.
    """
    rest, masks, aside = [], [], []
    for part, (source, mask) in enumerate(zip(sources, held, strict=True)):
        known = [i for i, head in enumerate(source.heads) if head.success is not None]
        usable = np.setdiff1d(known, np.flatnonzero(mask)).astype(np.int64)
        order = np.random.default_rng([seed, 3, part]).permutation(usable)
        chosen = np.sort(order[: round(share * len(usable))])
        kept = np.setdiff1d(np.arange(len(source)), chosen)
        rest.append(ChosenEpisodes(source, kept.tolist()))
        masks.append(mask[kept])
        if len(chosen):
            aside.append(ChosenEpisodes(source, chosen.tolist()))
    if sum(map(len, aside)) < 4:
        raise UserError(
            f"{sum(map(len, aside))} labelled episodes are left to train a judge; at least 4 are "
            "needed. Label recordings (a success rule in --map), or add roll-outs with --weak."
        )
    return rest, masks, aside


class _Road:
    """State shared by the two ways of preparing: from latents and from frames."""

    def __init__(
        self,
        recipe: WorldRecipe,
        parts: Sequence[Weighted],
        sources: Sequence[Source],
        held: Int[Array, " h"],
        home: Path,
        *,
        seed: int,
    ) -> None:
        self.recipe, self.home, self.seed, self.held = recipe, home, seed, held
        self.weights = tuple(part.weight for part in parts)
        self.video = np.array([part.video for part in parts])
        self.sources = tuple(sources)
        self.base = RecordedEpisodes(sources)

    def of_latents(
        self, weak: Sequence[Source], given: GivenLatents | None, report: Report
    ) -> Prepared:
        """Use the dataset's latents, with a decoder if the recipe names their autoencoder."""
        views, tasks = self.base.views, (ANY_TASK,)
        if given is None:
            caches = [self._cache(source, None, tasks, report) for source in self.sources]
        else:
            caches = [given.find(source, views) for source in self.sources]
            given.all_found()
        _, _, *cells = caches[0].rows.shape
        size = next(iter(self.sources[0].spec.views.values()))
        decoder = _decoder(self.recipe, size=size, latent=(cells[0], cells[1], cells[2]))
        for source in weak:
            own = all(map(source.has_latents, range(len(source))))
            if not own and decoder is None:
                raise UserError(
                    f"--weak {source.spec.path} has no precomputed latents, and the autoencoder "
                    "that made the dataset's latents is unknown. Name its folder with --set "
                    "tokenizer.folder=..., or encode both with one world (worldeval data encode)."
                )
            caches.append(self._cache(source, None if own else decoder, tasks, report))
        return self._prepared(weak, caches, tasks, decoder, size=size)

    def of_frames(
        self, weak: Sequence[Source], given: GivenLatents | None, report: Report
    ) -> Prepared:
        """Encode frames with the tokenizer of `home` or of `given`, or with a newly trained one."""
        size = self.base.size
        tasks = tasks_of(list(self.sources)) if given is None else given.tasks
        # Decode frames once, both for training the tokenizer and for encoding.
        sources = list(self.sources)
        if given is not None:
            given.copy_tokenizer(self.home / TOKENIZER, self.recipe.tokenizer, size=size)
            this_process().wait_for_everyone()
        elif not (self.home / TOKENIZER).is_file() and not self.recipe.tokenizer.folder:
            sources = [self._decoded(source) for source in sources]
        same = all(one is other for one, other in zip(sources, self.sources, strict=True))
        frames = TokenizerFrames(self.base if same else RecordedEpisodes(sources), tasks)
        tokenizer = self._tokenizer(frames, report)
        if given is not None:
            for source in sources:
                self._adopt(given, source, tokenizer, tasks)
            given.all_found()
        caches = [self._cache(source, tokenizer, tasks, report) for source in (*sources, *weak)]
        quality = self._quality(tokenizer, frames)
        this_process().wait_for_everyone()
        if this_process().is_main_process:
            rmtree(self.home / FRAMES, ignore_errors=True)
        # Free its GPU for the next training.
        return self._prepared(weak, caches, tasks, tokenizer.cpu(), size=size, **quality)

    def _tokenizer(self, frames: TokenizerFrames, report: Report) -> FrameTokenizer:
        recipe, path, state = self.recipe.tokenizer, self.home / TOKENIZER, this_process()
        recorded = frames.recorded
        tokenizer = new_tokenizer(
            recipe, tasks=len(frames.tasks), views=len(recorded.views), size=recorded.size
        )
        missing = not path.is_file()
        state.wait_for_everyone()  # every process has checked before one writes
        if missing:
            training = np.setdiff1d(np.arange(len(recorded)), self.held)
            progress = report("tokenizer", recipe.trainer.steps)
            fitted = fit_tokenizer(
                recipe, frames, training, weights=self.weights, seed=self.seed, progress=progress
            )
            if state.is_main_process:
                save_weights(path, fitted.model.state_dict(), compress=False)
        state.wait_for_everyone()
        fill(tokenizer, load_weights(path), path)
        return tokenizer.eval().to(pick_device())

    def _cache(
        self,
        source: Source,
        tokenizer: FrameTokenizer | None,
        tasks: tuple[str, ...],
        report: Report,
    ) -> LatentCache:
        place = cache_place(self.home, source, tokenizer, tasks, self.base.views)
        return cached(source, place, tokenizer, tasks, self.base.views, report)

    def _adopt(
        self,
        given: GivenLatents,
        source: Source,
        tokenizer: FrameTokenizer,
        tasks: tuple[str, ...],
    ) -> None:
        cache = given.find(source, self.base.views)
        place = cache_place(self.home, source, tokenizer, tasks, self.base.views)
        if not place.is_dir():
            refuse_others(cache, source, tokenizer, tasks)
        this_process().wait_for_everyone()
        adopt(cache, place)
        this_process().wait_for_everyone()

    def _decoded(self, source: Source) -> Source:
        if source.mapped:
            return source
        name, state = fingerprint(source, self.base.views)[:16], this_process()
        for write in (state.is_main_process, False):
            source_or = decoded(source, self.home / FRAMES, name, write=write)
            state.wait_for_everyone()
        return source_or

    def _quality(self, tokenizer: FrameTokenizer, frames: TokenizerFrames) -> dict[str, Any]:
        """PSNR on held-out frames, and how well objects are shown, measured once and stored next to
        the tokenizer."""
        path = self.home / QUALITY
        of = f"{digest_of(tokenizer)[:16]} {self.seed} {self.held.tolist()}"
        kept = read_object(path) if path.is_file() else {}
        if kept.get("of") != of or not isinstance(kept.get("psnr"), float) or "objects" not in kept:
            found = psnr(tokenizer, frames, self.held, frames=512, seed=self.seed)
            objects = objects_of(tokenizer, frames, self.held)
            kept = {"psnr": found, "objects": objects, "of": of}
            this_process().wait_for_everyone()
            if this_process().is_main_process:
                write_json(path, kept)
        return {"tokenizer_psnr": float(kept["psnr"]), "objects": kept["objects"]}

    def _prepared(
        self,
        weak: Sequence[Source],
        caches: Sequence[LatentCache],
        tasks: tuple[str, ...],
        tokenizer: FrameTokenizer | None,
        *,
        size: tuple[int, int],
        **quality: Any,  # of the tokenizer
    ) -> Prepared:
        base, count = self.base, len(self.base)
        recorded = RecordedEpisodes([*self.sources, *weak]) if weak else base
        episodes = latent_episodes(recorded, caches, tasks)
        if self.video.any():
            episodes = _marked(episodes, self.video[base.part])
        if len(self.sources) > 1:
            joined = np.full(len(episodes) - count, OUTSIDE)
            episodes = episodes.blended(np.concatenate([base.part, joined]), self.weights)
        reads = self.recipe.reads_tasks and tasks == (ANY_TASK,)
        channels, height, width = episodes.latents.shape[2:]
        return Prepared(
            spec=WorldSpec(
                views=base.views,
                size=size,
                latent=(channels, height, width),
                action_dim=episodes.actions.shape[1],
                pose_dim=episodes.pose.shape[1],
                tasks=tasks,
                instructions=tuple(sorted(set(episodes.instructions or ()))) if reads else (),
                fps=base.fps,
                space=base.space,
                pose_space=base.pose_space,
                **action_bounds(episodes.actions, base.space),
                body=body_of(
                    base.sources[0].spec.meaning,
                    self.recipe.actuation,
                    action_dim=episodes.actions.shape[1],
                    pose_dim=episodes.pose.shape[1],
                ),
            ),
            tokenizer=tokenizer,
            episodes=episodes,
            held=self.held,
            weak=np.arange(count, len(episodes)),
            **quality,
        )


def _of(mask: Bool[Array, " e"], source: Source) -> Bool[Array, " u"]:
    """Restrict a mask over all episodes to those that have latents."""
    return mask[[index for index in range(len(source)) if source.has_latents(index)]]


def _marked(episodes: LatentEpisodes, video: Bool[Array, " b"]) -> LatentEpisodes:
    """Mark the first episodes as video, whose instructions are not read."""
    marked = np.concatenate([video, np.zeros(len(episodes) - len(video), bool)])
    words = episodes.instructions
    if words is not None:
        words = tuple("" if no else word for word, no in zip(words, marked, strict=True))
    return replace(episodes, video=marked, instructions=words)


def _unused(paths: Sequence[Path]) -> str:
    listed = ", ".join(map(str, paths))
    return (
        f"{listed}: the precomputed latents are not used because other datasets have none; frames "
        "of all datasets are encoded"
    )


def _decoder(
    recipe: WorldRecipe, *, size: tuple[int, int], latent: tuple[int, int, int]
) -> FrameTokenizer | None:
    """Load the autoencoder that made the dataset's latents, if the recipe names its folder."""
    if not recipe.tokenizer.folder:
        return None
    tokenizer = new_tokenizer(recipe.tokenizer, tasks=1, views=1, size=size)
    if tokenizer.grid != tuple(latent):
        raise UserError(
            f"The autoencoder in {recipe.tokenizer.folder} makes latents of shape "
            f"{tokenizer.grid}, but the dataset's latents are {tuple(latent)}, so it did not make "
            "them. Name the one that did, or leave tokenizer.folder out."
        )
    return tokenizer
