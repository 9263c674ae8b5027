"""`we.rank` in a notebook: live objects wherever an address is, results as tables."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import worldeval as we
from worldeval.policy.builtin import Zero

QUIET: dict[str, Any] = {"progress": False}


class Mine(Zero):
    """A policy of a notebook."""

    def __init__(self) -> None:
        super().__init__(action_dim=8)

    @property
    def spec(self) -> we.PolicySpec:
        return we.PolicySpec(name="mine", lineage="mine", step=0, views=(), action_dim=8, chunk=2)


class Broken(Mine):
    def act(self, observation: we.Observation):
        raise ZeroDivisionError("out of ideas")


def test_the_five_lines_of_the_readme(toy: Path, tmp_path: Path) -> None:
    my_policy = Mine()
    world, judge = we.load_world("toy/world"), we.load_judge("toy/judge")
    starts = we.load_starts("toy/starts.h5")
    result = we.rank(["toy/policies/a/step-*", my_policy], world, judge, starts, horizon=3, **QUIET)
    assert sorted(result.policies["policy"]) == ["a/step-1", "a/step-2", "mine"]
    first = result.policies.iloc[0]
    assert first["low"] <= first["predicted"] <= first["high"] and first["rank"] == 1
    assert len(result.episodes) == 3 * 6 and result.agreement is None and result.gates is None
    assert result.findings[0].code == "no_paired_truth"
    assert len(result.plot().axes) == 1
    assert result.save(tmp_path / "mine") == tmp_path / "mine"
    again = we.open_run(tmp_path / "mine")
    pd.testing.assert_frame_equal(again.episodes, result.episodes)
    assert list(again.policies["predicted"]) == list(result.policies["predicted"])


def test_the_table_stands_below_its_caveat(toy: Path) -> None:
    result = we.open_run("toy/run")
    text, page = repr(result), result._repr_html_()
    assert text.startswith("NOT A RANKING") and "a/step-1" in text
    assert page.index("NOT A RANKING") < page.index("<table")


def test_live_and_by_address_come_to_the_same(toy: Path, tmp_path: Path) -> None:
    given = ("toy/policies/b/step-1", "toy/world", "toy/judge", "toy/starts.h5")
    here = we.rank(*given, horizon=3, **QUIET).episodes
    there = we.rank(*given, horizon=3, out=tmp_path / "run", jobs=1, **QUIET).episodes
    np.testing.assert_allclose(here["score"], there["score"], atol=1e-4)
    assert list(here["start"]) == list(there["start"])


def test_with_out_objects_are_refused_and_nothing_is_left(toy: Path, tmp_path: Path) -> None:
    world, out = we.load_world("toy/world"), tmp_path / "run"
    with pytest.raises(we.UserError, match="world and policies must be given by address"):
        we.rank(Mine(), world, "toy/judge", "toy/starts.h5", out=out, **QUIET)
    assert not out.exists()


def test_an_error_of_a_live_policy_is_raised_and_leaves_no_folder(toy: Path, monkeypatch) -> None:
    import tempfile

    made: list[str] = []
    make = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **k: made.append(make(**k)) or made[-1])
    with pytest.raises(ZeroDivisionError, match="out of ideas"):
        we.rank(Broken(), "toy/world", "toy/judge", "toy/starts.h5", horizon=3, **QUIET)
    assert made and not os.path.exists(made[0])


def test_with_out_it_goes_on_where_it_stopped(toy: Path, tmp_path: Path) -> None:
    given = {"horizon": 3, "out": tmp_path / "run", "jobs": 1, **QUIET}
    few = we.load_starts("toy/starts.h5", per_task=1)
    models = ("toy/world", "toy/judge")
    assert len(we.rank("toy/policies/b/step-1", *models, few, **given).episodes) == 2
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/imagined").iterdir()}
    assert len(we.rank("toy/policies/b/step-1", *models, "toy/starts.h5", **given).episodes) == 6
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_other_starts_of_the_same_names_are_refused(toy: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    given = {"horizon": 3, "out": tmp_path / "run", "jobs": 1, **QUIET}
    starts = we.load_starts("toy/starts.h5", per_task=1)
    models = ("toy/policies/b/step-1", "toy/world", "toy/judge")
    we.rank(*models, starts, **given)
    other = [replace(start, pose=start.pose + 1) for start in starts]
    with pytest.raises(we.UserError, match="another start 'left-0'"):
        we.rank(*models, other, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"policies": "toy/policies/a/step-*"}, "world= must be given, such as 'models/latent'"),
        ({"policies": [Mine(), Mine()]}, "Two policies are named 'mine'"),
        ({"policies": "toy/policies/c/step-*"}, "No checkpoint matches"),
        ({"policies": Mine(), "settings": {"batch": "far"}}, "'batch' is 'far'"),
        ({"policies": Mine(), "allocate": "halvin"}, "Did you mean 'halving'"),
        ({"policies": Mine(), "jobs": 2}, "Give a run folder as out="),
        ({"policies": Mine(), "truth": True}, "needs their addresses"),
    ],
)
def test_mistakes_are_one_line(toy: Path, given: dict, said: str) -> None:
    models = {"world": "toy/world", "judge": "toy/judge"}
    if given["policies"] == "toy/policies/a/step-*":
        models.pop("world")
    with pytest.raises(we.UserError, match=said) as caught:
        we.rank(starts="toy/starts.h5", **models, **given, **QUIET)
    assert "\n" not in str(caught.value)


def test_where_the_world_came_from_is_kept_unless_it_was_changed(toy: Path) -> None:
    import torch

    world = we.load_world("toy/world")
    given = (Mine(), world, "toy/judge", "toy/starts.h5")
    kept = we.rank(*given, horizon=2, **QUIET).summary
    assert kept is not None and kept.world is not None and kept.world.folder == "toy/world"
    with torch.no_grad():
        next(world.parameters()).add_(1.0)
    changed = we.rank(*given, horizon=2, **QUIET).summary
    assert changed is not None and changed.world is not None
    assert (changed.world.folder, changed.world.hash) == ("", "")


def test_real_trials_give_agreement_and_its_columns(toy: Path, tmp_path: Path) -> None:
    lines = ["policy,task,start,success"]
    for place, policy in enumerate(("a/step-1", "a/step-2", "b/step-1")):
        for task in ("left", "right"):
            lines += [f"{policy},{task},{task}-{s},{int(s >= place)}" for s in range(3)]
    (tmp_path / "real.csv").write_text("\n".join(lines))
    result = we.rank(
        "toy/policies", "toy/world", "toy/judge", "toy/starts.h5",
        horizon=3, real=tmp_path / "real.csv", **QUIET,
    )  # fmt: skip
    rates = result.policies.set_index("policy")["measured"]
    assert rates.round(2).to_dict() == {"a/step-1": 1.0, "a/step-2": 0.67, "b/step-1": 0.33}
    assert result.agreement is not None and {"pearson", "mmrv"} <= set(result.agreement.index)
    assert set(result.episodes["success"]) == {0, 1}
    assert result.summary is not None and result.summary.compared_with == "real trials"
    assert "measured" in repr(result)
    assert len(result.plot().axes[0].get_legend_handles_labels()[1]) == 2


def test_saving_over_something_is_refused(toy: Path, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(we.UserError, match="is not empty"):
        we.open_run("toy/run").save(tmp_path)


def test_names_like_markup_come_through(toy: Path) -> None:
    class Odd(Mine):
        @property
        def spec(self) -> we.PolicySpec:
            return we.PolicySpec(
                name="[red]<b>$x$ [/home]", lineage="m", step=0, views=(), action_dim=8, chunk=2
            )

    result = we.rank(Odd(), "toy/world", "toy/judge", "toy/starts.h5", horizon=2, **QUIET)
    assert "[red]<b>$x$ [/home]" in repr(result)
    assert "&lt;b&gt;$x$ [/home]" in result._repr_html_()
    result.plot().canvas.draw()
