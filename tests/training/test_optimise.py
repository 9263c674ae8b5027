"""The optimisation loop on a network of one matrix, where every step can be followed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from worldeval.errors import UserError
from worldeval.training.average import Average
from worldeval.training.checkpoints import Saving
from worldeval.training.optimise import Fitted, adamw, optimise
from worldeval.training.processes import own_rows
from worldeval.training.recipe import TrainerRecipe

TARGET = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Stopped(Exception):
    """The power went."""


def test_the_average_forgets_the_first_weights() -> None:
    net = nn.Linear(1, 1, bias=False)
    average = Average(net, decay=0.9)
    seen = []
    for value in (1.0, 2.0, 2.0):
        net.weight.data.fill_(value)
        average.update()
        seen.append(average.values[0].item())
    # The first as it is; then decay 2/11, then 3/12.
    assert seen == pytest.approx([1, 2 - 2 / 11, 2 - 2 / 11 * 3 / 12])


def test_parts_of_a_batch_have_the_gradient_of_the_whole() -> None:
    parts = fit(accumulate=2)
    for key, value in fit(accumulate=1).model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[key], value)


def test_gradients_are_clipped_to_the_norm_that_the_recipe_gives() -> None:
    """AdamW divides by the gradient's size, but for 1e-8: a far smaller gradient moves nothing."""
    torch.manual_seed(0)
    before = nn.Linear(4, 3, bias=False).weight.detach()
    clipped = fit(grad_clip=1e-14, ema=0.0, weight_decay=0.0).model.state_dict()["weight"]
    torch.testing.assert_close(clipped, before, atol=1e-4, rtol=0)
    free = fit(grad_clip=0.0, ema=0.0, weight_decay=0.0).model.state_dict()["weight"]
    assert (free - before).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_a_compiled_network_takes_the_same_course(monkeypatch: pytest.MonkeyPatch) -> None:
    straight = fit()
    monkeypatch.setenv("WORLDEVAL_COMPILE", "eager")
    compiled = fit()
    assert compiled.loss == pytest.approx(straight.loss)
    assert type(compiled.model) is type(straight.model)
    for key, value in straight.model.state_dict().items():
        torch.testing.assert_close(compiled.model.state_dict()[key], value)


def test_a_gpu_updates_all_weights_at_once() -> None:
    """torch's fused optimiser, which a CPU has too: the same update."""
    recipe, results = TrainerRecipe(steps=1, batch=1), []
    for kind in ("cpu", "cuda"):
        torch.manual_seed(0)
        net = nn.Linear(4, 3)
        optimiser = adamw(net, recipe, torch.device(kind))
        assert [each["fused"] for each in optimiser.param_groups] == [kind == "cuda" or None] * 2
        net(torch.ones(2, 4)).square().sum().backward()
        optimiser.step()
        results.append(net.weight.detach())
    torch.testing.assert_close(*results)


def test_an_interruption_leaves_no_trace(tmp_path: Path) -> None:
    straight, path = fit(), tmp_path / "training.pt"
    with pytest.raises(Stopped):
        fit(path=path, stop_at=17)
    torch.manual_seed(99)
    resumed = fit(path=path)
    assert resumed.loss == straight.loss
    for key, value in straight.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value)


def test_the_state_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    fit(path=path)
    with pytest.raises(UserError, match="a different training run"):
        fit(path=path, net=nn.Linear(4, 5, bias=False))


def test_what_is_given_is_left_alone_and_kept_along_the_way() -> None:
    net = nn.Linear(4, 3, bias=False)
    before = net.weight.detach().clone()
    seen: dict[int, Fitted] = {}
    done = optimise(
        net,
        lambda model, step: (model(torch.ones(1, 4)) - 1).square().mean(),
        TrainerRecipe(steps=30, batch=1, ema=0.0),
        keep_at=(10, 30),
        keep=lambda step, fitted: seen.update({step: fitted}),
    )
    assert torch.equal(net.weight, before)
    assert list(seen) == [10, 30]
    assert torch.equal(seen[30].model.weight, done.model.weight)
    assert not torch.equal(seen[10].model.weight, done.model.weight)
    assert done.loss < seen[10].loss


@pytest.mark.parametrize(
    ("warmup", "share", "steps"), [(0.03, 0.03, 6), (50, 0.25, 50), (0, 0.0, 0)]
)
def test_a_warm_up_is_a_share_of_the_steps_or_their_number(
    warmup: float, share: float, steps: int
) -> None:
    recipe = TrainerRecipe(steps=200, batch=1, warmup=warmup)
    assert (recipe.warmup_share, recipe.warmup_steps) == (share, steps)


def test_one_process_has_every_row() -> None:
    assert own_rows(7) == slice(0, 7)


def fit(
    *,
    accumulate: int = 1,
    path: Path | None = None,
    stop_at: int | None = None,
    net: nn.Module | None = None,
    **trainer: Any,
) -> Fitted:
    """Learn a matrix from eight random rows a step, in one part or in several."""
    torch.manual_seed(0)
    net = net or nn.Linear(4, 3, bias=False)
    generator, left = torch.Generator().manual_seed(1), []

    def loss_of(model: nn.Module, step: int) -> torch.Tensor:
        if step == stop_at:
            raise Stopped
        if not left:
            left.extend(torch.randn(8, 4, generator=generator).chunk(accumulate))
        rows = left.pop()
        return (model(rows)[:, :3] - rows @ TARGET.T).square().mean()

    return optimise(
        net,
        loss_of,
        replace(TrainerRecipe(steps=30, batch=8, learning_rate=0.05, ema=0.9), **trainer),
        saving=Saving(path=path, every=10, generators=(generator,)) if path else None,
        accumulate=accumulate,
    )
