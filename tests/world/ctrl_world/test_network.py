"""The UNet: each frame's attention sees its own token, and nothing else about it is changed."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.world.ctrl_world.tiny import UNET
from worldeval.errors import UserError
from worldeval.world.ctrl_world.network import CtrlWorldNetwork, own_token, unet_config
from worldeval.world.diffusers_import import need_diffusers

BATCH, FRAMES = 2, 3


def test_of_all_tokens_each_frame_keeps_its_own() -> None:
    # What the stock UNet passes on: every token of episode b, once for each of its frames.
    tokens = torch.tensor([[[10.0], [11], [12]], [[20.0], [21], [22]]])
    given = tokens.repeat_interleave(FRAMES, 0)
    _, kept = own_token(
        nn.Identity(),
        (),
        {"encoder_hidden_states": given, "image_only_indicator": torch.zeros(BATCH, FRAMES)},
    )
    assert kept["encoder_hidden_states"].flatten().tolist() == [10, 11, 12, 20, 21, 22]


def test_attention_over_space_reads_the_frames_own_token_and_over_time_the_first() -> None:
    network, tokens = a_network(), torch.randn(BATCH, FRAMES, UNET.token)
    read: dict[str, torch.Tensor] = {}
    at = "down_blocks.0.attentions.0"
    for name, module in network.unet.named_modules():
        if name in (
            f"{at}.transformer_blocks.0.attn2",
            f"{at}.temporal_transformer_blocks.0.attn2",
        ):
            module.register_forward_pre_hook(
                lambda _, args, kwargs, name=name: read.update(
                    {name: kwargs["encoder_hidden_states"]}
                ),
                with_kwargs=True,
            )
    network(*inputs(), tokens, torch.zeros(BATCH, 3))
    space = read[f"{at}.transformer_blocks.0.attn2"]
    torch.testing.assert_close(space, tokens.flatten(0, 1)[:, None])
    time = read[f"{at}.temporal_transformer_blocks.0.attn2"]
    cells = len(time) // BATCH
    torch.testing.assert_close(time, tokens[:, :1].repeat_interleave(cells, 0))


def test_attention_over_time_takes_as_many_cells_at_once_as_a_gpu_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, tokens = a_network(), torch.randn(BATCH, FRAMES, UNET.token)
    given, sizes = inputs(), []
    whole = network(*given, tokens, torch.zeros(BATCH, 3))
    original = torch.nn.functional.scaled_dot_product_attention

    def spy(query: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        sizes.append((len(query), query.shape[2]))
        return original(query, *rest, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    monkeypatch.setattr("worldeval.world.ctrl_world.network.MOST", 7)
    torch.testing.assert_close(network(*given, tokens, torch.zeros(BATCH, 3)), whole)
    over_time = [batch for batch, length in sizes if length == FRAMES]
    assert over_time and max(over_time) <= 7


def test_equal_tokens_make_it_the_stock_network() -> None:
    network = a_network()
    stock = need_diffusers("this test").UNetSpatioTemporalConditionModel(**unet_config(UNET, 3))
    stock.load_state_dict(network.unet.state_dict())
    token, times = torch.randn(BATCH, 1, UNET.token), torch.randn(BATCH, 3)
    frames, noise = inputs()
    expected = stock.eval()(frames, noise, token, times).sample
    found = network(frames, noise, token.expand(-1, FRAMES, -1), times)
    torch.testing.assert_close(found, expected)


def test_a_frames_token_reaches_that_frame() -> None:
    network = a_network()
    # All of space and nothing of time: without a way through it, frames are strangers.
    for module in network.modules():
        if type(module).__name__ == "AlphaBlender":
            nn.init.constant_(module.get_parameter("mix_factor"), 100.0)
    (frames, noise), tokens = inputs(), torch.randn(BATCH, FRAMES, UNET.token)
    before = network(frames, noise, tokens, torch.zeros(BATCH, 3))
    tokens[0, 1] += 1
    after = network(frames, noise, tokens, torch.zeros(BATCH, 3))
    changed = (before != after).flatten(2).any(2)
    assert changed.tolist() == [[False, True, False], [False, False, False]]


def test_a_token_too_few_is_refused() -> None:
    two = {
        "encoder_hidden_states": torch.zeros(BATCH * FRAMES, 2, 1),
        "image_only_indicator": torch.zeros(BATCH, FRAMES),
    }
    with pytest.raises(UserError, match="2 tokens for 3 frames"):
        own_token(nn.Identity(), (), two)


def a_network() -> CtrlWorldNetwork:
    torch.manual_seed(0)
    return CtrlWorldNetwork(UNET, channels=3, pose_dim=4).eval()


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, FRAMES, 6, 8, 4, generator=generator), torch.tensor([0.1, -0.2])
