"""A judge behind the chat API: right answers are read, and nothing else becomes a verdict."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.chat_server import chat_server
from worldeval.errors import UserError
from worldeval.judge.vlm.answer import read_answer
from worldeval.judge.vlm.judge import VlmJudge
from worldeval.judge.vlm.pictures import caption, moments, shown
from worldeval.record import Episode

FAST = {"model": "toy", "retries": 1, "timeout": 5, "samples": 3}


def episode(*, red: bool, frames: int = 6) -> Episode:
    """An episode that ends red or green."""
    film = np.zeros((frames, 8, 8, 3), np.uint8)
    film[1:, ..., 0 if red else 1] = 255
    return Episode(
        id="e", frames={"top": film}, actions=np.zeros((frames, 2), np.float32),
        pose=np.zeros((frames, 2), np.float32), task="make it red", success=None, fps=5.0,
    )  # fmt: skip


@pytest.mark.parametrize("layout", ["grid", "sequence"])
def test_log_probabilities_are_the_probability(layout: str) -> None:
    with chat_server() as server:
        judge = VlmJudge(server.url, {**FAST, "layout": layout, "frames": 4})
        said = judge.judge([episode(red=True), episode(red=False)])
    assert [each.probability for each in said] == pytest.approx([0.8, 0.2])
    assert [each.tokens for each in said] == [100, 100] and len(server.asked) == 2
    assert said[0].reason.startswith("redness")


def test_without_log_probabilities_samples_vote() -> None:
    with chat_server("samples") as server:
        said = VlmJudge(server.url, FAST).judge([episode(red=True)])[0]
    assert said.probability == 1.0 and said.votes == (1.0, 1.0, 1.0)
    assert len(server.asked) == 4  # the first, and three samples
    assert len({request["seed"] for request in server.asked[1:]}) == 3


def test_what_the_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Did it {task}? Only if {criteria}. See {cameras}.")
    (tmp_path / "criteria.yaml").write_text("make it red: all of it is red\n")
    files = {"prompt": str(tmp_path / "prompt.txt"), "criteria": str(tmp_path / "criteria.yaml")}
    with chat_server() as server:
        VlmJudge(server.url, {**FAST, **files, "layout": "sequence"}).judge([episode(red=True)])
    parts = [part["text"] for part in server.asked[0]["messages"][0]["content"] if "text" in part]
    assert parts[0] == "Did it make it red? Only if all of it is red. See top."
    assert parts[1] == "Camera top, 0.0 s (start):" and parts[-1] == "Camera top, 1.0 s (end):"


def test_frames_are_spread_and_named() -> None:
    assert moments(31, 4) == [0, 10, 20, 30] and moments(3, 8) == [0, 1, 2]
    assert caption(0, 31, 10.0) == "0.0 s (start)" and caption(15, 31, 10.0) == "1.5 s"
    assert sum(part["type"] == "image_url" for part in
               shown(episode(red=True), count=4, layout="sequence")) == 4  # fmt: skip


@pytest.mark.parametrize("mode", ["no-schema", "no-options", "fenced", "odd-usage",
                                  "negative-usage", "nan-logprobs", "false-logprobs",
                                  "contrary-logprobs", "text-logprobs",
                                  "long-logprobs"])  # fmt: skip
def test_servers_that_know_less_are_asked_for_less(mode: str) -> None:
    with chat_server(mode) as server:
        said = VlmJudge(server.url, FAST).judge([episode(red=True)])[0]
    assert said.probability == 1.0 and said.tokens >= 0


@pytest.mark.parametrize("mode", ["prose", "two-objects", "other-word", "unsure", "cut", "half",
                                  "not-json", "empty", "list", "deep", "no-choices", "always-400",
                                  "null-content", "number-content", "two-choices", "same-key-twice",
                                  "redirect", "huge", "short-body", "hang-up",
                                  "409", "418", "422", "429", "500", "503"])  # fmt: skip
def test_what_is_no_answer_is_an_abstention(mode: str) -> None:
    with chat_server(mode) as server:
        said = VlmJudge(server.url, {**FAST, "retries": 0}).judge([episode(red=True)])[0]
    assert said.probability is None and said.reason


def test_a_server_that_never_answers_is_not_asked_for_ever() -> None:
    with chat_server("503") as server:
        judge = VlmJudge(server.url, {**FAST, "retries": 0, "concurrency": 1})
        said = judge.judge([episode(red=True)] * 30)
        assert len(server.asked) == 20 and all(each.probability is None for each in said)
        assert "none of the last 20 requests" in said[-1].reason


@pytest.mark.parametrize("mode", ["unauthorised", "unknown-model", "403"])
def test_a_wrong_key_or_model_is_told_at_once(mode: str) -> None:
    with chat_server(mode) as server, pytest.raises(UserError, match="Check the model's name"):
        VlmJudge(server.url, FAST).judge([episode(red=True)])


def test_it_asks_again_after_an_error() -> None:
    with chat_server(failures=1) as server:
        said = VlmJudge(server.url, FAST).judge([episode(red=True)])[0]
    assert said.probability == pytest.approx(0.8) and len(server.asked) == 2


def test_a_server_that_is_not_there_is_an_abstention() -> None:
    said = VlmJudge("http://127.0.0.1:9/v1", {**FAST, "retries": 0}).judge([episode(red=True)])[0]
    assert said.probability is None


def test_the_key_goes_only_to_servers_that_the_user_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDEVAL_TOKEN", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "other")
    with chat_server() as server:
        monkeypatch.setenv("WORLDEVAL_NAMED_HOSTS", "")
        VlmJudge(server.url, FAST).judge([episode(red=True)])
        monkeypatch.setenv("WORLDEVAL_NAMED_HOSTS", server.url.split("/")[2])
        judge = VlmJudge(server.url, FAST)
        judge.judge([episode(red=True)])
    assert server.keys == ["Bearer none", "Bearer secret"]
    assert "secret" not in judge.name + judge.version


def test_the_version_is_what_decides_answers(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/v1"
    one = VlmJudge(url, FAST).version
    assert VlmJudge(url, {**FAST, "timeout": 9}).version == one
    assert VlmJudge(url, {**FAST, "frames": 4}).version != one
    (tmp_path / "own.txt").write_text("{task}?")
    assert VlmJudge(url, {**FAST, "prompt": str(tmp_path / "own.txt")}).version != one


@pytest.mark.parametrize(
    ("url", "params", "text"),
    [
        ("ftp://host", FAST, "must be vlm:http://"),
        ("http://h/v1", {}, "model"),
        ("http://h/v1", {**FAST, "layout": "row"}, "choose grid or sequence"),
        ("http://h/v1", {**FAST, "frames": 1}, "frames must be 2 to 64"),
        ("http://h/v1", {**FAST, "prompt": "/nowhere"}, "cannot be read"),
        ("http://h/v1", {**FAST, "colour": 1}, "colour"),
    ],
)
def test_wrong_parameters_are_refused(url: str, params: dict, text: str) -> None:
    with pytest.raises(UserError, match=text):
        VlmJudge(url, params)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"seen": "x", "success": "yes"}', "yes"),
        ('Sure! {"success": " No "}', "no"),
        ('{"success": "yes"} {"success": "yes"}', "yes"),
    ],
)
def test_answers(text: str, word: str) -> None:
    assert read_answer(text).word == word
