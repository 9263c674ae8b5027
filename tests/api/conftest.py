"""A toy laboratory in which the examples of the documentation run, in seconds."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from toy_run import make_run

from tests.support.toy import toy_recipe, toy_shards


@pytest.fixture(scope="session")
def laboratory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `toy/`: world model, judge, policies, starts, data, recipes and a run."""
    import worldeval as we

    home = tmp_path_factory.mktemp("laboratory")
    toy = home / "toy"
    make_run(toy, policies=("a/step-1", "a/step-2", "b/step-1"), starts=3, horizon=3)
    toy_shards(toy / "data", episodes=4)
    model = yaml.safe_load(yaml.safe_dump(_plain(asdict(toy_recipe(steps=2)))))
    (toy / "model.yaml").write_text(yaml.safe_dump({"kind": "latent", **model}))
    policy = {
        "kind": "bc",
        "validation_per_task": 1,
        "demos": [{"sources": ["expert*"]}],
        "trainer": {"steps": 2, "batch": 4, "warmup": 1, "save_at": [2]},
    }
    (toy / "policy.yaml").write_text(yaml.safe_dump(policy))
    we.rank(
        str(toy / "policies/a/step-*"), toy / "world", toy / "judge", toy / "starts.h5",
        horizon=3, out=toy / "run", jobs=1, progress=False,
    )  # fmt: skip
    return home


@pytest.fixture
def toy(laboratory: Path) -> Iterator[Path]:
    """The laboratory as the working folder; gives `toy`."""
    before = Path.cwd()
    os.chdir(laboratory)
    try:
        yield Path("toy")
    finally:
        os.chdir(before)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
