from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldeval.data.convert import convert
from worldeval.data.source import open_source
from worldeval.data.table import RecordedEpisodes, read_table
from worldeval.errors import UserError
from worldeval.policy.demos import choose, corrupt, gather, reserve
from worldeval.policy.recipe import DemoGroup, LabelRecipe, PolicyRecipe
from worldeval.policy.validation import validation_demos


def test_groups_draw_by_source_and_success(shards: RecordedEpisodes) -> None:
    recipe = PolicyRecipe(
        demos=(
            DemoGroup(sources=("expert", "expert-n*"), per_task=3),
            DemoGroup(sources=("expert-displaced",), success=False, per_task=2),
        )
    )
    chosen = shards.episodes.loc[choose(shards, recipe, np.random.default_rng(0))]
    assert (chosen.groupby("task").size() == 5).all()
    assert set(chosen[chosen["success"] == 0]["source"]) == {"expert-displaced"}
    assert set(chosen[chosen["success"] == 1]["source"]) <= {"expert", "expert-noise"}


def test_validation_demonstrations_are_never_imitated(shards: RecordedEpisodes) -> None:
    held_out = reserve(shards, 3)
    assert (shards.episodes.loc[held_out].groupby("task").size() == 3).all()
    assert set(shards.episodes.loc[held_out, "source"]) == {"expert"}
    recipe = PolicyRecipe(demos=(DemoGroup(sources=("*",), success=None),), validation_per_task=3)
    chosen = choose(shards, recipe, np.random.default_rng(0))
    assert set(chosen).isdisjoint(held_out)
    assert len(chosen) + len(held_out) == len(shards)


def test_folds_split_the_demonstrations(shards: RecordedEpisodes) -> None:
    group = (DemoGroup(sources=("*",), success=None),)
    parts = [
        set(choose(shards, PolicyRecipe(demos=group, fold=(i, 2)), np.random.default_rng(0)))
        for i in (0, 1)
    ]
    whole = set(choose(shards, PolicyRecipe(demos=group), np.random.default_rng(0)))
    assert parts[0].isdisjoint(parts[1])
    assert parts[0] | parts[1] == whole
    assert all(parts)


def test_unknown_source_is_an_error_that_helps(shards: RecordedEpisodes) -> None:
    recipe = PolicyRecipe(demos=(DemoGroup(sources=("expert-slowed",)),))
    with pytest.raises(UserError, match="Did you mean 'expert-slow'"):
        choose(shards, recipe, np.random.default_rng(0))


def test_a_known_source_without_demonstrations_is_not_asked_for_again(
    shards: RecordedEpisodes,
) -> None:
    recipe = PolicyRecipe(demos=(DemoGroup(sources=("expert-displaced",), success=True),))
    with pytest.raises(UserError, match="episodes of 'expert-displaced', 0 succeeded"):
        choose(shards, recipe, np.random.default_rng(0))


def test_samples_stop_soon_after_success_and_chunks_repeat_the_last_action(
    shards: RecordedEpisodes,
) -> None:
    demos = gather(shards, [0], ("top",), chunk=3, after_success=1)
    assert len(demos) == 10  # success at frame 8, and one frame more
    assert demos.frames.shape == (10, 1, 32, 32, 3)
    assert demos.actions.shape == (10, 3, 8)
    failed = int(np.flatnonzero(shards.episodes["success"].to_numpy() == 0)[0])
    whole = gather(shards, [failed], ("side", "top"), chunk=3, after_success=1)
    assert len(whole) == 11  # the last frame has no action
    np.testing.assert_array_equal(whole.actions[-1, 2], shards.actions[shards.rows(failed)][10])


def test_corruptions_are_what_they_say() -> None:
    rng = np.random.default_rng(0)
    actions = np.full((500, 2, 8), 0.4, np.float32)
    labels = LabelRecipe(scale=0.5, bias=(0.1, 0.0, -0.1, 0.0))
    told = corrupt(actions, labels, rng)
    np.testing.assert_allclose(told[0, 0], [0.3, 0.2, 0.1, 0.2] * 2, atol=1e-6)
    noisy = corrupt(actions, LabelRecipe(noise=0.1), rng)
    assert abs(noisy.std() - 0.1) < 0.01
    np.testing.assert_array_equal(corrupt(actions, LabelRecipe(), rng), actions)
    with pytest.raises(UserError, match="does not divide"):
        corrupt(actions, LabelRecipe(bias=(0.1, 0.1, 0.1)), rng)


def test_corruptions_are_in_half_ranges_and_stay_within_bounds() -> None:
    actions = np.full((4, 1, 2), 100.0, np.float32)
    low, high = np.array([0.0, 0.0], np.float32), np.array([512.0, 110.0], np.float32)
    labels = LabelRecipe(bias=(0.1, 1.0))
    told = corrupt(actions, labels, np.random.default_rng(0), low=low, high=high)
    np.testing.assert_allclose(told[0, 0], [125.6, 110.0], rtol=1e-6)


def test_experts_may_have_any_name(shards: RecordedEpisodes) -> None:
    assert set(shards.episodes.loc[reserve(shards, 3, ("expert-slow",)), "source"]) == {
        "expert-slow"
    }
    with pytest.raises(UserError, match=r"validation_sources.*"):
        validation_demos(shards, 3, ("planner",))


@pytest.mark.parametrize("to", ["lerobot", "robomimic"])
def test_demonstrations_in_a_format_of_somebody_else(
    folder: Path, shards: RecordedEpisodes, tmp_path: Path, to: str
) -> None:
    out = tmp_path / ("set.hdf5" if to == "robomimic" else "set")
    convert(open_source(folder), out, to=to)
    theirs, recipe = read_table(out), PolicyRecipe(validation_per_task=2)
    chosen = [choose(data, recipe, np.random.default_rng(0)) for data in (shards, theirs)]
    assert chosen[0].tolist() == chosen[1].tolist()
    ours, other = (
        gather(data, chosen[0], ("top",), chunk=2, after_success=9) for data in (shards, theirs)
    )
    assert np.array_equal(ours.actions, other.actions) and ours.episodes == other.episodes


def unlabelled(folder: Path) -> RecordedEpisodes:
    """The same episodes, of which nobody says who drove or what came of it."""
    source = open_source(folder)
    source.heads = [replace(head, success=None, source="") for head in source.heads]
    return RecordedEpisodes([source])


def test_data_without_success_labels_need_a_recipe_that_asks_for_none(folder: Path) -> None:
    data, rng = unlabelled(folder), np.random.default_rng(0)
    with pytest.raises(UserError, match=r"no episode has a success label.*success: null"):
        choose(data, PolicyRecipe(), rng)
    recipe = PolicyRecipe(demos=(DemoGroup(success=None),), validation_per_task=2)
    assert len(reserve(data, 2)) == 4
    assert len(choose(data, recipe, rng)) == len(data) - 4
