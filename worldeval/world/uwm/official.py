"""UWM's network exactly as its authors publish it, for their weights (`uwm-official`).

Zhu et al., "Unified World Models" (arXiv 2504.02792), github.com/WEIRDLabUW/unified-world-model.
The family `uwm` differs from it (network.py says how); this network differs in nothing that has
weights, so that a published state dict loads strictly. Its keys, with n from 0 to `depth` - 1:

    noise_pred_net.obs_patchifier.patch_encoder.{weight, bias}   convolution over two frames
    noise_pred_net.obs_patchifier.patch_decoder.{weight, bias}
    noise_pred_net.action_encoder.{0, 2}.{weight, bias}          two layers, with Mish between them
    noise_pred_net.action_decoder.{0, 2}.{weight, bias}
    noise_pred_net.timestep_embedding.proj.{0, 2}.{weight, bias} of both times, concatenated
    noise_pred_net.{registers, pos_embed}
    noise_pred_net.blocks.n.attn.{qkv, proj}.{weight, bias}
    noise_pred_net.blocks.n.mlp.{fc1, fc2}.{weight, bias}
    noise_pred_net.blocks.n.adaLN_modulation.1.{weight, bias}
    noise_pred_net.head.linear.{weight, bias}
    noise_pred_net.head.adaLN_modulation.1.{weight, bias}
    obs_encoder.img_encoder.model.*                              resnet.py
    obs_encoder.vae.*                                            SDXL's autoencoder, not part of it

The autoencoder is frozen and available separately, so its keys are passed over; its latents, times
its own scaling factor and divided by three, are what `future` means here. The configuration
published for DROID reads neither proprioception nor language.

This is the network and its forward mode, not a family: `uwm` is what can be trained and ranked in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.errors import UserError
from worldeval.world.uwm.ddim import CosineDdim
from worldeval.world.uwm.resnet import ImageEncoder

FROZEN = "obs_encoder.vae."
EPS = 1e-6  # of layer normalisation
SHOWN = 8  # keys named in an error


@dataclass(frozen=True, kw_only=True)
class OfficialUwmRecipe:
    """The sizes of a published network; the defaults are those of the one for DROID."""

    views: int = 3
    seen: int = 2  # frames of the observation
    chunk: int = 16  # actions of a chunk
    action_dim: int = 10  # x, y, z, a rotation in six numbers, the gripper
    latent: tuple[int, int, int, int] = (4, 2, 28, 28)  # d t h w of a view's next observation
    patch: tuple[int, int, int] = (2, 4, 4)  # t h w
    width: int = 768
    image_width: int = 768  # of an encoded image
    time_width: int = 512
    depth: int = 12
    heads: int = 12
    registers: int = 8
    times: int = 100
    steps: int = 10  # of the sampler

    @property
    def cells(self) -> int:
        """Tokens of the next observation."""
        sides = zip(self.latent[1:], self.patch, strict=True)
        t, h, w = (size // part for size, part in sides)
        return self.views * t * h * w

    def build(self) -> "OfficialUwm":
        """The network, with fresh weights."""
        return OfficialUwm(self)


class OfficialUwm(nn.Module):
    """Noise of actions and of the next observation, each at its own time."""

    def __init__(self, recipe: OfficialUwmRecipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.obs_encoder = nn.ModuleDict({"img_encoder": ImageEncoder(recipe.image_width)})
        self.noise_pred_net = _NoiseNet(recipe)
        self.sampler = CosineDdim(recipe.times)

    def see(self, images: Float[Tensor, "b v 3 t h w"]) -> Float[Tensor, "b c"]:
        """Encode the observation: frames of every view, 0-1, cropped as in training (224 x 224)."""
        return self.obs_encoder["img_encoder"](images)

    def forward(
        self,
        seen: Float[Tensor, "b c"],
        actions: Float[Tensor, "b k a"],
        action_time: Int[Tensor, " b"],
        future: Float[Tensor, "b v d t h w"],
        future_time: Int[Tensor, " b"],
    ) -> tuple[Float[Tensor, "b k a"], Float[Tensor, "b v d t h w"]]:
        """Predict the noise in both parts; actions are standardised as in training."""
        return self.noise_pred_net(seen, actions, action_time, future, future_time)

    @torch.no_grad()
    def imagine(
        self,
        seen: Float[Tensor, "b c"],
        actions: Float[Tensor, "b k a"],
        noise: Float[Tensor, "b v d t h w"],
    ) -> Float[Tensor, "b v d t h w"]:
        """Sample the next observation's latents after `actions`, from unit noise (forward mode)."""
        x, rows = noise, len(noise)
        times = self.sampler.ladder(self.recipe.steps)
        given = torch.full(
            (rows,), times[-1], device=x.device
        )  # clean, as the official code has it
        for now, then in zip(times, [*times[1:], -1], strict=True):
            time = torch.full((rows,), now, device=x.device)
            _, found = self(seen, actions, given, x, time)
            x = self.sampler.step(found, x, now, then)
        return x


class _NoiseNet(nn.Module):
    def __init__(self, recipe: OfficialUwmRecipe) -> None:
        super().__init__()
        width, dim = recipe.width, recipe.action_dim
        hidden = 4 * max(dim, width)
        self.recipe = recipe
        self.obs_patchifier = _Patches(recipe)
        self.action_encoder = _two_layers(dim, hidden, width)
        self.action_decoder = _two_layers(width, hidden, dim)
        self.timestep_embedding = _Times(recipe.time_width)
        self.registers = nn.Parameter(0.02 * torch.randn(1, recipe.registers, width))
        length = recipe.chunk + recipe.cells + recipe.registers
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, length, width))
        condition = recipe.views * recipe.seen * recipe.image_width + recipe.time_width
        self.blocks = nn.ModuleList(
            _Block(width, condition, recipe.heads) for _ in range(recipe.depth)
        )
        self.head = _OutputHead(width, condition)

    def forward(
        self, seen: Tensor, actions: Tensor, action_time: Tensor, future: Tensor, then: Tensor
    ) -> tuple[Tensor, Tensor]:
        chunk = self.recipe.chunk
        spare = self.registers.expand(len(actions), -1, -1)
        parts = [self.action_encoder(actions), self.obs_patchifier(future), spare]
        x = torch.cat(parts, 1) + self.pos_embed
        condition = torch.cat([seen, self.timestep_embedding(action_time, then)], 1)
        for block in self.blocks:
            x = block(x, condition)
        x = self.head(x, condition)
        ahead = x[:, chunk : chunk + self.recipe.cells]
        return self.action_decoder(x[:, :chunk]), self.obs_patchifier.back(ahead)


class _Patches(nn.Module):
    """Cut every view's two frames into patches over both."""

    def __init__(self, recipe: OfficialUwmRecipe) -> None:
        super().__init__()
        self.recipe, (t, h, w) = recipe, recipe.patch
        depth = recipe.latent[0]
        self.patch_encoder = nn.Conv3d(depth, recipe.width, recipe.patch, stride=recipe.patch)
        self.patch_decoder = nn.Linear(recipe.width, depth * t * h * w)

    def forward(self, future: Tensor) -> Tensor:
        found = self.patch_encoder(future.flatten(0, 1))
        return rearrange(found, "(b v) u t h w -> b (v t h w) u", v=self.recipe.views)

    def back(self, tokens: Tensor) -> Tensor:
        (_, frames, height, breadth), (t, h, w) = self.recipe.latent, self.recipe.patch
        return rearrange(
            self.patch_decoder(tokens),
            "b (v t h w) (d i j k) -> b v d (t i) (h j) (w k)",
            v=self.recipe.views,
            t=frames // t,
            h=height // h,
            w=breadth // w,
            i=t,
            j=h,
            k=w,
        )


class _Times(nn.Module):
    """Embed both times: sines and cosines, concatenated, through two layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.proj = _two_layers(2 * width, 4 * width, width)

    def forward(self, one: Tensor, two: Tensor) -> Tensor:
        half = self.width // 2
        rate = 10_000.0 ** (-torch.arange(half, device=one.device) / (half - 1))
        angles = [time[:, None] * rate for time in (one, two)]
        return self.proj(torch.cat([f for a in angles for f in (a.sin(), a.cos())], 1))


class _Block(nn.Module):
    def __init__(self, width: int, condition: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attn = nn.ModuleDict(
            {"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)}
        )
        self.mlp = nn.ModuleDict(
            {"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)}
        )
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(condition, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, gain, gate, shift_mlp, gain_mlp, gate_mlp = self.adaLN_modulation(condition)[
            :, None
        ].chunk(6, 2)
        query, key, value = rearrange(
            self.attn["qkv"](_modulated(x, gain, shift)),
            "b n (k h e) -> k b h n e",
            k=3,
            h=self.heads,
        )
        found = F.scaled_dot_product_attention(query, key, value)
        x = x + gate * self.attn["proj"](rearrange(found, "b h n e -> b n (h e)"))
        hidden = F.gelu(self.mlp["fc1"](_modulated(x, gain_mlp, shift_mlp)))
        return x + gate_mlp * self.mlp["fc2"](hidden)


class _OutputHead(nn.Module):
    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(condition, 2 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, gain = self.adaLN_modulation(condition)[:, None].chunk(2, 2)
        return self.linear(_modulated(x, gain, shift))


def load_official(network: OfficialUwm, path: Path) -> None:
    """Load a published checkpoint strictly: a state dict, or one under the key `model`.

    Raises:
        UserError: the file holds no state dict, or keys are missing, superfluous or misshapen.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many types of errors for damaged files
        raise UserError(f"{path} is not a plain file of tensors ({error}).") from error
    found = found.get("model", found) if isinstance(found, dict) else found
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise UserError(f"{path} is not a state dict of tensors, nor has it one under `model`.")
    state = {key.removeprefix("module."): value for key, value in found.items()}
    state = {key: value for key, value in state.items() if not key.startswith(FROZEN)}
    own = {key: value.shape for key, value in network.state_dict().items()}
    wrong = [f"{key} is missing" for key in own if key not in state]
    wrong += [f"{key} is not part of the network" for key in state if key not in own]
    wrong += [
        f"{key} is {tuple(value.shape)}, expected {tuple(own[key])}"
        for key, value in state.items()
        if key in own and value.shape != own[key]
    ]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{path} does not match this network: {'; '.join(wrong[:SHOWN])}{more}. Set the sizes "
            "it was trained with, and `use_language` and `use_low_dim` must have been off."
        )
    network.load_state_dict(state, assign=next(network.parameters()).is_meta)


def _two_layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.Mish(), nn.Linear(hidden, outputs))


def _modulated(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + gain) + shift
