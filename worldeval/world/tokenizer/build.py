"""From a recipe to a tokenizer: our own network, or an autoencoder that others trained."""

from pathlib import Path

from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.network import Tokenizer
from worldeval.world.tokenizer.pretrained import DiffusersTokenizer


def new_tokenizer(
    recipe: TokenizerRecipe, *, tasks: int, views: int, size: tuple[int, int]
) -> FrameTokenizer:
    """The tokenizer that a recipe asks for: one that others trained, or ours with fresh weights."""
    if recipe.folder:
        return DiffusersTokenizer(Path(recipe.folder), size=size)
    return Tokenizer(recipe, tasks=tasks, views=views, size=size)
