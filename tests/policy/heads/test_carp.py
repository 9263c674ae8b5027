"""Tokens by scale: what each adds, and how likely a set with two ways becomes."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from tests.policy.heads.toy import ACTION, CHUNK, PLAIN, TARGET, generators, learn, two_ways
from worldeval.policy.heads.carp import CarpHead, by_scale
from worldeval.policy.heads.scale_tokens import ScaleTokens, resized, scales_of
from worldeval.policy.heads.settings import CarpSettings


@pytest.fixture(scope="module")
def head() -> CarpHead:
    torch.manual_seed(0)
    made = CarpHead(PLAIN, TARGET, CarpSettings(codes=16, width=32, depth=1), chunk=CHUNK)
    learn(made, two_ways, steps=250)
    return made


def test_scales_double_up_to_the_chunk() -> None:
    assert [scales_of(chunk) for chunk in (1, 2, 4, 6)] == [(1,), (1, 2), (1, 2, 4), (1, 2, 4, 6)]
    x = torch.tensor([[[1.0], [3.0], [5.0], [7.0]]])
    assert resized(x, 2).flatten().tolist() == [2, 6]
    assert resized(resized(x, 2), 4).flatten().tolist() == [2, 2, 6, 6]


def test_every_scale_brings_the_chunk_closer() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    tokenizer = ScaleTokens(CHUNK, ACTION, 32)

    def chunks(rows: int = 256) -> torch.Tensor:
        rough = torch.randn(rows, 1, ACTION, generator=generator)
        return rough + 0.3 * torch.randn(rows, CHUNK, ACTION, generator=generator)

    for _ in range(200):
        tokenizer.learn(chunks(), generator)
    held_out = chunks()
    built = tokenizer.built(tokenizer.encode(held_out))
    errors = [float((each - held_out).square().mean()) for each in built]
    assert len(errors) == 1 + len(scales_of(CHUNK))
    assert all(fine < coarse for coarse, fine in pairwise(errors))
    assert errors[-1] < 0.01 * float(held_out.var())


def test_a_set_of_two_ways_becomes_likely_and_its_average_does_not(head: CarpHead) -> None:
    feature, target = two_ways(torch.Generator().manual_seed(5), rows=64)
    with torch.no_grad():
        tokens = head.tokenizer.encode(target.unflatten(1, (CHUNK, ACTION)))
        assert tokens.choice is not None
        choice, _ = head.logits(feature, tokens)
        used = torch.softmax(choice, -1)
        # The first token chooses the way: as likely as not, and nothing between.
        own = used.gather(1, tokens.choice[:, None])[:, 0]
        middle = head.tokenizer.mean.codes.mean(1).abs() < 0.5
        assert used[:, middle].sum(1).max() < 0.02
        left = head.tokenizer.mean.codes.mean(1) < 0
        assert used[:, left].sum(1).mean() == pytest.approx(0.5, abs=0.12)
        likely = head.log_prob(feature, tokens)
        average = head.tokenizer.encode(torch.zeros_like(target).unflatten(1, (CHUNK, ACTION)))
        assert likely.mean() > head.log_prob(feature, average).mean() + 3
        assert own.mean() > 0.02


def test_drawn_chunks_keep_to_one_way(head: CarpHead, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "settings", CarpSettings(codes=16, temperature=1.0))
    feature, _ = two_ways(torch.Generator().manual_seed(5), rows=64)
    with torch.no_grad():
        drawn = head.act(feature, generators(64))
    sides = drawn.sign().mean(1)
    assert (sides.abs() == 1).float().mean() > 0.9  # all dimensions on the same side
    assert 0.25 < (sides > 0).float().mean() < 0.75


def test_no_token_reads_its_own_or_a_finer_scale() -> None:
    """Scores of a scale do not change with the tokens of this scale or of later ones."""
    torch.manual_seed(0)
    head = CarpHead(PLAIN, TARGET, CarpSettings(codes=8, width=16, depth=2), chunk=CHUNK).eval()
    feature, target = two_ways(torch.Generator().manual_seed(0), rows=3)
    tokens = head.tokenizer.encode(target.unflatten(1, (CHUNK, ACTION)))
    choice, details = head.logits(feature, tokens)
    for changed in range(3):
        other = list(tokens.details)
        other[changed] = (other[changed] + 1) % 8
        again, rest = head.logits(feature, replace(tokens, details=tuple(other)))
        assert torch.equal(again, choice)
        for scale in range(3):
            same = torch.allclose(rest[scale], details[scale], atol=1e-6)
            assert same == (scale <= changed)
    mask = by_scale((1, 1, 2))
    assert mask.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, True, True],
        [True, True, True, True],
    ]


def test_the_likelihood_of_uniform_scores_by_hand() -> None:
    head = CarpHead(PLAIN, TARGET, CarpSettings(codes=8, width=16, depth=1), chunk=CHUNK)
    for layer in (head.choice, head.detail):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    feature, target = two_ways(torch.Generator().manual_seed(0), rows=3)
    tokens = head.tokenizer.encode(target.unflatten(1, (CHUNK, ACTION)))
    assert head.count == 1 + 7 * ACTION
    expected = -head.count * math.log(8)
    torch.testing.assert_close(head.log_prob(feature, tokens), torch.full((3,), expected))
