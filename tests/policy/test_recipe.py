import pytest

from worldeval import recipe as recipes
from worldeval.config import build
from worldeval.errors import UserError
from worldeval.policy.recipe import PolicyRecipe, PolicySetRecipe

SETS = ("policies-weak", "policies-dev", "policies-test")


def test_a_lineage_changes_only_what_it_names() -> None:
    raw = {
        "policy": {"trainer": {"steps": 50, "batch": 8}, "fold": [1, 3]},
        "lineages": [{"name": "a", "seed": 1, "change": {"trainer": {"save_at": [10, 50]}}}],
    }
    config = build(PolicySetRecipe, raw, where="test")
    recipe = config.recipe(config.lineages[0])
    assert recipe.trainer.checkpoints == (10, 50)
    assert (recipe.trainer.steps, recipe.trainer.batch, recipe.fold) == (50, 8, (1, 3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer": {"stepss": 3}}, "Did you mean 'steps'"),
        ({"trainer": {"save_at": [9999]}}, "save_at"),
        ({"head": "forest"}, "head"),
        ({"fold": [3, 3]}, "index < count"),
    ],
)
def test_a_wrong_change_is_refused_when_read(change: dict[str, object], said: str) -> None:
    raw = {"lineages": [{"name": "odd", "seed": 1, "change": change}]}
    with pytest.raises(UserError, match=said):
        build(PolicySetRecipe, raw, where="test")


def test_the_shipped_sets_share_neither_demonstrations_nor_seeds() -> None:
    configs = [recipes.load(name, "policy").config for name in SETS]
    lineages = [lineage for config in configs for lineage in config.lineages]
    assert len({lineage.seed for lineage in lineages}) == len(lineages)
    assert len({lineage.name for lineage in lineages}) == len(lineages)
    folds = [{config.recipe(lineage).fold for lineage in config.lineages} for config in configs]
    assert folds == [{(0, 3)}, {(1, 3)}, {(2, 3)}]


def test_the_test_set_holds_lineages_of_both_groups() -> None:
    config = recipes.load("policies-test", "policy").config
    misleads = [lineage.misleads for lineage in config.lineages]
    assert sum(misleads) >= 3
    assert len(misleads) - sum(misleads) >= 3
    kept = sum(len(config.recipe(lineage).trainer.checkpoints) for lineage in config.lineages)
    assert kept >= 20


def test_a_flow_recipe_is_a_flow_policy(tmp_path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: flow\ntrainer: {steps: 3}\n")
    config = recipes.load(str(path), "policy").config
    assert isinstance(config, PolicyRecipe)
    assert config.head == "flow"
