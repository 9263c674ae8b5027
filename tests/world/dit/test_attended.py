"""Attention in its three forms: the same numbers, from copies, slices and whole sequences."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tests.support.dit import LATENT, TINY, a_world, some_windows
from tests.world.dit.test_world import ROTARY, roll, start
from worldeval.world.dit import attended
from worldeval.world.dit.attention import turned, turns
from worldeval.world.dit.loss import forgetting, sequence_of

LENGTH = 6


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("memory", [0, 2])
def test_a_sequence_under_a_block_mask_is_one_of_copied_windows(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(ROTARY, memory=memory, window=2)
    network = a_world(recipe).dynamics
    cut = sequence_of(some_windows(9, 14), torch.tensor([0, 9 + 6]), LENGTH, recipe)
    cut = forgetting(cut, torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    x, time = torch.randn(2, LENGTH, *LATENT), torch.rand(2, LENGTH)
    found = []
    for kinds in (set(), {"cpu"}):
        monkeypatch.setattr("worldeval.world.dit.network.FLEXIBLE", kinds)
        with torch.no_grad():  # torch has no gradient of it on a CPU
            found.append(network(x, time, cut))
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_who_sees_whom_is_the_band_and_the_own_memory() -> None:
    mask = attended.bands(4, 2, 3, 2, torch.device("cpu"))
    frames, cells, read = 4, 2, 3
    for query in range(frames * cells):
        own = query // cells
        seen = [
            place
            for place in range(2 * frames * cells + frames * read)
            if bool(mask.mask_mod(*(torch.tensor(n) for n in (0, 0, query, place))))
        ]
        settled = [p for f in range(max(own - 2, 0), own) for p in (f * cells, f * cells + 1)]
        itself = [frames * cells + own * cells, frames * cells + own * cells + 1]
        memory = [2 * frames * cells + own * read + n for n in range(read)]
        assert seen == settled + itself + memory


def test_imagination_attends_without_a_mask_and_keeps_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    original = F.scaled_dot_product_attention

    def spy(query, keys, values, attn_mask=None):
        asked.append((attn_mask, query.dtype, keys.dtype, values.dtype, keys.data_ptr()))
        return original(query, keys, values, attn_mask=attn_mask)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    monkeypatch.setenv("WORLDEVAL_BF16", "1")
    monkeypatch.setattr("worldeval.device.cpu_has_bf16", lambda: True)
    world = a_world(ROTARY)
    state, _ = roll(world)
    assert state.cache.buffer.dtype == torch.bfloat16
    assert asked and all(mask is None for mask, *_ in asked)
    assert {kind for _, *kinds, _ in asked for kind in kinds} == {torch.bfloat16}
    # Nothing is copied: keys are read where the cache has them.
    low = state.cache.buffer.data_ptr()
    high = low + state.cache.buffer.nbytes
    assert low <= asked[-1][-1] < high


def test_turned_keys_compare_by_age_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 1, 8)
    products = []
    for now in (0, 3, 400):
        one = turned(query, turns(torch.tensor([float(now + 2)]), 8))
        two = turned(key, turns(torch.tensor([float(now)]), 8))
        products.append(float((one * two).sum()))
    assert products == pytest.approx([products[0]] * 3, abs=1e-4)
    assert products[0] != pytest.approx(float((query * key).sum()), abs=1e-3)


def test_frames_of_rotary_time_are_distinguished_by_age() -> None:
    """Two frames of the window trade places: what is imagined from them differs."""
    world = a_world(replace(ROTARY, memory=0))
    state = start(world)
    network, cache = world.dynamics, state.cache.with_room(4, torch.float32)
    torch.manual_seed(0)
    frames = torch.randn_like(cache.slots(0, 2))
    found = []
    for order in ([0, 1], [1, 0]):
        turn = network.turn(torch.tensor([0, 1]))
        assert turn is not None
        cache.buffer[..., : frames.shape[-2], :] = frames.unflatten(4, (2, -1))[
            ..., order, :, :
        ].flatten(4, 5)
        keys = cache.buffer[:, :, 0, :, : frames.shape[-2]].unflatten(3, (2, -1))
        for place in range(2):
            own = turn[place : place + 1]
            flat = keys[:, :, :, place].flatten(0, 1)
            keys[:, :, :, place] = turned(flat, own).unflatten(0, keys.shape[:2])
        both = replace(cache, begin=0, end=2, age=2)
        slots = network.slots(both, [None] * len(network.blocks))
        query = torch.ones(3, TINY.heads, cache.cells, 12)
        kept = attended.KeysValues(keys=query[:, None], values=query[:, None])
        found.append(slots[0].attend(query, kept))
    assert not torch.allclose(*found)
