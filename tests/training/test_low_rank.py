"""Updates of low rank: they start at nothing, train alone, and end in the weights."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from worldeval.errors import UserError
from worldeval.training.low_rank import adapted, merged
from worldeval.training.optimise import optimise
from worldeval.training.recipe import TrainerRecipe


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"to_q": nn.Linear(6, 5), "other": nn.Linear(5, 5), "told": nn.Linear(3, 5)}
    )


def told(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return net["other"](net["to_q"](x)) + net["told"](x[:, :3])  # type: ignore[index]


def test_only_the_updates_are_trained_and_they_end_in_the_weights() -> None:
    before, net = a_network(), a_network()
    x = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    adapted(net, ["to_q"], 2, also=["told"])
    assert torch.equal(told(net, x), told(before, x))
    trained = {name for name, each in net.named_parameters() if each.requires_grad}
    assert trained == {
        "to_q.parametrizations.weight.0.down",
        "to_q.parametrizations.weight.0.up",
        "told.weight",
        "told.bias",
    }
    recipe = TrainerRecipe(steps=30, batch=8, learning_rate=0.05, ema=0.0)
    fitted = optimise(net, lambda own, step: (told(own, x) - 1).square().mean(), recipe).model
    expected = told(fitted, x).detach()
    merged(fitted)
    assert fitted.state_dict().keys() == before.state_dict().keys()
    torch.testing.assert_close(told(fitted, x), expected)
    assert (told(fitted, x) - 1).square().mean() < 0.5 * (told(before, x) - 1).square().mean()
    change = fitted["to_q"].weight - before["to_q"].weight  # type: ignore[index]
    assert int(torch.linalg.matrix_rank(change, atol=1e-4)) == 2
    for name in ("to_q.bias", "other.weight", "other.bias"):
        assert torch.equal(fitted.get_parameter(name), before.get_parameter(name))
    assert all(each.requires_grad for each in fitted.parameters())
    deepcopy(fitted)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"ends in to_x"):
        adapted(a_network(), ["to_x"], 2)
    with pytest.raises(UserError, match="is 5 x 6; a rank of 9"):
        adapted(a_network(), ["to_q"], 9)
