"""Tokens go to the hosts that they are meant for, and are never shown."""

import sys

import pytest

from worldeval.errors import UserError
from worldeval.policy.remote.tokens import NAMED, name_hosts, token_for
from worldeval.serve.server import ServerConfig


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["worldeval", "rank", "copied.yaml"])
    monkeypatch.setenv("WORLDEVAL_TOKEN", "general")
    monkeypatch.setenv(NAMED, "")


def test_a_host_that_the_command_does_not_name_hears_no_token() -> None:
    assert token_for("ws://stranger:8000/act") == ""


@pytest.mark.parametrize(
    "given",
    ["ws://lab.org:8000?name=x", "policies=['ws://lab.org:8000']", "ws://LAB.org:8000/*"],
)
def test_what_the_command_names_hears_it(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setattr(sys, "argv", ["worldeval", "rank", "x", "--policies", given])
    assert token_for("ws://lab.org:8000/act/010000") == "general"
    for other in ("ws://lab.org:9000", "ws://lab.org.evil.com:8000", "ws://evil.com:8000/lab.org"):
        assert token_for(other) == ""


def test_a_token_can_be_bound_to_a_host_and_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDEVAL_TOKEN_LAB_ORG", "host")
    monkeypatch.setenv("WORLDEVAL_TOKEN_LAB_ORG_9000", "port")
    assert token_for("ws://lab.org:8000") == "host"
    assert token_for("wss://lab.org/x") == "host"
    assert token_for("ws://lab.org:9000") == "port"
    assert token_for("ws://other.org:8000") == ""


def test_python_names_hosts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    name_hosts(["ws://here:1?chunk=2", "runs/bc"])
    assert token_for("ws://here:1") == "general"


@pytest.mark.parametrize("secret", ["se\ncret", "sécret", "secret ", "se\x1bcret"])
def test_a_token_that_cannot_be_sent_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("WORLDEVAL_TOKEN_LAB_ORG", secret)
    for ask in (lambda: token_for("ws://lab.org"), lambda: ServerConfig(token=secret)):
        with pytest.raises(UserError, match="which cannot be sent") as caught:
            ask()
        assert secret not in str(caught.value) and "cret" not in str(caught.value)
