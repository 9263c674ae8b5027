"""The tokenizer and the latents that every family of families.py is trained and compared on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.errors import UserError
from worldeval.recipe import Recipe
from worldeval.world.load import read_card
from worldeval.world.tokenizer.encode import encoded
from worldeval.world.tokenizer.fit import load_frames
from worldeval.world.tokenizer.network import FrameTokenizer
from worldeval.world.training.prepare import TOKENIZER, prepare

SAMPLE = 64  # frames that are encoded anew, to see whether latents are of this tokenizer
APART = 0.1  # root mean square, in standardised latents: more than half precision makes


def share(recipes: Sequence[Recipe], args: argparse.Namespace) -> None:
    """Train or take the tokenizer and encode the data, into `args.home / 'shared'`.

    Raises UserError where the recipes do not share a tokenizer and what is held out, or where
    --tokenizer-from was trained otherwise: its tokenizer may have seen what is held out here.
    """
    first, shared = recipes[0].config, args.home / "shared"
    for other in recipes[1:]:
        for key in ("tokenizer", "held_out"):
            if getattr(other.config, key) != getattr(first, key):
                raise UserError(
                    f"{other.name} has another `{key}` than {recipes[0].name}; families are "
                    f"compared on the same. Give --set {key}... for all of them."
                )
    if args.tokenizer_from is not None:
        take(args.tokenizer_from, shared, recipe=first, seed=args.seed)
    prepared = prepare(first, args.data, args.weak, shared, seed=args.seed, report=told)
    if args.tokenizer_from is not None and prepared.tokenizer is not None:
        for folder in (args.data, *args.weak):
            path = shared / f"latents-{folder.name}.npy"
            check(prepared.tokenizer, read_table(folder), prepared.spec.tasks, path, seed=args.seed)


def take(world: Path, shared: Path, *, recipe: Any, seed: int) -> None:
    """Link the tokenizer of a trained world, and the latents beside it."""
    card = read_card(world)
    for key, own, wanted in (
        ("tokenizer", card["recipe"].tokenizer, recipe.tokenizer),
        ("held_out", card["recipe"].held_out, recipe.held_out),
        ("seed", card.get("seed"), seed),
    ):
        if own != wanted:
            raise UserError(
                f"{world} was trained with {key} {own}, and {wanted} is asked for: its tokenizer "
                "may have seen what is held out here. Leave --tokenizer-from out."
            )
    shared.mkdir(parents=True, exist_ok=True)
    for path in (world / TOKENIZER, *sorted(world.glob("latents-*.npy"))):
        if not (shared / path.name).exists():
            (shared / path.name).symlink_to(path.resolve())


def check(
    tokenizer: FrameTokenizer,
    shards: RecordedEpisodes,
    tasks: tuple[str, ...],
    path: Path,
    *,
    seed: int,
) -> None:
    """Raise UserError where the latents in `path` are not those of the tokenizer and the data."""
    count = min(SAMPLE, len(shards.pose))
    rows = np.sort(np.random.default_rng(seed).choice(len(shards.pose), count, replace=False))
    frames, task, view = load_frames(shards, rows)
    order = torch.tensor([tasks.index(name) for name in shards.tasks])
    with torch.inference_mode():
        again = tokenizer.encode(frames, order[task], view).float()
    split = again.unflatten(0, (len(shards.views), len(rows))).transpose(0, 1)
    away = encoded(tokenizer, shards, tasks, path).gather(rows) - split
    apart = float(away.square().mean().sqrt())
    if apart > APART:
        raise UserError(
            f"{path} holds latents of other frames or another tokenizer ({apart:.2f} apart in the "
            "root mean square). Remove it, and it is made anew."
        )


def told(stage: str, steps: int) -> Any:
    """Progress as a line now and then."""

    def progress(step: int, loss: float) -> None:
        if step % 500 == 0:
            print(f"{stage} {step}/{steps} loss {loss:.4f}", file=sys.stderr, flush=True)

    return progress
