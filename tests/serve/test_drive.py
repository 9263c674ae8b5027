"""Driving by messages: what a page asks, what it is answered, and who may ask."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.rollout.test_drive import SPEC, START, Obedient, Pushing
from worldeval.errors import UserError
from worldeval.record import Rollout, Verdict
from worldeval.rollout.controls import controls_of
from worldeval.rollout.drive import Drive
from worldeval.runs.episodes import filmed, read_episodes
from worldeval.runs.films import read_filmstrips, read_frames
from worldeval.runs.finding import find_runs
from worldeval.serve.drive import DriveSession
from worldeval.serve.drive_recording import DriveRecorder
from worldeval.serve.drive_server import MOST, DriveServer
from worldeval.world.recipe import ActuationRecipe


class Distance:
    """Judges that success is to be far along x."""

    def over_time(self, rollouts: list[Rollout]) -> np.ndarray:
        return np.stack([rollout.pose[:, 0] / 10 for rollout in rollouts])

    def judged(self, rollouts: list[Rollout]) -> Any:
        chances = [float(rollout.pose[-1, 0]) / 10 for rollout in rollouts]
        verdicts = [Verdict(probability=each, step=1, judge="distance") for each in chances]
        return type("Judged", (), {"verdicts": verdicts, "abstained": ()})


def session(**more: Any) -> DriveSession:
    controls = controls_of(SPEC, ActuationRecipe(scale=0.01, step_dim=4))
    return DriveSession(Drive(Obedient(), START, controls, seed=0), **more)


def brightness(answer: dict[str, Any]) -> int:
    content = base64.b64decode(answer["image"].partition(",")[2])
    return round(float(np.asarray(Image.open(io.BytesIO(content))).mean()))


def test_a_page_learns_the_directions_and_steps_along_them() -> None:
    drive = session(judge=Distance())
    look = drive.answer({"do": "look"})
    assert (look["frame"], look["axes"], look["grips"]) == (0, ["x", "y", "z"], True)
    assert drive.answer({"do": "step", "push": [0.5, 0, 0], "gripper": 1})["frame"] == 1
    np.testing.assert_allclose(drive.drive.pose[-1], [1, 0, 0, 2])
    far = drive.answer({"do": "step", "push": [99.0]})  # no further than full deflection
    assert (far["frame"], far["driver"], far["trust"]) == (2, "by hand", 1.0)
    assert drive.answer({"do": "judge"})["probability"] == [0, 0.1, 0.3]
    assert brightness(drive.answer({"do": "frame", "at": 1})) == 1
    assert brightness(drive.answer({"do": "back", "at": 0})) == 0
    assert len(drive.drive) == 1


def test_a_policy_is_loaded_when_it_takes_over() -> None:
    made = []
    drive = session(policies={"p": lambda: made.append(Pushing()) or made[-1]})
    assert drive.answer({"do": "look"})["policies"] == ["p"]
    assert made == []
    answers = [drive.answer({"do": "step", "policy": "p"}) for _ in range(3)]
    assert (len(made), answers[-1]["driver"]) == (1, "pushing")


@pytest.mark.parametrize(
    "request_",
    [
        {}, {"do": "fly"}, {"do": "step", "push": [0, 0, 0, 0]}, {"do": "step", "push": "x"},
        {"do": "step", "push": [float("nan")]}, {"do": "step", "push": [True]},
        {"do": "step", "gripper": None}, {"do": "step", "policy": "no"}, {"do": "frame", "at": 1},
        {"do": "back", "at": -1}, {"do": "back", "at": "0"}, {"do": "record"},
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_and_changes_nothing(request_: dict[str, Any]) -> None:
    drive = session()
    with pytest.raises(UserError):
        drive.answer(request_)
    assert len(drive.drive) == 1


def test_an_episode_is_recorded_with_its_film(tmp_path: Path) -> None:
    record = DriveRecorder(tmp_path, tmp_path / "world", name="my world")
    drive = session(judge=Distance(), record=record)
    with pytest.raises(UserError, match="nothing to record"):
        drive.answer({"do": "record"})
    for _ in range(2):
        drive.answer({"do": "step", "push": [1.0]})
    for number in (1, 2):
        assert f"s, drive {number}" in drive.answer({"do": "record"})["recorded"]
    (run,) = find_runs(tmp_path)
    assert (run.name, run.status, run.episodes) == ("driven/my-world", "driven", 2)
    episodes = read_episodes(run.folder)
    assert episodes.table["score"].tolist() == [0.4, 0.4]
    strips = tuple(read_filmstrips(run.folder / "filmstrips"))
    assert len(filmed(episodes, strips)) == 2
    frames = read_frames(run.folder / "filmstrips", strips[0].imagined)
    assert frames["top"][:, 0, 0, 0].tolist() == [0, 2, 4]


@pytest.fixture
def server() -> Iterator[DriveServer]:
    opened = DriveServer()
    yield opened
    opened.close()


def test_a_page_drives_through_its_own_address(server: DriveServer) -> None:
    address = server.offer(session())
    with connect(address) as page:
        page.send(json.dumps({"do": "step", "push": [1.0]}))
        assert json.loads(page.recv())["frame"] == 1
        for wrong in ("{", "[]", '{"do": "fly"}', "[" * 5000):
            page.send(wrong)
            assert "error" in json.loads(page.recv())
    with connect(address) as page:  # the page was reloaded
        page.send('{"do": "look"}')
        assert json.loads(page.recv())["frame"] == 1


def test_nobody_drives_without_the_address(server: DriveServer) -> None:
    server.offer(session())
    with pytest.raises(InvalidStatus, match="404"), connect(f"ws://127.0.0.1:{server.port}/x"):
        pass


def test_the_oldest_drives_are_forgotten(server: DriveServer) -> None:
    first = server.offer(session())
    for _ in range(MOST):
        server.offer(session())
    with pytest.raises(InvalidStatus, match="404"), connect(first):
        pass


def test_a_taken_port_is_replaced_by_a_free_one(server: DriveServer) -> None:
    other = DriveServer(server.port)
    assert other.port != server.port
    other.close()
