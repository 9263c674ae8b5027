"""Jobs in processes of their own: what they say, how they end, what they cannot do to others."""

import os
import sys
import time
from collections import deque
from typing import Any

import pytest

from worldeval.errors import UserError
from worldeval.policy.pulse import waiting
from worldeval.rollout.apart import Say, run_apart


def work(job: str, say: Say) -> None:
    say(f"{job} begins")
    if job == "exits":
        sys.exit(3)
    if job == "leaves":
        os._exit(3)
    if job == "hangs":
        with waiting():
            time.sleep(1000)
    if job == "mistaken":
        raise UserError("no such thing")
    say(f"{job} is done")


def done(*jobs: str, again: str = "") -> tuple[list[str], dict[str, str | None]]:
    heard: list[str] = []
    ends: dict[str, Any] = {}
    left = deque(jobs)

    def ended(job: str, error: str | None) -> None:
        ends[job] = error
        if again and error:
            left.append(again)

    run_apart(
        left,
        work,
        processes=2,
        policy_timeout=1.0,
        heard=lambda _, said: heard.append(said),
        ended=ended,
    )
    return heard, ends


def test_every_job_ends_and_says_how() -> None:
    heard, ends = done("well", "exits", "leaves", "hangs")
    assert "well is done" in heard and "leaves begins" in heard
    assert ends["well"] is None
    assert ends["exits"] == "the policy raised SystemExit(3)"
    assert ends["leaves"] == "a process ended with status 3"
    assert str(ends["hangs"]).startswith("the policy did not answer within 1 s")


def test_what_is_left_of_a_job_can_be_given_again() -> None:
    assert done("leaves", again="well")[1] == {
        "leaves": "a process ended with status 3",
        "well": None,
    }


def test_a_mistake_of_the_users_is_raised_here() -> None:
    with pytest.raises(UserError, match="no such thing"):
        done("mistaken")
