"""The recipe of `latent`."""

from dataclasses import dataclass

from worldeval.world.recipe import WorldRecipe


@dataclass(frozen=True, kw_only=True)
class LatentRecipe(WorldRecipe):
    """`latent`: a deterministic residual MLP over all views' latents, fast on a laptop."""

    width: int = 512
    depth: int = 5
    unroll: tuple[tuple[float, int], ...] = ((0.0, 1), (0.35, 2), (0.6, 4))  # share -> steps
