"""Addresses on the Hugging Face Hub, with a stand-in for the hub: nothing is downloaded here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from toy_run import make_run
from typer.testing import CliRunner

import worldeval as we
from tests.support.fake_hub import COMMIT, FakeHub
from tests.support.fake_hub import fake_hub as fake_hub
from tests.support.toy import toy_shards
from worldeval import hub
from worldeval.cli import app
from worldeval.data.weighted import read_weighted
from worldeval.errors import UserError
from worldeval.policy.load import expand


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("lab")
    make_run(home, policies=["a/step-1", "a/step-2"], starts=2, horizon=2)
    return home


@pytest.fixture
def shelf(lab: Path, fake_hub: FakeHub) -> FakeHub:
    """A hub with the lab's parts, and a pickle and code beside them."""
    fake_hub.put("me/world", lab / "world")
    fake_hub.put("me/lab", lab)
    (fake_hub.home / "models/me/world/weights.pt").write_bytes(b"a pickle")
    (fake_hub.home / "models/me/world/run.py").write_text("raise SystemExit")
    return fake_hub


@pytest.mark.parametrize(
    "address", ["hf:me", "hf:me/world@", "hf:me/world/../../etc", "hf:/me/world", "hf:me/world:1"]
)
def test_a_malformed_address_is_refused(shelf: FakeHub, address: str) -> None:
    with pytest.raises(UserError, match="not an address on the Hugging Face Hub"):
        hub.local(address)
    assert not shelf.downloads


def test_other_addresses_reach_no_hub(shelf: FakeHub, lab: Path) -> None:
    assert hub.local(str(lab)) == hub.pinned(str(lab)) == str(lab)
    we.load_world(lab / "world")
    assert not shelf.downloads
    code = "import sys, worldeval.hub, worldeval.recipe; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_world_is_downloaded_once_without_pickles_and_code(shelf: FakeHub, lab: Path) -> None:
    world = we.load_world("hf:me/world")
    assert world.spec == we.load_world(lab / "world").spec
    folder = Path(hub.local("hf:me/world"))
    assert shelf.downloads == [("me/world", None)]
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    assert hub.pinned("hf:me/world") == f"hf:me/world@{COMMIT}"
    assert hub.origin(str(folder)) == f"hf:me/world@{COMMIT}"
    assert hub.origin(str(lab)) is None


def test_a_folder_of_a_repository_and_a_revision(shelf: FakeHub) -> None:
    judge = we.load_judge("hf:me/lab@main/judge")
    assert judge.name == "learned judge of 2"
    assert shelf.downloads == [("me/lab", "main")]
    with pytest.raises(UserError, match="no folder 'gone'"):
        we.load_judge("hf:me/lab/gone")


def test_policies_by_repository_glob_and_parameters(shelf: FakeHub) -> None:
    found = expand(["hf:me/lab"])
    assert [Path(each).name for each in found] == ["step-1", "step-2"]
    assert expand(["hf:me/lab/policies/a/step-*"]) == found
    assert we.load_policy("hf:me/lab/policies/a/step-2?name=mine").spec.name == "mine"


def test_what_is_missing_is_said_in_one_line(shelf: FakeHub) -> None:
    with pytest.raises(UserError, match=r"me/gone cannot be downloaded: 404 .* not found\. Check"):
        we.load_world("hf:me/gone")


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_run_records_the_commits(
    shelf: FakeHub, lab: Path, tmp_path: Path, in_memory: bool
) -> None:
    result = we.rank(
        "hf:me/lab/policies/a/step-*", "hf:me/world", "hf:me/lab/judge", lab / "starts.h5",
        horizon=2, progress=False, **({} if in_memory else {"out": tmp_path / "run", "jobs": 1}),
    )  # fmt: skip
    assert sorted(result.policies["policy"]) == ["a/step-1", "a/step-2"]
    recipe = yaml.safe_load(result.paths.recipe.read_text())
    assert recipe["world"] == f"hf:me/world@{COMMIT}"
    assert recipe["judge"] == f"hf:me/lab@{COMMIT}/judge"
    assert recipe["policies"][0].startswith(f"hf:me/lab@{COMMIT}/policies/a/")


def test_a_dataset_is_opened_from_the_hub(fake_hub: FakeHub, tmp_path: Path) -> None:
    toy_shards(tmp_path / "data", episodes=2)
    fake_hub.put("me/data", tmp_path / "data", kind="dataset")
    assert len(we.open_dataset("hf:me/data")) == 4
    assert read_weighted("hf:me/data:0.5").weight == 0.5
    assert read_weighted("hf:me/data").open().spec.path == Path(hub.local("hf:me/data", "dataset"))


def test_a_world_is_pushed_with_a_card(fake_hub: FakeHub, lab: Path) -> None:
    done = we.push(lab / "world", "me/world", license="mit")
    assert done.address == f"hf:me/world@{COMMIT}" and COMMIT in done.url
    assert fake_hub.made == [
        {"repo": "me/world", "repo_type": "model", "private": False, "exist_ok": True}
    ]
    assert set(fake_hub.sent) == {path.name for path in (lab / "world").iterdir()} | {"README.md"}
    card = fake_hub.sent["README.md"].decode()
    head = yaml.safe_load(card.split("---")[1])
    assert head["license"] == "mit" and head["library_name"] == "worldeval"
    assert "- tasks: left, right" in card and 'we.load_world("hf:me/world")' in card
    assert not (lab / "world/README.md").exists()


def test_a_judges_card_says_what_was_validated(fake_hub: FakeHub, lab: Path) -> None:
    we.push(lab / "judge", "me/judge")
    assert "A ranking by it is a hypothesis" in fake_hub.sent["README.md"].decode()
    we.push("models/judge", "me/shipped", private=True)
    card = fake_hub.sent["README.md"].decode()
    assert "Compared with measured outcomes of" in card and "spearman" in card
    assert fake_hub.made[-1]["private"] is True


def test_what_is_pushed_can_be_used(fake_hub: FakeHub, lab: Path) -> None:
    we.push(lab / "policies", "me/policies")
    for name, content in fake_hub.sent.items():
        path = fake_hub.home / "models/me/policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert len(expand(["hf:me/policies"])) == 2
    assert "`a/step-1`, `a/step-2`" in fake_hub.sent["README.md"].decode()


def test_nothing_else_is_pushed(fake_hub: FakeHub, tmp_path: Path, lab: Path) -> None:
    with pytest.raises(UserError, match="holds no world model"):
        we.push(tmp_path, "me/nothing")
    with pytest.raises(UserError, match="Write user/name"):
        we.push(lab / "world", "world")
    assert not fake_hub.made


def test_an_export_is_pushed_as_a_dataset(fake_hub: FakeHub, toy: Path, tmp_path: Path) -> None:
    words = ["export", str(toy / "run"), str(tmp_path / "dataset"), "--push", "me/data", "--json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)
    assert json.loads(done.stdout)["pushed"] == f"hf:me/data@{COMMIT}"
    assert fake_hub.made[0]["repo_type"] == "dataset"
    assert {"README.md", "meta/info.json"} <= set(fake_hub.sent)
    assert any(name.endswith(".mp4") for name in fake_hub.sent)


def test_the_command_prints_the_address(fake_hub: FakeHub, lab: Path) -> None:
    done = CliRunner().invoke(app, ["push", str(lab / "world"), "me/world"])
    assert done.exit_code == 0 and f"Address: hf:me/world@{COMMIT}" in done.output
