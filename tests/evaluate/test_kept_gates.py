"""Recordings are replayed once for the same world model, judge and file."""

from pathlib import Path
from typing import Any

import pytest

from tests.evaluate.test_gates import Sum, judge, recording
from worldeval.evaluate.gates import BATCH
from worldeval.evaluate.kept_gates import kept_gates
from worldeval.rollout.starts import write_recordings


class Counted:
    """A run folder with recordings, that counts how often the models are loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.loaded, self.told = folder, 0, list[tuple[int, int]]()
        self.replays = folder / "replays.h5"
        self.write(0.9)

    def write(self, action: float) -> None:
        """Write two successes and two failures."""
        pairs = ((1.0, True), (action, True), (0.0, False), (0.1, False))
        write_recordings(self.replays, [recording(a, success=good) for a, good in pairs])

    def models(self) -> Any:
        self.loaded += 1
        return Sum(), judge

    def gates(self, **changed):
        given = {"world": "w", "judge": "j", "seed": 0, **changed}
        return kept_gates(self.folder, self.replays, self.models, progress=self.tell, **given)

    def tell(self, done: int, total: int) -> None:
        self.told.append((done, total))


@pytest.fixture
def run(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def test_a_finished_run_does_not_replay_again(run: Counted) -> None:
    first = run.gates()
    assert run.told == [(0, 8), (4, 8), (6, 8), (8, 8)]  # once as recorded, twice the successes
    assert run.gates() == first
    assert run.loaded == 1 and len(run.told) == 4


@pytest.mark.parametrize(
    "changed", [{"world": "x"}, {"judge": "x"}, {"seed": 1}, {"sampler_steps": 2}]
)
def test_whatever_the_numbers_depend_on_replays_again(run: Counted, changed: dict) -> None:
    run.gates()
    run.gates(**changed)
    assert run.loaded == 2


def test_other_recordings_in_the_same_file_replay_again(run: Counted) -> None:
    assert run.gates().true_success.value == 1.0
    run.write(0.5)
    assert run.gates().true_success.value == 0.5


def test_a_damaged_file_is_computed_again(run: Counted) -> None:
    first = run.gates()
    kept = run.folder / "gates.json"
    for content in (kept.read_text().replace("1.0", "0.9"), "{"):
        kept.write_text(content)
        assert run.gates() == first
    assert run.loaded == 3


def test_models_without_a_fingerprint_are_never_remembered(run: Counted) -> None:
    run.gates(world="")
    run.gates(world="")
    assert run.loaded == 2 and not (run.folder / "gates.json").exists()


def test_many_recordings_are_told_in_batches(run: Counted) -> None:
    many = [recording(k / 1000, success=False) for k in range(BATCH + 1)]
    write_recordings(run.replays, [*many, recording(1.0, success=True)])
    run.gates()
    total = BATCH + 2 + 2
    assert run.told[:3] == [(0, total), (BATCH, total), (BATCH + 2, total)]
