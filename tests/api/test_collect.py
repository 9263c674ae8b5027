"""Roll-outs are recorded in a simulator straight into the format that is wanted."""

from pathlib import Path

import pytest
import yaml

from tests.support import parting
from worldeval.api.collect import collect_dataset
from worldeval.data.source import open_source
from worldeval.errors import UserError

RECIPE = {
    "kind": "rollouts", "tasks": ["go"], "policies": ["zero?action_dim=1&chunk=2"], "episodes": 2,
    "first_seed": 4, "switched": 0.0, "horizon": 3,
}  # fmt: skip


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return str(path)


def test_rollouts_are_written_as_lerobot(recipe: str, tmp_path: Path) -> None:
    settings = {"truth.env": f"{Path(parting.__file__)}:TrackEnv", "truth.k": 1}
    made = collect_dataset(recipe, tmp_path / "made", settings=settings, jobs=1, to="lerobot")
    found = open_source(tmp_path / "made")
    assert found.spec.format.startswith("lerobot")
    assert (made.episodes, made.success) == (2, {"go": 0.0})
    assert [head.success for head in found.heads] == [False, False]
    assert {head.source for head in found.heads} == {"zero"}
    assert found.rows(1).pose[:, 0].tolist() == pytest.approx([0.05] * 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "mine.yaml"]


def test_what_is_there_is_not_replaced(recipe: str, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with pytest.raises(UserError, match="already exists"):
        collect_dataset(recipe, tmp_path / "made", settings={"truth.env": "a"}, to="lerobot")
    with pytest.raises(UserError, match=r"Unknown output format 'lerobt'.*Did you mean"):
        collect_dataset(recipe, tmp_path / "made", settings={"truth.env": "a"}, to="lerobt")
