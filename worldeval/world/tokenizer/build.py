"""Build the tokenizer of a recipe: this project's own network, or a pretrained autoencoder."""

from pathlib import Path

from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.network import Tokenizer
from worldeval.world.tokenizer.pretrained import DiffusersTokenizer


def new_tokenizer(
    recipe: TokenizerRecipe, *, tasks: int, views: int, size: tuple[int, int]
) -> FrameTokenizer:
    """Build the tokenizer of a recipe: a pretrained one, or ours with fresh weights."""
    if recipe.folder:
        return DiffusersTokenizer(Path(recipe.folder), size=size)
    return Tokenizer(recipe, tasks=tasks, views=views, size=size)
