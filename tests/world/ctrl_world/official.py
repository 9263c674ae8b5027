"""The keys and shapes of Ctrl-World's official state dict, spelled out from its architecture.

Stable Video Diffusion's UNet (widths 320, 640, 1280, 1280; two blocks a level, three on the way up;
cross-attention of 1024), an MLP for poses, and the first keys of each frozen network beside them.
"""

Shapes = dict[str, tuple[int, ...]]
WIDTHS = (320, 640, 1280, 1280)
TIME, TOKEN = 1280, 1024


def official_shapes(pose_dim: int = 7) -> Shapes:
    """Every key that training changes, and some that it does not."""
    network = {f"unet.{key}": shape for key, shape in _unet().items()}
    for index, width in ((0, pose_dim), (2, TOKEN), (4, TOKEN)):
        network |= _linear(f"action_encoder.action_encode.{index}", width, TOKEN)
    return network | {
        "vae.encoder.conv_in.weight": (128, 3, 3, 3),
        "vae.decoder.time_conv_out.bias": (3,),
        "image_encoder.visual_projection.weight": (1024, 1280),
        "text_encoder.text_projection.weight": (512, 512),
    }


def _unet() -> Shapes:
    keys = _conv("conv_in", 8, 320) | _conv("conv_out", 320, 4) | _norm("conv_norm_out", 320)
    keys |= _linear("time_embedding.linear_1", 320, TIME)
    keys |= _linear("time_embedding.linear_2", TIME, TIME)
    keys |= _linear("add_embedding.linear_1", 768, TIME)
    keys |= _linear("add_embedding.linear_2", TIME, TIME)
    before = 320
    for level, width in enumerate(WIDTHS):
        at = f"down_blocks.{level}"
        for block in range(2):
            keys |= _residual(f"{at}.resnets.{block}", before, width)
            before = width
            if level < 3:
                keys |= _attention(f"{at}.attentions.{block}", width)
        if level < 3:
            keys |= _conv(f"{at}.downsamplers.0.conv", width, width)
    for block in range(2):
        keys |= _residual(f"mid_block.resnets.{block}", 1280, 1280)
    keys |= _attention("mid_block.attentions.0", 1280)
    # What comes over from the way down, newest first: two blocks and a sampler a level.
    over = [1280, 1280, 1280, 1280, 1280, 640, 640, 640, 320, 320, 320, 320]
    before = 1280
    for level, width in enumerate(reversed(WIDTHS)):
        at = f"up_blocks.{level}"
        for block in range(3):
            keys |= _residual(f"{at}.resnets.{block}", before + over.pop(0), width)
            before = width
            if level > 0:
                keys |= _attention(f"{at}.attentions.{block}", width)
        if level < 3:
            keys |= _conv(f"{at}.upsamplers.0.conv", width, width)
    return keys


def _residual(at: str, before: int, width: int) -> Shapes:
    """A block over space, one over time, and how much of each."""
    keys: Shapes = {f"{at}.time_mixer.mix_factor": (1,)}
    for name, first, kernel in (("spatial", before, (3, 3)), ("temporal", width, (3, 1, 1))):
        own = f"{at}.{name}_res_block"
        keys |= _norm(f"{own}.norm1", first) | _norm(f"{own}.norm2", width)
        keys |= _conv(f"{own}.conv1", first, width, kernel)
        keys |= _conv(f"{own}.conv2", width, width, kernel)
        keys |= _linear(f"{own}.time_emb_proj", TIME, width)
    if before != width:
        keys |= _conv(f"{at}.spatial_res_block.conv_shortcut", before, width, (1, 1))
    return keys


def _attention(at: str, width: int) -> Shapes:
    """A transformer block over space, one over time with a feed-forward before it."""
    keys: Shapes = {f"{at}.time_mixer.mix_factor": (1,)}
    keys |= _norm(f"{at}.norm", width)
    keys |= _linear(f"{at}.proj_in", width, width) | _linear(f"{at}.proj_out", width, width)
    keys |= _linear(f"{at}.time_pos_embed.linear_1", width, 4 * width)
    keys |= _linear(f"{at}.time_pos_embed.linear_2", 4 * width, width)
    for name in ("transformer_blocks.0", "temporal_transformer_blocks.0"):
        own = f"{at}.{name}"
        norms = ["norm1", "norm2", "norm3"] + ["norm_in"] * name.startswith("temporal")
        forwards = ["ff"] + ["ff_in"] * name.startswith("temporal")
        for norm in norms:
            keys |= _norm(f"{own}.{norm}", width)
        for forward in forwards:
            keys |= _linear(f"{own}.{forward}.net.0.proj", width, 8 * width)  # gated
            keys |= _linear(f"{own}.{forward}.net.2", 4 * width, width)
        for attention, read in (("attn1", width), ("attn2", TOKEN)):
            keys[f"{own}.{attention}.to_q.weight"] = (width, width)
            keys[f"{own}.{attention}.to_k.weight"] = (width, read)
            keys[f"{own}.{attention}.to_v.weight"] = (width, read)
            keys |= _linear(f"{own}.{attention}.to_out.0", width, width)
    return keys


def _linear(at: str, before: int, width: int) -> Shapes:
    return {f"{at}.weight": (width, before), f"{at}.bias": (width,)}


def _conv(at: str, before: int, width: int, kernel: tuple[int, ...] = (3, 3)) -> Shapes:
    return {f"{at}.weight": (width, before, *kernel), f"{at}.bias": (width,)}


def _norm(at: str, width: int) -> Shapes:
    return {f"{at}.weight": (width,), f"{at}.bias": (width,)}
