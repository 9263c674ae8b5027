"""`worldeval doctor` and `worldeval recipes`."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from worldeval import cli, recipe
from worldeval.api import doctor, recipes
from worldeval.errors import UserError

DATASET = """
kind: metaworld
summary: Two tasks.
tasks: [a, b]
drivers: [{name: expert, share: 1}]
"""


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["worldeval", *words])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.fixture
def shelves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipe folders of its own, holding the dataset recipe `toy`."""
    for folder in set(recipe.FOLDERS.values()):
        (tmp_path / folder).mkdir()
    (tmp_path / "datasets/toy.yaml").write_text(DATASET)
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    return tmp_path


def test_recipes_are_listed_with_the_weights_beside_them(
    shelves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shelves / "models/tiny.yaml").write_text("kind: latent\nsummary: Tiny.\n")
    tensors = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float16)}
    save_file(tensors, shelves / "models/tiny.safetensors")
    assert run(monkeypatch, "recipes", "--json") == 0
    model, dataset = json.loads(capsys.readouterr().out)
    assert model == {
        "kind": "model",
        "name": "tiny",
        "family": "latent",
        "summary": "Tiny.",
        "parameters": 10,
        "weights": "shipped",
    }
    assert (dataset["kind"], dataset["name"], dataset["weights"]) == ("dataset", "toy", "none")
    assert run(monkeypatch, "recipes", "--kind", "model", "--json") == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["tiny"]


def test_a_model_without_weights_is_counted_where_machines_read_the_list(
    shelves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its recipe: twice as wide is larger by what can be counted by hand."""
    actuation = "actuation: {scale: 0.01}"
    for width in (32, 64):
        (shelves / f"models/wide-{width}.yaml").write_text(
            f"kind: latent\nwidth: {width}\ndepth: 0\n{actuation}\n"
        )
    assert {row.parameters for row in recipes.list_recipes()} == {
        None
    }  # the table does not wait for it
    assert run(monkeypatch, "recipes", "--kind", "model", "--json") == 0
    small, large = (row["parameters"] for row in json.loads(capsys.readouterr().out))
    latent, condition = 2 * 16 * 8 * 8, 128
    # Stem and head, place of the condition, three biases and a norm; the mix of four frames.
    more = 32 * (2 * latent + condition + 5) + 4 * (64**2 - 32**2)
    assert large - small == more
    monkeypatch.setattr(recipe, "load", refuse)
    assert {row.parameters for row in recipes.list_recipes(count=True)} == {None}


def refuse(*args: object) -> None:
    raise UserError("a package is missing")


def test_weights_may_lie_in_a_folder_or_where_the_recipe_says(shelves: Path) -> None:
    elsewhere = shelves / "mine.safetensors"
    save_file({"a": np.zeros(5, np.float32)}, elsewhere)
    (shelves / "models/far.yaml").write_text(f"kind: latent\nweights: {elsewhere}\n")
    (shelves / "models/near.yaml").write_text("kind: latent\n")
    (shelves / "models/near/deep").mkdir(parents=True)
    for part in ("one", "deep/two"):
        save_file({"a": np.zeros(7, np.float32)}, shelves / f"models/near/{part}.safetensors")
    found = {row.name: (row.parameters, row.weights) for row in recipes.list_recipes()}
    assert found["far"] == (5, "local")
    assert found["near"] == (14, "shipped")


def test_a_world_that_was_trained_here_is_local_and_its_folds_are_not_counted(
    shelves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (shelves / "models/tiny.yaml").write_text("kind: latent\n")
    for part in ("dynamics", "fold-0/dynamics"):
        file = tmp_path / f"runs/world/tiny/{part}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file({"a": np.zeros((3, 4), np.int8), "a.scale": np.zeros((3, 1), np.float32)}, file)
    (found,) = [row for row in recipes.list_recipes() if row.kind == "model"]
    assert (found.parameters, found.weights) == (12, "local")


def test_a_broken_weights_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(b"version https://git-lfs.github.com")
    with pytest.raises(UserError, match=r"x\.safetensors is not a safetensors file"):
        recipes.parameters(file)


def test_show_prints_the_resolved_recipe(
    shelves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "recipes", "show", "toy") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["tasks"] == ["a", "b"]
    assert shown["horizon"] == 30  # a default
    copy = shelves / "copy.yaml"
    assert run(monkeypatch, "recipes", "show", "toy", "--out", str(copy)) == 0
    assert recipe.load(str(copy), "dataset").config == recipe.load("toy", "dataset").config
    capsys.readouterr()
    assert run(monkeypatch, "recipes", "show", str(copy), "--json") == 0
    assert json.loads(capsys.readouterr().out)["content"] == shown


def test_show_asks_which_of_two_kinds_is_meant(
    shelves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (shelves / "evaluation").mkdir(exist_ok=True)
    (shelves / "evaluation/toy.yaml").write_text("kind: closed-loop\n")
    assert run(monkeypatch, "recipes", "show", "toy") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "'toy' is the name of a dataset and a protocol recipe." in said
    assert "Give --kind dataset or --kind protocol." in said
    assert run(monkeypatch, "recipes", "show", "toy", "--kind", "dataset") == 0
    assert "tasks" in yaml.safe_load(capsys.readouterr().out)


def test_show_answers_a_wrong_name_or_kind_with_the_nearest(
    shelves: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "recipes", "show", "toi") == 2
    assert "Did you mean 'toy'?" in capsys.readouterr().err
    assert run(monkeypatch, "recipes", "--kind", "datset") == 2
    assert "Did you mean 'dataset'?" in capsys.readouterr().err


def test_the_doctor_says_what_is_here_and_what_to_do_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fine = doctor.SystemCheck(name="python", ok=True, found="3.11.2")
    gone = doctor.SystemCheck(
        name="lpips", ok=False, found="missing", todo="pip install 'x[sim]'", required=False
    )
    monkeypatch.setattr(doctor, "checks", lambda: iter([fine, gone]))
    assert run(monkeypatch, "doctor") == 0
    assert "'x[sim]'" in capsys.readouterr().out
    needed = doctor.SystemCheck(name="av", ok=False, found="missing", todo="pip install worldeval")
    monkeypatch.setattr(doctor, "checks", lambda: iter([fine, needed]))
    assert run(monkeypatch, "doctor", "--json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [check["name"] for check in answer["checks"]] == ["python", "av"]


def test_the_doctor_finds_the_declared_packages_and_a_working_codec() -> None:
    lines = {check.name: check for check in doctor._packages()}
    assert lines["numpy"].found == np.__version__
    assert not lines["extra dev"].required
    assert "extra all" not in lines
    assert doctor._video().ok


def test_the_doctor_reports_why_code_failed() -> None:
    assert doctor._run("pass") is None
    assert doctor._run("raise SystemExit('the image is blank')") == "the image is blank"
    assert doctor._run("import os; os._exit(3)") == "ended with status 3"


def test_missing_recipes_are_told(shelves: Path) -> None:
    check = doctor._recipes()
    assert not check.ok
    assert "1 dataset" in check.found
    (shelves / "datasets/toy.yaml").write_text("a: [")
    assert "not readable YAML" in doctor._recipes().found


def test_the_doctor_says_whether_a_recipe_fits_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ("doctor", "--fit", "rssm-droid")
    assert run(monkeypatch, *fit, "--memory", "24GiB", "--tflops", "165", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["take_rows"] == found["recipe_batch"]
    taken = [row for row in found["imagination"] if row["batch"] == found["take_episodes"]]
    assert taken[0]["fits"]
    assert run(monkeypatch, *fit, "--memory", "0.5GiB", "--tflops", "165") == 1
    said = capsys.readouterr().out
    assert "does not fit" in said
    assert "Computed, not measured" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gpu", "H100"), "--gpu needs --fit RECIPE"),
        (("--fit", "rssm-droid", "--gpu", "H1OO"), "is not known"),
        (("--fit", "rssm-droid", "--memory", "24GiB"), "both --memory and --tflops"),
        (("--fit", "rssm-droid"), "There is no GPU here"),
        (("--fit", "rssm-droit", "--gpu", "H100"), "rssm-droid"),
        (("--fit", "rssm-droid", "--gpu", "H100", "--sampler-steps", "2"), "no such sampler"),
    ],
)
def test_a_fit_that_cannot_be_computed_says_why(
    words: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run(monkeypatch, "doctor", *words) == 2
    assert said in " ".join(capsys.readouterr().err.split())
