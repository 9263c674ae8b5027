"""The two-timestep transformer: denoises actions and future frames together.

UWM (arXiv 2504.02792), section 3: action tokens, tokens of the next observation and registers
attend to each other; the current observation and both diffusion times modulate every block
(adaLN-zero). The next observation is two frames, the last of the chunk and the one before, in
patches over both, as in the paper.

What differs from the paper and its code (official.py is the network exactly as published):

- Frames are latents of our tokenizer, so a few convolutions replace the ResNet.
- The newest frames and the first frame are also added to the future tokens at the same places, and
  the future is the change from the newest frame in units of its standard deviation: an affine map
  given the observation, so all distributions stay the same.
- The chunk may be shortened: a model trained on 1 to `chunk` frames of actions can step by one. Of
  a chunk of n, the future is the frames n - 1 and n; the official one is n and n + 1.
- Each time is embedded by layers of its own, and both are added to the observation's features. The
  official code concatenates two embeddings, and these with the features.
- Actions enter and leave by one linear layer instead of two with Mish between them; parts leave
  without the extra linear layer of the official head.
- GELU is the tanh approximation, and queries and keys are normalised.
- Predicted data is clipped at six standard deviations, because changes are standardised and not
  bounded; the official code clips at one (schedule.py, ddim.py).
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.errors import UserError
from worldeval.world.features import Features
from worldeval.world.layers import HeadNorm, modulated
from worldeval.world.uwm.recipe import UwmRecipe
from worldeval.world.uwm.schedule import Schedule
from worldeval.world.uwm.seen import UwmContext

PAIR = 2  # frames of the next observation
FREQUENCIES = 16  # of a diffusion time's embedding
KEPT = 2  # frames besides the newest: the frame before it and the first one


@dataclass(frozen=True, kw_only=True)
class Said:
    """The network's prediction for both parts, as defined by its schedule's target."""

    actions: Float[Tensor, "b n a"]
    future: Float[Tensor, "b 2 v d h w"]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A `UwmContext` encoded once for all steps of a sampler."""

    feature: Float[Tensor, "b c"]
    tokens: Float[Tensor, "b m d"]  # to add to the future tokens


class Uwm(nn.Module):
    """The transformer. Inputs and outputs are standardised (`unit_actions`, `change`)."""

    change_std: Tensor

    def __init__(
        self, recipe: UwmRecipe, features: Features, *, latent: tuple[int, int, int, int]
    ) -> None:
        super().__init__()
        _check(recipe, latent)
        self.recipe, self.features, self.latent = recipe, features, latent
        self.schedule = Schedule(recipe.times, recipe.target)
        views, depth, height, breadth = latent
        width, patch = recipe.width, recipe.patch
        pose_dim, action_dim = len(features.pose_mean), len(features.action_mean)
        cells = views * (height // patch) * (breadth // patch)
        size = depth * patch * patch
        self.register_buffer("change_std", torch.ones(views, depth, 1, 1))

        self.enter_action = nn.Linear(action_dim, width)
        self.action_place = nn.Parameter(0.02 * torch.randn(recipe.chunk, width))
        self.enter_future = nn.Linear(PAIR * size, width)
        self.beside = nn.Linear((1 + KEPT) * size, width)
        self.future_place = nn.Parameter(0.02 * torch.randn(cells, width))
        self.registers = nn.Parameter(0.02 * torch.randn(recipe.registers, width))

        self.look_at = _FrameEncoder(
            views * depth * (1 + KEPT), (height, breadth), recipe.channels, width
        )
        known = 2 * pose_dim + len(features.commanded) + features.wave_size + features.tasks + 1
        self.know = nn.Sequential(nn.Linear(known, width), nn.SiLU(), nn.Linear(width, width))
        self.length = nn.Embedding(recipe.chunk, width)
        self.action_time = _TimeEmbedding(recipe.times, width)
        self.future_time = _TimeEmbedding(recipe.times, width)

        self.blocks = nn.ModuleList(_AdaNormBlock(width, recipe.heads) for _ in range(recipe.depth))
        self.last = nn.Linear(width, 2 * width)
        self.action_head = nn.Linear(width, action_dim)
        self.future_head = nn.Linear(width, PAIR * size)
        for layer in (self.last, self.action_head, self.future_head):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        seen: UwmContext,
        actions: Float[Tensor, "b n a"],
        future: Float[Tensor, "b 2 v d h w"],
        action_time: Int[Tensor, " b"],
        future_time: Int[Tensor, " b"],
    ) -> Said:
        """Predict both parts from noisy `actions` and `future`, each at its own time."""
        return self.denoise(self.look(seen), actions, future, action_time, future_time)

    def look(self, seen: UwmContext) -> Look:
        """Encode the observation."""
        seen, features = seen.known(self.features.commanded), self.features
        frames = [seen.latent, seen.latent - seen.previous, seen.first]
        step = (seen.pose - seen.past_pose) / features.step_std
        told = features.commanded
        behind = (seen.command - seen.pose[:, told]) / features.step_std[told] / 3
        known = [
            features.unit(seen.pose),
            step,
            behind,
            features.waves(seen.pose),
            F.one_hot(seen.task, features.tasks).float(),
            seen.history[:, None].float(),
        ]
        feature = self.look_at(torch.cat(frames, 2).flatten(1, 2)) + self.know(torch.cat(known, 1))
        beside = self.beside(torch.cat([self._patches(frame) for frame in frames], 2))
        return Look(feature=feature, tokens=beside + self.future_place)

    def denoise(
        self,
        look: Look,
        actions: Float[Tensor, "b n a"],
        future: Float[Tensor, "b 2 v d h w"],
        action_time: Int[Tensor, " b"],
        future_time: Int[Tensor, " b"],
    ) -> Said:
        """Apply `forward` to an encoded observation."""
        count, places = actions.shape[1], look.tokens.shape[1]
        condition = F.silu(
            look.feature
            + self.length.weight[count - 1]
            + self.action_time(action_time)
            + self.future_time(future_time)
        )
        acting = self.enter_action(actions) + self.action_place[:count]
        seeing = self.enter_future(self._pairs(future)) + look.tokens
        spare = self.registers.expand(len(actions), -1, -1)
        tokens = torch.cat([acting, seeing, spare], 1)
        for block in self.blocks:
            tokens = block(tokens, condition)
        gain, shift = self.last(condition)[:, None].chunk(2, 2)
        tokens = modulated(tokens, gain, shift)
        return Said(
            actions=self.action_head(tokens[:, :count]).float(),
            future=self._frames(self.future_head(tokens[:, count : count + places]).float()),
        )

    @property
    def change_fitted(self) -> bool:
        """Whether the standard deviations were fitted to data, unlike those of a new network."""
        return not bool((self.change_std == 1).all())

    def fit_change(self, change: Float[Tensor, "n v d h w"]) -> None:
        """Set the standard deviation of changes over a chunk, per view and channel."""
        spread = change.square().mean((0, 3, 4)).sqrt()
        self.change_std.copy_(spread.clamp_min(1e-3)[..., None, None])

    def change(
        self, future: Float[Tensor, "b 2 v d h w"], seen: UwmContext
    ) -> Float[Tensor, "b 2 v d h w"]:
        """Convert a next observation's latents to standardised changes from the newest frame."""
        return (future - seen.latent[:, None]) / self.change_std

    def changed(
        self, change: Float[Tensor, "b 2 v d h w"], seen: UwmContext
    ) -> Float[Tensor, "b 2 v d h w"]:
        """The inverse of `change`."""
        return seen.latent[:, None] + change * self.change_std

    def unit_actions(self, actions: Float[Tensor, "b n a"]) -> Float[Tensor, "b n a"]:
        """Convert robot actions to standard deviations from the training mean."""
        return (actions - self.features.action_mean) / self.features.action_std

    def robot_actions(self, unit: Float[Tensor, "b n a"]) -> Float[Tensor, "b n a"]:
        """The inverse of `unit_actions`."""
        return unit * self.features.action_std + self.features.action_mean

    def _patches(self, latent: Float[Tensor, "b v d h w"]) -> Float[Tensor, "b m e"]:
        side = self.recipe.patch
        return rearrange(latent, "b v d (h i) (w j) -> b (v h w) (d i j)", i=side, j=side)

    def _pairs(self, future: Float[Tensor, "b 2 v d h w"]) -> Float[Tensor, "b m e"]:
        return self._patches(rearrange(future, "b f v d h w -> b v (f d) h w"))

    def _frames(self, tokens: Float[Tensor, "b m e"]) -> Float[Tensor, "b 2 v d h w"]:
        side, (views, depth, height, _) = self.recipe.patch, self.latent
        return rearrange(
            tokens,
            "b (v h w) (f d i j) -> b f v d (h i) (w j)",
            v=views,
            f=PAIR,
            d=depth,
            h=height // side,
            i=side,
            j=side,
        )


class _FrameEncoder(nn.Module):
    """Convolutions over the newest frames of all views together, to one vector."""

    def __init__(self, inputs: int, cells: tuple[int, int], channels: int, width: int) -> None:
        super().__init__()
        height, breadth = (-(-side // 2) for side in cells)
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(channels * height * breadth, width),
        )

    def forward(self, x: Float[Tensor, "b e h w"]) -> Float[Tensor, "b c"]:
        return self.layers(x)


class _TimeEmbedding(nn.Module):
    """Embed a diffusion time as a vector."""

    def __init__(self, times: int, width: int) -> None:
        super().__init__()
        self.times = times
        self.layers = nn.Sequential(
            nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, time: Int[Tensor, " b"]) -> Float[Tensor, "b c"]:
        octaves = torch.linspace(-1, 5, FREQUENCIES, device=time.device)
        angle = time[:, None] / self.times * math.pi * 2.0**octaves
        return self.layers(torch.cat([angle.sin(), angle.cos()], 1))


class _AdaNormBlock(nn.Module):
    """Attention over all tokens, then an MLP; the condition scales, shifts and gates both."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(width, 6 * width)
        self.query_key_value = nn.Linear(width, 3 * width)
        # Normalised queries and keys keep attention from saturating at high learning rates.
        self.query_norm = HeadNorm(width // heads, eps=1e-6)
        self.key_norm = HeadNorm(width // heads, eps=1e-6)
        self.mix = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x: Float[Tensor, "b n d"], condition: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b n d"]:
        parts = self.modulation(condition)[:, None].chunk(6, 2)
        x = x + parts[2] * self._attend(modulated(x, *parts[:2]))
        hidden = F.gelu(self.widen(modulated(x, *parts[3:5])), approximate="tanh")
        return x + parts[5] * self.narrow(hidden)

    def _attend(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        query, key, value = rearrange(
            self.query_key_value(x), "b n (k h e) -> k b h n e", k=3, h=self.heads
        )
        seen = F.scaled_dot_product_attention(self.query_norm(query), self.key_norm(key), value)
        return self.mix(rearrange(seen, "b h n e -> b n (h e)"))


def _check(recipe: UwmRecipe, latent: tuple[int, int, int, int]) -> None:
    if latent[2] % recipe.patch or latent[3] % recipe.patch:
        raise UserError(
            f"patch: {recipe.patch} does not divide latents of {latent[2]} x {latent[3]} cells. "
            "Set a patch that divides both; 1 always fits."
        )
    if recipe.width % recipe.heads:
        raise UserError(f"width: {recipe.width} is not a multiple of heads: {recipe.heads}.")
    if not 0 <= recipe.anchor <= recipe.chunk:
        raise UserError(f"anchor: {recipe.anchor} must lie within 0..chunk ({recipe.chunk}).")
