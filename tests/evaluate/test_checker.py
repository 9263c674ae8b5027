"""A `uwm` world model in an evaluation: as the world, as the policy and as the check of actions."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.rollout.test_uwm import RECIPE, seeing_world, some_starts
from worldeval.errors import UserError
from worldeval.evaluate.imagined import outcomes
from worldeval.evaluate.policies import policy_cards
from worldeval.evaluate.workers import worker
from worldeval.evaluate.workers.jobs import BatchDone, Job
from worldeval.judge.protocol import Judged
from worldeval.record import Verdict
from worldeval.rollout.inverse import SIGNAL, load_checker
from worldeval.rollout.recipe import ProtocolRecipe
from worldeval.runs.store import RolloutStore
from worldeval.world.load import CARD, save_world


def test_every_imagined_step_says_how_well_it_shows_its_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    save_world(folder, seeing_world(), RECIPE, kind="uwm", notes={})
    verdict = Verdict(probability=0.5, step=1, judge="fixed", votes=(0.4, 0.6))
    judge = SimpleNamespace(
        judged=lambda rollouts: Judged(
            verdicts=[verdict] * len(rollouts), evidence=np.full((len(rollouts), 3), 0.5)
        )
    )
    monkeypatch.setattr(worker, "run_judge", lambda *_, **__: judge)
    recipe = ProtocolRecipe(
        tasks=("left", "right"),
        policies=(str(folder),),
        world=str(folder),
        judge="unused",
        checker=str(folder),
        horizon=2,
    )
    setup = worker.Setup(recipe=recipe, starts=some_starts(), seed=0)
    cards = policy_cards([str(folder)])
    name = str(cards["policy"].tolist()[0])
    done = worker.Worker(setup)(Job(name="0", ref=str(folder), policy=name, starts=(0, 1)))
    assert isinstance(done, BatchDone), done
    store = RolloutStore(tmp_path / "imagined")
    store.add("0", done.packed)
    for rollout, _ in store.rollouts():
        assert rollout.policy == name
        assert rollout.trust_by_step[SIGNAL].shape == (2,)
        assert np.isfinite(rollout.trust_by_step[SIGNAL]).all()
    table = outcomes(tmp_path / "imagined", cards, some_starts())
    assert min(table[SIGNAL].tolist()) > 0


def test_a_checker_of_another_family_is_refused(tmp_path: Path) -> None:
    save_world(tmp_path, seeing_world(), RECIPE, kind="uwm", notes={})
    (tmp_path / CARD).unlink()
    with pytest.raises(UserError, match="contains no world model"):
        load_checker(str(tmp_path))
