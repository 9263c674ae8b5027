"""The causal sequence of Dita, and what patches are worth to it."""

import time

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.policy.heads.toy import ACTION, CHUNK, TARGET, generators, learn
from worldeval.policy.heads.denoise import FREQUENCIES
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.dita import DitaHead, InContext, causal
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import DitaSettings

PARTS = Parts(seen=4, task=2, pose=2, tokens=9, token=3, words=2, word=4)
LOOKUP = Parts(seen=1, task=1, pose=1, tokens=4, token=6, words=1, word=4)
SMALL = DitaSettings(width=32, depth=1)


def test_an_action_reads_the_context_and_earlier_actions_only() -> None:
    torch.manual_seed(0)
    network = InContext(PARTS, CHUNK, ACTION, DitaSettings(width=16, depth=2)).eval()
    joined = torch.randn(2, TARGET + 2 * FREQUENCIES + PARTS.width)
    said = network(joined).unflatten(1, (CHUNK, ACTION))
    for place in range(CHUNK):
        other = joined.clone()
        other[:, place * ACTION : (place + 1) * ACTION] += 1
        again = network(other).unflatten(1, (CHUNK, ACTION))
        for step in range(CHUNK):
            same = torch.allclose(again[:, step], said[:, step], atol=1e-6)
            assert same == (step < place)
    # Every word, patch, number of the state and of the time is read by every action.
    for place in range(TARGET, joined.shape[1]):
        if place >= TARGET + 2 * FREQUENCIES:
            other = joined.clone()
            other[:, place] += 1
            apart = (network(other) - network(joined)).unflatten(1, (CHUNK, ACTION))
            assert (apart.abs().amax((0, 2)) > 0).all()
    assert causal(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def lookup(generator: torch.Generator, rows: int = 64) -> tuple[Tensor, Tensor]:
    """Patches in any order, each with a name and a place; a word names one: go to its place."""
    names = torch.stack([torch.randperm(4, generator=generator) for _ in range(rows)])
    places = 2 * torch.rand(rows, 4, 2, generator=generator) - 1
    tokens = torch.cat([F.one_hot(names, 4).float() * 2, places], -1)
    asked = torch.randint(4, (rows,), generator=generator)
    chosen = (names == asked[:, None]).int().argmax(1)
    words = 2 * F.one_hot(asked, 4).float()
    feature = torch.cat([torch.zeros(rows, LOOKUP.now), tokens.flatten(1), words], -1)
    return feature, places[torch.arange(rows), chosen].repeat(1, CHUNK)


def test_a_named_patch_is_found_better_than_by_an_mlp_in_more_time() -> None:
    feature, target = lookup(torch.Generator().manual_seed(5), rows=200)
    error, seconds = {}, {}
    for name, steps in (("dita", 500), ("mlp", 1500)):
        torch.manual_seed(0)
        head = (
            DitaHead(LOOKUP, TARGET, SMALL, chunk=CHUNK, levels=100, steps=5)
            if name == "dita"
            else DiffusionHead(LOOKUP.width, 64, TARGET, levels=100, steps=5)
        )
        begun = time.process_time()
        learn(head, lookup, steps=steps)
        seconds[name] = time.process_time() - begun
        with torch.no_grad():
            error[name] = float((head.act(feature, generators(200)) - target).abs().mean())
    print(error, seconds)
    assert error["dita"] < error["mlp"]
