"""Five ways to ask: what is ignored has no influence, what is given has."""

from dataclasses import replace

import pytest
import torch

from tests.support.dots import LATENT
from tests.world.uwm.tiny import TINY, new_model, some_seen
from worldeval.world.uwm.modes import MODES, Drawn, draw, own_noise
from worldeval.world.uwm.network import PAIR

ACTIONS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1))
FUTURE = torch.randn(2, PAIR, *LATENT, generator=torch.Generator().manual_seed(2))


def asked(mode: str, actions: torch.Tensor = ACTIONS, future: torch.Tensor = FUTURE) -> Drawn:
    model = new_model()
    generators = [torch.Generator().manual_seed(i) for i in (3, 4)]
    noise = own_noise(model, generators)
    given = {"mode": mode, "steps": 3, "actions": actions, "future": future}
    return draw(model, some_seen(), noise, **given)


@pytest.mark.parametrize("target", ["epsilon", "velocity"])
def test_at_the_last_time_a_part_has_no_influence_on_the_other(target: str) -> None:
    """The marginals: at t = T whatever the actions are, and so for what is seen next."""
    model, seen = new_model(replace(TINY, target=target)), some_seen()
    schedule, last = model.schedule, torch.full((2,), TINY.times)
    middle = torch.full((2,), TINY.times // 2)
    noise, seeing = torch.randn(2, 3, 4), torch.randn(2, PAIR, *LATENT)

    def said(actions: torch.Tensor, future: torch.Tensor, ta: torch.Tensor, to: torch.Tensor):
        return model(
            seen, schedule.noised(actions, noise, ta), schedule.noised(future, seeing, to), ta, to
        )

    one, other = said(ACTIONS, FUTURE, last, middle), said(ACTIONS + 9, FUTURE, last, middle)
    assert torch.equal(one.future, other.future)
    assert torch.equal(one.actions, other.actions)
    one, other = said(ACTIONS, FUTURE, middle, last), said(ACTIONS, FUTURE - 9, middle, last)
    assert torch.equal(one.actions, other.actions)
    # At any earlier time they do matter.
    one, other = said(ACTIONS, FUTURE, middle, middle), said(ACTIONS + 9, FUTURE, middle, middle)
    assert (one.future - other.future).abs().max() > 1e-4


@pytest.mark.parametrize("mode", sorted(MODES))
def test_each_mode_reads_what_it_is_given_and_nothing_else(mode: str) -> None:
    acting, seeing = MODES[mode]
    before, after = asked(mode), asked(mode, actions=ACTIONS + 1)
    for part, role in (("actions", acting), ("future", seeing)):
        found = getattr(before, part)
        assert (found is None) == (role == "ignored")
    changed = [
        (getattr(before, part) - getattr(after, part)).abs().max() > 1e-5
        for part, role in (("actions", acting), ("future", seeing))
        if role == "drawn"
    ]
    assert changed == [acting == "given"] * len(changed)
    after = asked(mode, future=FUTURE + 1)
    if acting == "drawn":
        assert before.actions is not None and after.actions is not None
        moved = (before.actions - after.actions).abs().max() > 1e-5
        assert bool(moved) == (seeing == "given")


def test_what_is_given_comes_out_as_it_went_in() -> None:
    forward, inverse = asked("forward"), asked("inverse")
    assert forward.actions is not None and inverse.future is not None
    torch.testing.assert_close(forward.actions, ACTIONS)
    torch.testing.assert_close(inverse.future, FUTURE)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_no_other_row_changes_a_draw(mode: str) -> None:
    model, seen = new_model(), some_seen(3)
    rows = torch.tensor([1])
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    noise = own_noise(model, generators)
    alone = own_noise(model, [torch.Generator().manual_seed(1)])
    actions = torch.randn(3, 3, 4, generator=torch.Generator().manual_seed(1))
    future = torch.randn(3, PAIR, *LATENT, generator=torch.Generator().manual_seed(2))
    every = draw(model, seen, noise, mode=mode, steps=2, actions=actions, future=future)
    own = replace(seen, **{k: v[rows] for k, v in vars(seen).items()})
    one = draw(model, own, alone, mode=mode, steps=2, actions=actions[rows], future=future[rows])
    for together, single in ((every.actions, one.actions), (every.future, one.future)):
        if together is not None and single is not None:
            torch.testing.assert_close(together[rows], single, atol=1e-5, rtol=1e-5)


def test_without_history_the_past_has_no_influence() -> None:
    model, seen = new_model(), replace(some_seen(), history=torch.zeros(2, dtype=torch.bool))
    noise = own_noise(model, [torch.Generator().manual_seed(i) for i in range(2)])
    past = replace(
        seen, previous=seen.latent + 5, past_pose=seen.pose - 1, command=seen.command + 1
    )
    one = draw(model, seen, noise, mode="joint", steps=2)
    other = draw(model, past, noise, mode="joint", steps=2)
    assert one.actions is not None and other.actions is not None
    assert torch.equal(one.actions, other.actions)


def test_a_new_network_predicts_no_change() -> None:
    model, seen = new_model(spoken=False), some_seen()
    noise = own_noise(model, [torch.Generator().manual_seed(i) for i in range(2)])
    drawn = draw(model, seen, noise, mode="video", steps=1)
    assert drawn.future is not None
    torch.testing.assert_close(drawn.future, seen.latent[:, None].expand(-1, PAIR, -1, -1, -1, -1))


def test_changes_and_actions_return_from_their_units() -> None:
    model, seen = new_model(), some_seen()
    model.fit_change(3 * torch.randn(50, *LATENT))
    model.features.fit(torch.randn(9, 4), torch.randn(9, 4), 2 * torch.randn(9, 4) + 1)
    torch.testing.assert_close(model.changed(model.change(FUTURE, seen), seen), FUTURE)
    torch.testing.assert_close(model.robot_actions(model.unit_actions(ACTIONS)), ACTIONS)
