"""Compressed scales, against numbers worked out by hand."""

import math

import pytest
import torch

from worldeval.world.rssm.symlog import TwoHot, symexp, symlog


def test_symlog_by_hand() -> None:
    x = torch.tensor([0.0, math.e - 1, 1 - math.e, 99.0])
    torch.testing.assert_close(symlog(x), torch.tensor([0.0, 1.0, -1.0, math.log(100)]))
    torch.testing.assert_close(symexp(symlog(x)), x)


def test_bins_are_symmetric_about_zero() -> None:
    bins = TwoHot(5).bins
    expected = [1 - math.exp(20), 1 - math.exp(10), 0.0, math.exp(10) - 1, math.exp(20) - 1]
    assert bins.tolist() == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="odd"):
        TwoHot(4)


def test_a_number_lies_between_its_two_bins() -> None:
    head = TwoHot(41)  # bins e^k - 1
    code = head.encode(torch.tensor([0.0, math.e - 1, (math.e - 1) / 4]))
    assert code[0].argmax() == 20
    assert code[0, 20] == 1
    assert code[1, 21] == pytest.approx(1)
    assert code[2, 20:22].tolist() == pytest.approx([0.75, 0.25])
    assert code.sum(1).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5, 812.0, 4e5])
def test_a_certain_head_says_its_number(value: float) -> None:
    head = TwoHot(41)
    logits = head.encode(torch.tensor(value)).log().clamp_min(-1e4)
    assert float(head.decode(logits)) == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_a_new_head_says_zero() -> None:
    assert TwoHot(255).decode(torch.zeros(3, 255)).tolist() == [0, 0, 0]


def test_the_loss_of_a_uniform_head() -> None:
    loss = TwoHot(5).loss(torch.zeros(1, 5), torch.tensor([7.0]))
    assert float(loss) == pytest.approx(math.log(5))
