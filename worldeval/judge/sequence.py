"""The network that judges the sequence: causal convolutions and attention over an episode's frames.

Convolutions over time as in Bai et al. (arXiv 1803.01271), attention as in Vaswani et al. (arXiv
1706.03762). Unlike there, the frames before the first are the first frame, not zeros, so that
waiting at the start looks the same however long it lasts, and there is no code of the position.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.judge.network import JudgeNet, Reading
from worldeval.judge.recipe import JudgeRecipe

SPANS = (1, 2)  # distances in frames between the three inputs of each convolution


class SequenceNet(JudgeNet):
    """Judge each frame by all frames so far, and measure progress by that frame alone.

    No later frame is read, so that evidence while an episode is under way is that of the finished
    one. Progress reads no other frame than the first: with the time at hand, a network learns the
    usual course of successes from the clock, and a robot that does nothing would make progress.
    """

    def __init__(self, recipe: JudgeRecipe, **sizes: object) -> None:
        super().__init__(recipe, **sizes)  # pyright: ignore[reportArgumentType]
        self.steps = nn.ModuleList(Convolved(recipe, span) for span in SPANS)
        self.recall = Recall(recipe)
        self.advance = nn.Linear(recipe.hidden, 1)

    def forward(
        self,
        latents: Float[Tensor, "b t v d h w"],
        pose: Float[Tensor, "b t p"],
        task: Int[Tensor, " b"] | Float[Tensor, "b c"],
    ) -> Reading:
        """Return logits and progress at every frame."""
        x = self.each_frame(latents, pose, task)
        progress = self.advance(x)[..., 0].float().sigmoid()
        for step in self.steps:
            x = step(x)
        return Reading(self.say(self.recall(x))[..., 0].float(), progress)


class Convolved(nn.Module):
    """A residual convolution over this frame and those `span` and 2 `span` frames earlier."""

    def __init__(self, recipe: JudgeRecipe, span: int) -> None:
        super().__init__()
        self.span = span
        self.norm = nn.LayerNorm(recipe.hidden)
        self.mix = nn.Linear(3 * recipe.hidden, recipe.hidden)
        self.out = nn.Sequential(
            nn.SiLU(), nn.Dropout(recipe.dropout), nn.Linear(recipe.hidden, recipe.hidden)
        )

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        y = self.norm(x)
        before = y[:, :1].expand(-1, 2 * self.span, -1)
        long, count = torch.cat([before, y], 1), y.shape[1]
        near = long[:, self.span : self.span + count]
        return x + self.out(self.mix(torch.cat([long[:, :count], near, y], 2)))


class Recall(nn.Module):
    """Residual attention of every frame to itself and all earlier ones."""

    def __init__(self, recipe: JudgeRecipe) -> None:
        super().__init__()
        self.heads = recipe.heads
        self.norm = nn.LayerNorm(recipe.hidden)
        self.ask = nn.Linear(recipe.hidden, 3 * recipe.hidden)
        self.out = nn.Linear(recipe.hidden, recipe.hidden)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        asked = self.ask(self.norm(x)).unflatten(2, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = asked.unbind(2)  # b h t d
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return x + self.out(seen.transpose(1, 2).flatten(2))


def new_network(recipe: JudgeRecipe, **sizes: object) -> JudgeNet:
    """Build the network that the recipe names; `sizes` are the arguments of `JudgeNet`."""
    made = SequenceNet if recipe.network == "sequence" else JudgeNet
    return made(recipe, **sizes)  # pyright: ignore[reportArgumentType]
