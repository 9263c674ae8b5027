"""The causal sequence of Dita, and that it denoises."""

import torch
from torch import Tensor

from tests.policy.heads.toy import ACTION, CHUNK, TARGET, generators, learn
from worldeval.policy.heads.denoise import FREQUENCIES
from worldeval.policy.heads.diffusion import DiffusionHead
from worldeval.policy.heads.dita import DitaHead, InContext, causal
from worldeval.policy.heads.parts import Parts
from worldeval.policy.heads.settings import DitaSettings

PARTS = Parts(seen=4, task=2, pose=2, tokens=9, token=3, words=2, word=4)
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


def test_the_transformer_denoises_in_place_of_the_mlp() -> None:
    """Noise levels, target and steps are those of the diffusion head; context reaches the chunk."""
    torch.manual_seed(0)
    head = DitaHead(PARTS, TARGET, SMALL, chunk=CHUNK, levels=100, steps=5)
    mlp = DiffusionHead(PARTS.width, 64, TARGET, levels=100, steps=5)
    torch.testing.assert_close(head.path.signal, mlp.path.signal)

    def named(generator: torch.Generator, rows: int = 64) -> tuple[Tensor, Tensor]:
        """The first word says where to go."""
        feature = torch.randn(rows, PARTS.width, generator=generator)
        return feature, PARTS.split(feature).words[:, 0, :2].clamp(-1, 1).repeat(1, CHUNK)

    learn(head, named, steps=120)
    feature, target = named(torch.Generator().manual_seed(5), rows=100)
    with torch.no_grad():
        missed = (head.act(feature, generators(100)) - target).abs().mean()
        blind = feature.roll(1, 0)
        misled = (head.act(blind, generators(100)) - target).abs().mean()
    assert missed < 0.6 * misled
