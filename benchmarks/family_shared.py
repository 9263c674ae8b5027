"""The tokenizer and the latents that every family of families.py is trained and compared on."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldeval.errors import UserError
from worldeval.recipe import Recipe
from worldeval.world.load import read_card
from worldeval.world.tokenizer.encode import LATENTS
from worldeval.world.training.prepare import TOKENIZER, prepare


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
    prepare(first, args.data, args.weak, shared, seed=args.seed, report=told)


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
    (shared / LATENTS).mkdir(parents=True, exist_ok=True)
    # Latents are named by the tokenizer and the data: those of others are never taken.
    for path in (world / TOKENIZER, *sorted((world / LATENTS).glob("*"))):
        here = shared / path.relative_to(world)
        if not here.exists():
            here.symlink_to(path.resolve())


def told(stage: str, steps: int) -> Any:
    """Progress as a line now and then."""

    def progress(step: int, loss: float) -> None:
        if step % 500 == 0:
            print(f"{stage} {step}/{steps} loss {loss:.4f}", file=sys.stderr, flush=True)

    return progress
