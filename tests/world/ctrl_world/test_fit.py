"""Training: one clip learned by heart, an interruption that leaves no trace, several processes."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.world.ctrl_world.tiny import TINY, a_denoiser, some_episodes
from worldeval.errors import UserError
from worldeval.world.ctrl_world.fit import (
    ATTENTION,
    fit_denoiser,
    fit_statistics,
    training_offsets,
)
from worldeval.world.ctrl_world.recipe import (
    CtrlWorldRecipe,
    EdmRecipe,
    LongTrainerRecipe,
    MemoryRecipe,
)
from worldeval.world.training.windows import Windows, steps

ALL = np.array([0, 1])
ROOT = Path(__file__).parents[3]


class Stopped(Exception):
    """The power went."""


def test_one_clip_is_learned_by_heart() -> None:
    recipe = replace(
        TINY,
        memory=MemoryRecipe(strides=(1,), recall=(2, 1)),  # one clip: always the same frames
        edm=EdmRecipe(mean=0.0, std=1.0, sigma_max=10.0, steps=2, guidance=(1.0, 1.0)),
        trainer=replace(TINY.trainer, steps=80, batch=4, learning_rate=1e-2),
    )
    data = some_episodes((3,))
    model = fit_denoiser(a_denoiser(recipe), Windows(data), np.array([0]), seed=0).model
    clip = Windows(data).cut(torch.tensor([0]), steps(2, 2))
    found = model.imagine(clip.latents[:, :3], clip.pose, model.text[:1], generators=None)
    truth, copied = clip.latents[:, 3:], clip.latents[:, 2:3]
    assert (found - truth).square().mean() < 0.5 * (copied - truth).square().mean()


def test_updates_of_low_rank_leave_the_rest_and_the_names_as_they_were() -> None:
    before, data = a_denoiser(), some_episodes((6, 5))
    recipe = replace(TINY, lora=2, trainer=replace(TINY.trainer, steps=3))
    model = fit_denoiser(a_denoiser(recipe), Windows(data), ALL, seed=0).model
    assert model.state_dict().keys() == before.state_dict().keys()
    moved = {
        name
        for name, value in model.state_dict().items()
        if not torch.allclose(value, before.state_dict()[name], atol=1e-7)
    }
    attention = tuple(f"{each}.weight" for each in ATTENTION)
    assert all(name.endswith(attention) or "action_encoder" in name for name in moved)
    assert any("action_encoder" in name for name in moved)
    for layer in ATTENTION:
        assert any(name.endswith(f"{layer}.weight") for name in moved)
    change = next(name for name in moved if name.endswith("to_q.weight"))
    update = model.state_dict()[change] - before.state_dict()[change]
    assert int(torch.linalg.matrix_rank(update, atol=1e-6)) <= 2


def test_strides_are_drawn_as_the_official_code_draws_them() -> None:
    """(past, future): (4, 1) and (8, 2) in 42.5% of the clips each, (0, 1) and (0, 2) in 7.5%."""
    memory = MemoryRecipe(recall=(3, 2, 1))
    offsets = training_offsets(8000, memory, 2, torch.Generator().manual_seed(0))
    wanted = {
        (-12, -8, -4, 0, 1, 2): 0.425,
        (-24, -16, -8, 0, 2, 4): 0.425,
        (0, 0, 0, 0, 1, 2): 0.075,
        (0, 0, 0, 0, 2, 4): 0.075,
    }
    found = Counter(tuple(row) for row in offsets.tolist())
    assert {pair: count / 8000 for pair, count in found.items()} == pytest.approx(wanted, abs=0.015)


def test_a_faster_future_stays_within_its_episode() -> None:
    windows = Windows(some_episodes((6, 5)))
    cut = windows.cut(torch.tensor([3, 8]), torch.tensor([-8, 0, 2, 4]))
    assert cut.pose[..., 0].tolist() == [[0, 3, 5, 5], [0, 2, 4, 4]]
    assert cut.pose[..., 1].tolist() == [[0] * 4, [1] * 4]


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    """Same losses, same weights: model, optimiser, schedule, average and samples are kept."""
    recipe = with_trainer(steps=25, save_every=10)
    windows, whole = Windows(some_episodes()), []
    straight = fit_denoiser(
        a_denoiser(recipe), windows, ALL, seed=0, progress=lambda *each: whole.append(each)
    )

    def stop(step: int, loss: float) -> None:
        if step == 20:
            raise Stopped

    path = tmp_path / "training.pt"
    with pytest.raises(Stopped):
        fit_denoiser(a_denoiser(recipe), windows, ALL, seed=0, checkpoint=path, progress=stop)
    torch.manual_seed(12345)  # another process: its own randomness must not matter
    rest: list[tuple[int, float]] = []
    resumed = fit_denoiser(
        a_denoiser(recipe),
        windows,
        ALL,
        seed=0,
        checkpoint=path,
        progress=lambda *each: rest.append(each),
    )
    assert rest == [each for each in whole if each[0] >= 20]
    assert resumed.loss == straight.loss
    for key, value in resumed.model.state_dict().items():
        assert torch.equal(value, straight.model.state_dict()[key]), key


def test_the_state_of_another_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.pt"
    torch.save({"model": {}}, path)
    recipe = with_trainer(steps=2, save_every=1)
    with pytest.raises(UserError, match="a different training run"):
        fit_denoiser(a_denoiser(recipe), Windows(some_episodes()), ALL, seed=0, checkpoint=path)
    path.write_bytes(b"half a file")
    with pytest.raises(UserError, match="not a complete training state"):
        fit_denoiser(a_denoiser(recipe), Windows(some_episodes()), ALL, seed=0, checkpoint=path)


def test_a_batch_in_parts_needs_parts_that_fit() -> None:
    with pytest.raises(UserError, match="accumulate: 3 does not divide the batch of 4"):
        recipe = with_trainer(steps=1, accumulate=3)
        fit_denoiser(a_denoiser(recipe), Windows(some_episodes()), ALL, seed=0)


def test_episodes_too_short_for_the_future_say_so() -> None:
    with pytest.raises(UserError, match="smaller `future`"):
        fit_denoiser(a_denoiser(), Windows(some_episodes((2, 2))), ALL, seed=0)


def test_statistics_are_those_of_the_training_episodes() -> None:
    data = some_episodes((6, 5))
    denoiser = a_denoiser(replace(TINY, change=True))
    fit_statistics(denoiser, data, np.array([0]), seed=0)
    assert denoiser.scale.high[0] == pytest.approx(np.percentile(np.arange(6), 99), abs=1e-4)
    # Independent latents of unit variance: their changes have a deviation of root two.
    assert denoiser.change_std.flatten().tolist() == pytest.approx([2**0.5] * 6, rel=0.4)


@pytest.mark.slow
def test_two_processes_follow_the_course_of_one(tmp_path: Path) -> None:
    """Each takes half of every batch; the mean of their gradients is that of the whole."""
    alone, together = tmp_path / "one.json", tmp_path / "two.json"
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    for processes, out in ((1, alone), (2, together)):
        subprocess.run(
            [*launch, "--nproc_per_node", str(processes), __file__, str(out)],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
        )
    one, two = (json.loads(path.read_text()) for path in (alone, together))
    assert two["processes"] == 2
    assert one["losses"][0] == pytest.approx(two["losses"][0], rel=1e-5)
    assert one["losses"] == pytest.approx(two["losses"], rel=1e-3)
    # Where a gradient is all rounding, Adam still takes a whole step (2e-3), of either sign.
    assert one["weights"] == pytest.approx(two["weights"], rel=1e-3, abs=5e-4)


def with_trainer(**changes) -> CtrlWorldRecipe:
    settings = {"steps": 10, "batch": 4, "learning_rate": 2e-3, "ema": 0.9, "save_every": 0}
    return replace(TINY, trainer=LongTrainerRecipe(**{**settings, **changes}))


def train_as_one_of_several(out: Path) -> None:
    """What each of several processes runs."""
    from accelerate import PartialState

    losses: list[float] = []
    recipe = with_trainer(steps=21, save_every=10)
    fitted = fit_denoiser(
        a_denoiser(recipe),
        Windows(some_episodes()),
        ALL,
        seed=0,
        checkpoint=out.with_suffix(".pt"),
        progress=lambda step, loss: losses.append(loss),
    )
    weights = [float(each.abs().mean()) for each in fitted.model.parameters()]
    if PartialState().is_main_process:
        facts = {"losses": losses, "weights": weights, "processes": PartialState().num_processes}
        out.write_text(json.dumps(facts))
    PartialState().destroy_process_group()


if __name__ == "__main__":
    train_as_one_of_several(Path(sys.argv[1]))
