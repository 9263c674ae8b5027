"""Several policies on one port: found by globs, loaded when asked for, dropped for room."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serve.test_policy import observation, remote
from tests.support.serving import Echo, serving
from worldeval.errors import UserError
from worldeval.policy.load import expand
from worldeval.serve.policy import PolicyService
from worldeval.serve.shelf import PolicyOffer, PolicyShelf, offers


class Heavy(Echo):
    """An Echo with weights of so many megabytes."""

    def __init__(self, name: str, megabytes: int) -> None:
        import torch

        super().__init__(name=name)
        self.network = torch.nn.Linear(megabytes * 2**18 - 1, 1)


def shelf(**how: Any) -> tuple[PolicyShelf, list[str]]:
    loaded: list[str] = []

    def load(ref: str) -> Heavy:
        loaded.append(ref)
        return Heavy(ref, 4)

    offered = [PolicyOffer(name=f"run/{ref}", ref=ref) for ref in ("one", "two", "three")]
    return PolicyShelf(offered, load=load, **how), loaded


def test_one_address_names_them_all_and_each_is_loaded_when_it_is_asked_for() -> None:
    service, loaded = shelf()
    with serving(service) as (url, _):
        refs = expand([f"{url}/*?timeout=9"])
        assert refs == [f"{url}/run/{name}?timeout=9" for name in ("one", "two", "three")]
        assert expand([f"{url}/run/t*"]) == [f"{url}/run/two", f"{url}/run/three"]
        assert loaded == []
        policy = remote(refs[1])
        assert policy.spec.name == "two" and loaded == ["two"]
        policy.reset(("a",), (3,))
        assert policy.act(observation(1)).shape == (1, 2, 8)
        policy.close()
        with pytest.raises(UserError, match=r"no policy 'run/twoo'.*Did you mean 'run/two'"):
            remote(f"{url}/run/twoo")
        with pytest.raises(UserError, match=r"has no policy 'x\*'. It has: run/one"):
            expand([f"{url}/x*"])


def test_what_no_session_uses_makes_room() -> None:
    service, loaded = shelf(megabytes=9)
    services = {name: service.at(f"/run/{name}") for name in ("one", "two")}
    session = services["one"].session()
    service.at("/run/three")
    assert set(service.loaded) == {"one", "three"}  # two was used longer ago than nobody's
    more = service.at("/run/three").session()
    with pytest.raises(
        UserError, match="two needs 4 MB in addition to 8 MB of policies in use, but 9 MB are"
    ):
        service.at("/run/two")
    del more, session
    service.at("/run/two")
    assert loaded == ["one", "two", "three", "two", "two"]


def test_a_server_of_one_offers_no_list() -> None:
    with (
        serving(PolicyService(Echo())) as (url, _),
        pytest.raises(UserError, match="does not list its policies"),
    ):
        expand([f"{url}/*"])


def test_names_are_told_without_loading(tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / "bc" / f"step-{step}").mkdir(parents=True)
        (tmp_path / "bc" / f"step-{step}" / "policy.json").write_text("{}")
    found = offers([str(tmp_path / "bc"), "zero", "random?name=wild"])
    assert [one.name for one in found] == ["bc/step-1", "bc/step-2", "zero", "wild"]
    with pytest.raises(UserError, match="Two policies are called 'zero'"):
        offers(["zero", "zero?chunk=2"])


def test_a_policy_that_hangs_or_exits_does_not_end_the_server() -> None:
    over = threading.Event()

    class Unruly(Echo):
        def act(self, observation):
            if observation.tasks[0] == "aa":
                over.wait(30)
            if observation.tasks[0] == "exit":
                raise SystemExit(0)
            return super().act(observation)

    with serving(PolicyService(Unruly()), answer=0.5) as (url, server):
        for task, said in (("aa", "no answer within 0.5 s"), ("exit", r"SystemExit\(0\)")):
            policy = remote(f"{url}?timeout=4")
            seen = observation(1)
            seen = replace(seen, tasks=(task,))
            policy.reset((task,), (0,))
            with pytest.raises(UserError, match=said):
                policy.act(seen)
            policy.close()
        well = remote(url)
        well.reset(("well",), (0,))
        seen = replace(observation(1), tasks=("well",))
        np.testing.assert_array_equal(well.act(seen)[0, 0, 6:], [0, 1])
        well.close()
        assert server.stuck
        over.set()
