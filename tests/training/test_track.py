"""Training curves: what a tracker is told, and what is said where there is none."""

from pathlib import Path
from typing import Any, ClassVar

import pytest
from accelerate import tracking

from worldeval.errors import UserError
from worldeval.training.optimise import Progress
from worldeval.training.track import tracked


class Fake:
    """A tracker that keeps what it is told."""

    requires_logging_directory = False
    made: ClassVar["list[Fake]"] = []

    def __init__(self, run_name: str) -> None:
        self.name, self.logged, self.open = run_name, [], False
        self.made.append(self)

    def start(self) -> None:
        self.open = True

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.recipe = values

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.open = False


def silent(stage: str, steps: int) -> Progress:
    return lambda step, loss: None


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    monkeypatch.setattr(tracking, "LOGGER_TYPE_TO_CLASS", {"fake": Fake, "comet_ml": Fake})
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["fake"])
    monkeypatch.setattr(Fake, "made", [])
    return Fake


def test_stages_follow_one_another_in_one_run(fake: type[Fake], tmp_path: Path) -> None:
    recipe = {"kind": "latent", "trainer": {"steps": 40, "ema": 0.9}, "views": ["top"]}
    with tracked(silent, ["fake", "fake"], tmp_path / "mine", recipe=recipe) as report:
        hand, dynamics = report("kinematics", 40), report("dynamics", 20)
        hand(0, 1.0)
        hand(20, 0.5)
        dynamics(0, 2.0)
        assert fake.made[0].open
    (told,) = fake.made
    assert not told.open
    assert told.logged == [
        (0, {"kinematics/loss": 1.0}),
        (20, {"kinematics/loss": 0.5}),
        (40, {"dynamics/loss": 2.0}),
    ]
    assert told.recipe == {
        "kind": "latent",
        "trainer.steps": 40,
        "trainer.ema": 0.9,
        "views": "['top']",
    }


def test_a_run_that_fails_is_closed_too(fake: type[Fake], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), tracked(silent, ["fake"], tmp_path, recipe={}):
        raise RuntimeError
    assert not fake.made[0].open


def test_nothing_is_tracked_unasked(fake: type[Fake], tmp_path: Path) -> None:
    with tracked(silent, [], tmp_path, recipe={}) as report:
        assert report is silent
    assert fake.made == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("fakes", "no tracker 'fakes' .there are: comet_ml, fake.*Did you mean 'fake'"),
        ("comet_ml", "pip install comet-ml"),
    ],
)
def test_a_tracker_that_is_not_there_says_what_to_do(
    fake: type[Fake], tmp_path: Path, name: str, found: str
) -> None:
    with pytest.raises(UserError, match=found), tracked(silent, [name], tmp_path, recipe={}):
        pass


def test_tensorboard_has_the_curve(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with tracked(silent, ["tensorboard"], tmp_path / "run", recipe={"a": 1}) as report:
        report("dynamics", 40)(20, 0.25)
    assert list((tmp_path / "run" / "tracking").rglob("events.out.tfevents.*"))
