"""The UNet of Stable Video Diffusion with one condition token per frame, and the token encoder.

The state dict has the official checkpoint's keys: `unet.*` as in diffusers and
`action_encoder.action_encode.{0,2,4}.*`.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from worldeval.axes import Float
from worldeval.errors import UserError
from worldeval.world.ctrl_world.recipe import UnetRecipe
from worldeval.world.diffusers_import import need_diffusers

CROSS = ("CrossAttnDownBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal")
TEMPORAL = "TemporalBasicTransformerBlock"
MOST = 65_535  # sequences that a GPU's attention takes at once
PLAIN = ("DownBlockSpatioTemporal", "UpBlockSpatioTemporal")


class ActionEncoder(nn.Module):
    """Encode a frame's normalised pose as its token."""

    def __init__(self, pose_dim: int, width: int) -> None:
        super().__init__()
        self.action_encode = nn.Sequential(
            nn.Linear(pose_dim, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
        )

    def forward(self, pose: Float[Tensor, "b f p"]) -> Float[Tensor, "b f c"]:
        return self.action_encode(pose)


class CtrlWorldNetwork(nn.Module):
    """diffusers' UNet, with each frame's spatial cross-attention restricted to its own token.

    The stock UNet repeats its tokens over all frames, so with one token per frame it would show
    every token to every frame; here each attention first selects the frame's own. The temporal
    cross-attention reads the first frame's token, as in the official code, which changes only this.
    """

    def __init__(self, recipe: UnetRecipe, *, channels: int, pose_dim: int) -> None:
        super().__init__()
        self.recipe = recipe
        unets = need_diffusers("ctrl_world")
        self.unet = unets.UNetSpatioTemporalConditionModel(**unet_config(recipe, channels))
        for module in self.unet.modules():
            if type(module).__name__ == "TransformerSpatioTemporalModel":
                module.register_forward_pre_hook(own_token, with_kwargs=True)
            if type(module).__name__ == TEMPORAL:
                for attention in (module.attn1, module.attn2):
                    attention.set_processor(InParts(attention.processor))
        self.action_encoder = ActionEncoder(pose_dim, recipe.token)

    def forward(
        self,
        frames: Float[Tensor, "b f e h w"],
        noise: Float[Tensor, " b"],
        tokens: Float[Tensor, "b f c"],
        times: Float[Tensor, "b 3"],
    ) -> Float[Tensor, "b f d h w"]:
        """Return the network's raw output for the frames at noise level `noise` (EDM's c_noise)."""
        return self.unet(frames, noise, tokens, times, return_dict=False)[0]


class InParts:
    """diffusers' attention over time, which has a sequence for every cell: a few at a time."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(
        self,
        attention: nn.Module,
        hidden_states: Float[Tensor, "m f c"],
        encoder_hidden_states: Float[Tensor, "m n k"] | None = None,
        **given: Any,
    ) -> Float[Tensor, "m f c"]:
        if len(hidden_states) <= MOST:
            return self.inner(attention, hidden_states, encoder_hidden_states, **given)
        parts = hidden_states.split(MOST)
        read = encoder_hidden_states
        seen = [None] * len(parts) if read is None else read.split(MOST)
        return torch.cat(
            [
                self.inner(attention, part, own, **given)
                for part, own in zip(parts, seen, strict=True)
            ]
        )


def own_token(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Select, before an attention over b*f frames, each frame's own token out of f tokens."""
    tokens, frames = kwargs["encoder_hidden_states"], kwargs["image_only_indicator"].shape[1]
    if tokens.shape[1] != frames:
        raise UserError(f"{tokens.shape[1]} tokens for {frames} frames; every frame needs its own.")
    mine = rearrange(tokens, "(b f) n c -> b f n c", f=frames)
    own = torch.diagonal(mine, dim1=1, dim2=2)  # b c f
    return args, {**kwargs, "encoder_hidden_states": rearrange(own, "b c f -> (b f) 1 c")}


def unet_config(recipe: UnetRecipe, channels: int) -> dict[str, Any]:
    """Build the arguments of diffusers' UNet for latents with `channels` channels."""
    levels = len(recipe.widths)
    return {
        "in_channels": 2 * channels,
        "out_channels": channels,
        "down_block_types": tuple((PLAIN, CROSS)[attends][0] for attends in recipe.attention),
        "up_block_types": tuple((PLAIN, CROSS)[attends][1] for attends in recipe.attention[::-1]),
        "block_out_channels": recipe.widths,
        "addition_time_embed_dim": recipe.time_width,
        "projection_class_embeddings_input_dim": 3 * recipe.time_width,
        "layers_per_block": recipe.layers,
        "cross_attention_dim": (recipe.token,) * levels,
        "num_attention_heads": recipe.heads,
    }
