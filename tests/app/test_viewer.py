# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false
"""Every page of the viewer on a full run, without runs, and on broken ones."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.support.synthetic_run import RATES
from worldeval.report.opinions import read_opinions

View = Callable[..., AppTest]
PAGES = ("ranking.py", "rollouts.py", "compare.py", "labelling.py", "gates.py", "runs.py")


def texts(test: AppTest) -> str:
    """All that the page says in plain text."""
    return "\n".join(str(each.value) for each in (*test.text, *test.markdown, *test.caption))


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_full_run(kept_runs: Path, view: View, page: str) -> None:
    test = view(kept_runs, page)
    assert test.header[0].value
    assert not test.error


@pytest.mark.parametrize("page", PAGES)
def test_every_page_says_what_to_do_without_a_run(tmp_path: Path, view: View, page: str) -> None:
    test = view(tmp_path, page)
    assert "make demo" in test.info[0].value


@pytest.mark.parametrize("page", PAGES)
def test_every_page_survives_a_broken_run(runs: Path, view: View, page: str) -> None:
    (runs / "demo/summary.json").write_text("{")
    assert "broken" in view(runs, page).error[0].value


@pytest.mark.parametrize("page", PAGES)
def test_every_page_survives_a_run_under_way(tmp_path: Path, view: View, page: str) -> None:
    (tmp_path / "new/imagined").mkdir(parents=True)
    (tmp_path / "new/imagined/a.npz").write_bytes(b"")
    (tmp_path / "new/run.json").write_text("{}")
    assert "under way" in view(tmp_path, page).info[0].value


def test_the_ranking_begins_with_its_best(kept_runs: Path, view: View) -> None:
    test = view(kept_runs)
    assert next(iter(test.dataframe[0].value["policy"])) == "bc-all@2400"
    assert "bc-all@2400 leads" in texts(test)
    assert list(test.dataframe[1].value["ranked by"])[:2] == ["Imagination", "Noise ceiling"]


def test_a_refusal_stands_on_every_page(runs: Path, view: View) -> None:
    path = runs / "demo/summary.json"
    summary = json.loads(path.read_text())
    summary["findings"] = [{"code": "x", "severity": "refusal", "text": "Far too optimistic."}]
    path.write_text(json.dumps(summary))
    for page in PAGES:
        said = view(runs, page).error[0].value
        assert "Not a ranking" in said
        # Nothing is said of policies to a person who judges without knowing them.
        assert ("Far too optimistic" in said) == (page != "labelling.py")


def test_markup_from_a_run_does_not_come_through(runs: Path, view: View) -> None:
    path = runs / "demo/summary.json"
    summary = json.loads(path.read_text())
    evil = "![x](http://example.org/a.png) <b>"
    summary["findings"] = [{"code": "x", "severity": "refusal", "text": evil}]
    path.write_text(json.dumps(summary))
    said = view(runs).error[0].value
    assert "![x](" not in said
    assert "<b>" not in said


def test_next_and_previous_go_round(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py")
    assert "1 of 5" in texts(test)
    test.button[1].click().run()
    assert "2 of 5" in texts(test)
    assert "1" in test.query_params["film"]  # a text or a list, as streamlit sees fit
    test.button[0].click().run().button[0].click().run()
    assert "5 of 5" in texts(test)


def test_a_choice_narrows_the_rollouts(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py")
    test.main.selectbox[-1].select("Imagined as success, really a failure").run()
    assert "1 of 1" in texts(test)
    assert "judged 0.93, really a failure" in texts(test)


def test_a_link_opens_its_rollout(kept_runs: Path, view: View) -> None:
    assert "4 of 5" in texts(view(kept_runs, "rollouts.py", run="demo", film="3"))


def test_the_still_follows_the_slider(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py")
    assert (test.slider[0].min, test.slider[0].max, test.slider[0].value) == (0, 12, 12)
    test.slider[0].set_value(4).run()
    assert not test.exception


@pytest.mark.parametrize("name", ["../outside", "/etc", "nothing"])
def test_a_link_to_no_run_of_the_folder_opens_the_newest(runs: Path, view: View, name: str) -> None:
    (runs.parent / "outside").mkdir()
    (runs.parent / "outside/summary.json").write_text("{}")
    test = view(runs, run=name)
    assert "There is no run" in test.warning[0].value
    assert test.sidebar.selectbox[0].value == "demo"


def test_a_film_outside_of_the_run_is_not_shown(runs: Path, view: View) -> None:
    path = runs / "demo/filmstrips/index.json"
    index = json.loads(path.read_text())
    index[0]["imagined"] = "../outcomes/imagined.csv"
    path.write_text(json.dumps(index))
    test = view(runs, "rollouts.py")
    assert "broken" in test.error[0].value
    assert "leads out of" in texts(test)


def test_two_policies_are_compared_from_the_same_starts(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "compare.py")
    test.main.selectbox[-1].select("blind").run()
    assert "told apart" in test.success[0].value
    assert len(test.dataframe[0].value) == 24


def test_labels_are_blind_kept_and_counted(runs: Path, view: View) -> None:
    test = view(runs, "labelling.py")
    test.text_input[0].set_value("ada").run()
    assert not any(policy in texts(test) for policy in RATES)
    test.button(key="success").click().run()
    test.button(key="unsure").click().run()
    kept = read_opinions(runs / "demo")
    assert [(o.who, o.label) for o in kept] == [("ada", "success"), ("ada", "unsure")]
    assert kept[0].key != kept[1].key
    assert "of 1 labels" in texts(test)


def test_nobody_without_a_name_labels(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "labelling.py")
    test.text_input[0].set_value(" ").run()
    assert "Give a name" in test.info[0].value
    assert not test.button


def test_the_list_of_runs_says_how_far_each_is(runs: Path, view: View) -> None:
    (runs / "b/imagined").mkdir(parents=True)
    (runs / "b/run.json").write_text("{}")
    table = view(runs, "runs.py").dataframe[0].value.set_index("run")
    assert dict(table["status"]) == {"demo": "ranked", "b": "under way"}
    assert dict(table["best policy"])["demo"] == "bc-all@2400"
