"""`dit`: a flow-matching transformer over the latent cells of every view of the frame to come.

A token is a patch of cells of one view. It carries the noisy change to be found, the newest frame,
its difference from the frame before and the start frame at the same place; all tokens of all views
attend to each other and to read-only tokens of the start and the memory frame, whose keys and
values serve every step of the sampler. Motion and flow time modulate every block (adaLN-zero,
Peebles & Xie, "Scalable Diffusion Models with Transformers", 2023); motion is also painted onto the
tokens place by place, since where the hand goes is a matter of place.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float
from worldeval.errors import UserError
from worldeval.world.context import Context
from worldeval.world.features import Features
from worldeval.world.flow import own_noise, sample
from worldeval.world.recipe import DitRecipe

CONDITION = 192
PAINT = 16  # numbers of motion painted onto each token
FREQUENCIES = 8  # of the flow time's embedding

KeysValues = tuple[Float[Tensor, "b heads m e"], Float[Tensor, "b heads m e"]]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a context says before any noise is drawn: computed once a frame."""

    tokens: Float[Tensor, "b n d"]  # newest, previous and start frame, place and motion
    known: Float[Tensor, "b c"]  # motion, for the modulation
    memory: list[KeysValues]  # of the read-only tokens, for each block


class DitDynamics(nn.Module):
    """Next latents = newest latents + a change sampled from a learned flow.

    Changes are in units of their own training deviation (`fit_change`). A new network predicts no
    change. An episode's sample depends on its own context and generator, never on the batch.
    """

    change_std: Tensor

    def __init__(
        self, recipe: DitRecipe, features: Features, *, latent: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        _check(recipe, latent)
        self.recipe, self.features, self.latent = recipe, features, latent
        views, depth, height, breadth = latent
        width, patch = recipe.width, recipe.patch
        cells = views * (height // patch) * (breadth // patch)
        size, pose_dim = depth * patch * patch, len(features.pose_mean)
        self.register_buffer("change_std", torch.ones(views, depth, 1, 1))

        self.embed = nn.Linear(size, width)
        self.near = nn.Linear(3 * size, width)
        self.glimpse = nn.Linear(size, width)
        self.place = nn.Parameter(0.02 * torch.randn(cells, width))
        self.read_place = nn.Parameter(0.02 * torch.randn(2, cells, width))  # start, memory
        self.read_pose = nn.Linear(features.wave_size + pose_dim, width)
        self.read_norm = nn.LayerNorm(width)

        known = features.size + features.wave_size + 2 * pose_dim
        self.motion = nn.Sequential(
            nn.Linear(known, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.clock = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION)
        )
        self.palette = nn.Sequential(nn.SiLU(), nn.Linear(CONDITION, cells * PAINT))
        self.paint = nn.Linear(PAINT, width)

        self.blocks = nn.ModuleList(_Block(width, recipe.heads) for _ in range(recipe.depth))
        self.last = nn.Linear(CONDITION, 2 * width)
        self.head = nn.Linear(width, size)
        for layer in (self.last, self.head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def change_fitted(self) -> bool:
        """Whether the deviations are those of data, not of a new network."""
        return not bool((self.change_std == 1).all())

    def fit_change(self, change: Float[Tensor, "n v d h w"]) -> None:
        """Take the deviation of training changes, per view and channel."""
        self.change_std.copy_(
            change.square().mean((0, 3, 4)).sqrt().clamp_min(1e-3)[..., None, None]
        )

    def forward(
        self, x: Float[Tensor, "b v d h w"], time: Float[Tensor, " b"], context: Context
    ) -> Float[Tensor, "b v d h w"]:
        """The change to the next frame, in deviations, expected from `x` at flow time `time`."""
        return self.denoise(x, time, self.look(context))

    def predict(
        self, context: Context, *, generators: list[torch.Generator] | None
    ) -> Float[Tensor, "b v d h w"]:
        """The next frame's latents; without generators, every episode draws from seed 0."""
        scene = self.look(context)
        noise = own_noise(context.latent, generators)
        change = sample(lambda x, s: self.denoise(x, s, scene), noise, steps=self.recipe.steps)
        return context.latent + change * self.change_std

    def look(self, context: Context) -> Scene:
        """Read the context, once for all steps of the sampler."""
        known = self.motion(self._known(context))
        near = [context.latent, context.latent - context.previous, context.first]
        palette = rearrange(self.palette(known), "b (n e) -> b n e", e=PAINT)
        tokens = self.near(torch.cat([self._patches(frame) for frame in near], 2))
        kept = torch.stack([context.first, context.memory], 1)
        read = self.glimpse(self._patches(kept.flatten(0, 1))).unflatten(0, kept.shape[:2])
        read = read + self.read_place + self._poses(context)[:, :, None]
        read = self.read_norm(read.flatten(1, 2))
        return Scene(
            tokens=tokens + self.place + self.paint(palette),
            known=known,
            memory=[block.read(read) for block in self.blocks],  # type: ignore[operator]
        )

    def denoise(
        self, x: Float[Tensor, "b v d h w"], time: Float[Tensor, " b"], scene: Scene
    ) -> Float[Tensor, "b v d h w"]:
        """`forward` on a scene that has been looked at."""
        condition = F.silu(scene.known + self.clock(_waves(time)))
        tokens = scene.tokens + self.embed(self._patches(x))
        for block, memory in zip(self.blocks, scene.memory, strict=True):
            tokens = block(tokens, condition, memory)
        gain, shift = self.last(condition)[:, None].chunk(2, 2)
        return self._cells(self.head(_modulated(tokens, gain, shift)).float())

    def _known(self, context: Context) -> Float[Tensor, "b f"]:
        features, motion = self.features, context.motion
        return torch.cat(
            [
                features(motion),
                features.unit(context.next_pose),
                features.waves(context.next_pose),
                (context.next_pose - motion.pose) / features.step_std,
            ],
            1,
        )

    def _poses(self, context: Context) -> Float[Tensor, "b 2 d"]:
        # The start's pose is not in the context: its tokens know by place that they are the start.
        away = (context.memory_pose - context.next_pose) / self.features.pose_std
        memory = self.read_pose(torch.cat([self.features.waves(context.memory_pose), away], 1))
        return torch.stack([torch.zeros_like(memory), memory], 1)

    def _patches(self, latent: Float[Tensor, "b v d h w"]) -> Float[Tensor, "b n e"]:
        side = self.recipe.patch
        return rearrange(latent, "b v d (h i) (w j) -> b (v h w) (d i j)", i=side, j=side)

    def _cells(self, tokens: Float[Tensor, "b n e"]) -> Float[Tensor, "b v d h w"]:
        side, (views, depth, height, _) = self.recipe.patch, self.latent
        return rearrange(
            tokens,
            "b (v h w) (d i j) -> b v d (h i) (w j)",
            v=views,
            d=depth,
            h=height // side,
            i=side,
            j=side,
        )


class _Block(nn.Module):
    """Attention over all views and what is read, then an MLP; the condition gates both."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(CONDITION, 6 * width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.read_key_value = nn.Linear(width, 2 * width)
        # Normalised queries and keys keep attention from saturating at the high learning rates.
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.mix = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def read(self, tokens: Float[Tensor, "b m d"]) -> KeysValues:
        """Keys and values of tokens that are read but never written."""
        keys, values = self._split(self.read_key_value(tokens), 2)
        return self.key_norm(keys), values

    def forward(
        self, x: Float[Tensor, "b n d"], condition: Float[Tensor, "b c"], memory: KeysValues
    ) -> Float[Tensor, "b n d"]:
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        x = x + parts[2] * self._attend(_modulated(x, *parts[:2]), memory)
        hidden = F.gelu(self.widen(_modulated(x, *parts[3:5])), approximate="tanh")
        return x + parts[5] * self.narrow(hidden)

    def _attend(self, x: Float[Tensor, "b n d"], memory: KeysValues) -> Float[Tensor, "b n d"]:
        (query,) = self._split(self.query(x), 1)
        keys, values = self._split(self.key_value(x), 2)
        seen = F.scaled_dot_product_attention(
            self.query_norm(query),
            torch.cat([self.key_norm(keys), memory[0]], 2),
            torch.cat([values, memory[1]], 2),
        )
        return self.mix(rearrange(seen, "b h n e -> b n (h e)"))

    def _split(self, x: Float[Tensor, "b n kd"], count: int) -> tuple[Tensor, ...]:
        return rearrange(x, "b n (k h e) -> k b h n e", k=count, h=self.heads).unbind(0)


def _modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]) * (1 + gain) + shift


def _waves(time: Float[Tensor, " b"]) -> Float[Tensor, "b e"]:
    """Sines and cosines of flow times in [0, 1]."""
    angle = time[:, None] * math.pi * 2.0 ** torch.arange(-1, FREQUENCIES - 1, device=time.device)
    return torch.cat([angle.sin(), angle.cos()], 1)


def _check(recipe: DitRecipe, latent: tuple[int, int, int, int]) -> None:
    if latent[2] % recipe.patch or latent[3] % recipe.patch:
        raise UserError(
            f"patch: {recipe.patch} does not divide latents of {latent[2]} x {latent[3]} cells. "
            "Set a patch that does; 1 always fits."
        )
    if recipe.width % recipe.heads:
        raise UserError(f"width: {recipe.width} is not a multiple of heads: {recipe.heads}.")
