"""Random numbers of a training batch, drawn together so that processes can divide them."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from worldeval.axes import Bool, Float
from worldeval.world.ctrl_world.edm import training_sigmas
from worldeval.world.ctrl_world.recipe import DROP, CtrlWorldRecipe


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One row per clip. `n` frames are denoised, the newest and the future ones; `m` are past."""

    sigma: Float[Tensor, " b"]
    noise: Float[Tensor, "b n e g x"]
    past_sigma: Float[Tensor, "b m 1 1 1"]
    past_noise: Float[Tensor, "b m e g x"]
    newest_sigma: Float[Tensor, "b 1 1 1 1"]
    newest_noise: Float[Tensor, "b 1 e g x"]
    kept: Bool[Tensor, " b"]  # False: the clip is trained without its tokens

    def rows(self, mine: slice) -> "Draw":
        """Select some of the clips."""
        return Draw(**{each.name: getattr(self, each.name)[mine] for each in fields(self)})


def draw(
    count: int,
    recipe: CtrlWorldRecipe,
    *,
    frame: tuple[int, int, int],
    future: int,
    generator: torch.Generator,
) -> Draw:
    """Draw random numbers for `count` clips with `future` new frames of shape `frame` (e g x)."""
    past = len(recipe.memory.recall)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    return Draw(
        sigma=training_sigmas(count, recipe.edm, generator),
        noise=normal(1 + future, *frame),
        past_sigma=recipe.memory.noise * normal(past, 1, 1, 1),
        past_noise=normal(past, *frame),
        newest_sigma=recipe.condition_noise * torch.rand(count, 1, 1, 1, 1, generator=generator),
        newest_noise=normal(1, *frame),
        kept=torch.rand(count, generator=generator) >= DROP,
    )
