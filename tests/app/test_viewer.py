# pandas types a cell as anything that a table may hold.
# pyright: reportGeneralTypeIssues=false
"""Every page of the viewer on a full run, without runs, and on broken ones."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.app.conftest import MAIN
from tests.support.many_episodes import many_episodes
from tests.support.synthetic_run import RATES
from worldeval.runs.labels import read_opinions

View = Callable[..., AppTest]
PAGES = (
    "ranking.py", "rollouts.py", "compare.py", "labelling.py", "gates.py", "exporting.py",
    "runs.py",
)  # fmt: skip


def texts(test: AppTest) -> str:
    """All that the page says in plain text."""
    return "\n".join(str(each.value) for each in (*test.text, *test.markdown, *test.caption))


def every_page(test: AppTest) -> Iterator[tuple[str, AppTest]]:
    """The viewer at each of its pages in turn, without an exception on any."""
    for page in PAGES:
        test.switch_page(page).run()
        assert not test.exception, f"{page}: {test.exception[0].message}"
        yield page, test


def test_every_page_opens_on_a_full_run(kept_runs: Path, view: View) -> None:
    for page, test in every_page(view(kept_runs)):
        assert test.header[0].value, page
        assert not test.error, page


def test_every_page_says_what_to_do_without_a_run(tmp_path: Path, view: View) -> None:
    for page, test in every_page(view(tmp_path)):
        assert "make demo" in test.info[0].value, page


def test_every_page_survives_a_broken_run(runs: Path, view: View) -> None:
    (runs / "demo/summary.json").write_text("{")
    for page, test in every_page(view(runs)):
        assert "damaged" in test.error[0].value, page


def test_every_page_survives_a_run_under_way(tmp_path: Path, view: View) -> None:
    (tmp_path / "new/imagined").mkdir(parents=True)
    (tmp_path / "new/imagined/a.npz").write_bytes(b"")
    (tmp_path / "new/run.json").write_text("{}")
    for page, test in every_page(view(tmp_path)):
        assert "under way" in test.info[0].value, page


def test_the_ranking_begins_with_its_best(kept_runs: Path, view: View) -> None:
    test = view(kept_runs)
    assert next(iter(test.dataframe[0].value["policy"])) == "bc-all@2400"
    assert "bc-all@2400 leads" in texts(test)
    assert list(test.dataframe[1].value["ranked by"])[:2] == [
        "Imagination",
        "Perfect binary evaluator, same number of starts",
    ]


def test_a_refusal_stands_on_every_page(runs: Path, view: View) -> None:
    path = runs / "demo/summary.json"
    summary = json.loads(path.read_text())
    summary["findings"] = [{"code": "x", "severity": "refusal", "text": "Far too optimistic."}]
    path.write_text(json.dumps(summary))
    for page, test in every_page(view(runs)):
        said = test.error[0].value
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


def test_a_policy_with_markup_in_its_name_is_shown_as_it_is(runs: Path, view: View) -> None:
    evil = "![x](http://example.org/a.png)<b>"
    shutil.rmtree(runs / "demo/imagined")
    for name in ("imagined", "truth"):
        path = runs / f"demo/outcomes/{name}.csv"
        path.write_text(path.read_text().replace("blind", evil))
    test = view(runs, "rollouts.py")
    test.selectbox(key="of_policy").select(evil).run()
    assert "1 of 24" in texts(test)
    said = "".join(each.value for each in (*test.subheader, *test.markdown, *test.caption))
    assert "example" in said
    assert "![x](" not in said
    assert "<b>" not in said


def test_next_and_previous_go_round(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py")
    assert "1 of 120, page 1 of 15" in texts(test)
    first = test.query_params["episode"]
    test.button(key="Next").click().run()
    assert "2 of 120" in texts(test)
    assert test.query_params["episode"] != first
    test.button(key="Previous").click().run().button(key="Previous").click().run()
    assert "120 of 120, page 15 of 15" in texts(test)
    test.button(key="Page back").click().run()
    assert "112 of 120, page 14 of 15" in texts(test)


def test_a_choice_narrows_the_rollouts(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py")
    verdict = next(
        name for name in test.selectbox(key="of_verdict").options if "optimistic" in name
    )
    test.selectbox(key="of_verdict").select(verdict)
    test.selectbox(key="of_policy").select("blind").run()
    assert "1 of 1" in texts(test)
    assert "judged 0.93, measured: failure" in texts(test)
    test.selectbox(key="of_policy").select("bc-1@200").run()
    assert "Widen the choice" in test.info[0].value


def test_a_link_opens_its_rollout(kept_runs: Path, view: View) -> None:
    name = "flow-all@2000/door-open-v3-7/7"
    test = view(kept_runs, "rollouts.py", run="demo", episode=name)
    assert "door-open-v3, start door-open-v3-7, seed 7" in texts(test)


def test_a_link_to_no_rollout_says_so(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py", episode="<b>../../etc/passwd")
    assert "There is no episode" in test.warning[0].value
    assert "<b>" not in test.warning[0].value
    assert "1 of 120" in texts(test)


def test_the_still_and_the_cursor_follow_the_slider(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py", episode="bc-all@2400/drawer-open-v3-0/0")
    slider = test.slider(key="moment")
    assert (slider.min, slider.max, slider.value) == (0, 12, 12)
    slider.set_value(4).run()
    assert "World frame 4," in texts(test)
    charts = [json.loads(each.proto.spec) for each in test.get("vega_lite_chart")]
    assert len(charts) == 4  # the judge, a signal of trust, actions, poses
    for chart in charts[2:]:
        sides = {row["side"] for row in chart["layer"][0]["data"]["values"]}
        assert sides == {"imagined", "measured"}
    assert not test.exception


def test_a_rollout_without_pictures_still_shows_its_numbers(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "rollouts.py", episode="flow-all@2000/door-open-v3-7/7")
    assert "Only latents are stored" in texts(test)
    assert test.button(key="decode False").label == "Decode the frames"
    assert len(test.get("vega_lite_chart")) == 3


@pytest.mark.parametrize("name", ["../outside", "/etc", "nothing"])
def test_a_link_to_no_run_of_the_folder_opens_the_newest(runs: Path, view: View, name: str) -> None:
    (runs.parent / "outside").mkdir()
    (runs.parent / "outside/summary.json").write_text("{}")
    test = view(runs, run=name)
    assert "There is no run" in test.warning[0].value
    assert test.sidebar.selectbox[0].value == "demo"


def test_a_table_outside_of_the_runs_is_not_shown(runs: Path, view: View) -> None:
    path = runs / "demo/outcomes/imagined.csv"
    path.rename(runs.parent / "elsewhere.csv")
    path.symlink_to(runs.parent / "elsewhere.csv")
    test = view(runs, "rollouts.py")
    assert "points outside" in test.error[0].value.replace("\\", "")
    assert not test.dataframe


def test_a_film_outside_of_the_run_is_not_shown(runs: Path, view: View) -> None:
    path = runs / "demo/filmstrips/index.json"
    index = json.loads(path.read_text())
    index[0]["imagined"] = "../outcomes/imagined.csv"
    path.write_text(json.dumps(index))
    first = "bc-all@2400/drawer-open-v3-0/0"
    test = view(runs, "rollouts.py", episode=first)
    assert "damaged" in test.error[0].value
    assert "points outside" in texts(test)


def test_two_policies_are_compared_from_the_same_starts(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "compare.py")
    test.main.selectbox[-1].select("blind").run()
    assert "Statistically separated" in test.success[0].value
    assert len(test.dataframe[0].value) == 24
    assert texts(test).count("Only latents are stored") >= 1


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
    assert not any(policy in texts(test) for policy in RATES)
    assert not test.dataframe
    test.toggle(key="effect").set_value(True).run()
    moved = test.dataframe[0].value
    assert moved["labels"].sum() == 1  # 'unsure' changes nothing
    assert next(iter(moved["policy"])) == "bc-all@2400"


def test_nobody_without_a_name_labels(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "labelling.py")
    test.text_input[0].set_value(" ").run()
    assert "Enter your name" in test.info[0].value
    assert not test.button


def test_the_list_of_runs_says_how_far_each_is(runs: Path, view: View) -> None:
    (runs / "b/imagined").mkdir(parents=True)
    (runs / "b/run.json").write_text("{}")
    table = view(runs, "runs.py").dataframe[0].value.set_index("run")
    assert dict(table["status"]) == {"demo": "ranked", "b": "under way"}
    assert dict(table["best policy"])["demo"] == "bc-all@2400"


def test_a_run_under_way_shows_what_it_has(runs: Path, view: View) -> None:
    for name in ("summary.json", "outcomes/imagined.csv", "outcomes/truth.csv"):
        (runs / "demo" / name).unlink()
    (runs / "demo/imagined/002-00000.npz").write_bytes(b"cut off")
    test = view(runs)
    assert test.header[0].value == "Preliminary results"
    assert test.dataframe[0].value["episodes"].sum() == 80
    assert "Excluded" in test.warning[0].value
    assert "1 of 80" in texts(view(runs, "rollouts.py"))


def test_a_policy_of_the_ranking_leads_to_its_rollouts(kept_runs: Path, view: View) -> None:
    test = view(kept_runs)
    assert len(test.get("vega_lite_chart")) == 2  # predicted against measured, and pair by pair
    test.session_state["of_policy"] = "blind"
    test.switch_page("rollouts.py").run()
    assert "23 of 24" in texts(test)  # the first of them that has pictures


def test_export_counts_before_it_writes(kept_runs: Path, view: View) -> None:
    test = view(kept_runs, "exporting.py")
    every = 120
    few = int(test.metric[0].value.split(" of ")[0])
    assert 0 < few < every
    test.multiselect[0].set_value(["blind"]).run()
    assert int(test.metric[0].value.split(" of ")[0]) < few
    assert "policy in ['blind']" in str(test.text_input[0].value)
    test.text_input[0].set_value("__import__('os')").run()
    assert "not valid" in test.error[0].value


@pytest.mark.parametrize("name", ["../outside", "/tmp/x", "imagined", "a b", ""])
def test_export_writes_inside_of_the_run_only(kept_runs: Path, view: View, name: str) -> None:
    test = view(kept_runs, "exporting.py")
    test.text_input[1].set_value(name)
    test.button[0].click().run()
    assert "not written" in test.error[0].value
    assert not (kept_runs / "outside").exists()


def test_export_writes_a_dataset_to_download(toy_runs: Path, view: View) -> None:
    test = view(toy_runs, "exporting.py", run="toy")
    test.toggle[0].set_value(False)
    test.slider[0].set_value(0.0).run()
    test.multiselect[0].set_value(["zero"]).run()
    assert test.metric[0].value == "6 of 12"
    test.button[0].click().run()
    assert not test.error, test.text
    assert "6 episodes" in test.success[0].value
    assert (toy_runs / "toy/dataset/meta/info.json").is_file()
    assert len(test.get("download_button")) == 1


def test_data_shows_a_dataset_its_checks_and_its_episodes(toy_runs: Path, view: View) -> None:
    test = view(toy_runs, "browse.py", data="recorded")
    assert [metric.value for metric in test.metric][:2] == ["3", "15"]
    assert len(test.get("image")) == 1  # the contact sheet
    assert list(test.dataframe[-1].value["id"]) == ["0", "1", "2"]
    assert len(test.get("video")) == 1
    test.button[0].click().run()
    assert test.error or test.success
    assert not test.exception


def test_data_and_driving_say_what_to_do_where_there_is_nothing(tmp_path: Path, view: View) -> None:
    (tmp_path / "runs").mkdir()
    assert "worldeval data collect" in view(tmp_path / "runs", "browse.py").info[0].value
    test = view(tmp_path / "runs", "drive.py")  # what is shipped can be driven without a run
    assert str(test.main.selectbox[0].value).startswith("shipped")


def test_a_broken_dataset_is_said_to_be_so(toy_runs: Path, tmp_path: Path, view: View) -> None:
    root = Path(shutil.copytree(toy_runs / "recorded", tmp_path / "runs/recorded")).parent
    for path in (root / "recorded").glob("*.npz"):
        path.write_bytes(b"not an archive")
    test = view(root, "browse.py")
    assert test.error or test.warning
    assert not test.exception


def test_driving_begins_at_a_start_that_its_world_knows(toy_runs: Path, view: View) -> None:
    test = view(toy_runs, "drive.py", run="toy")
    assert test.main.selectbox[0].value == "world"  # the run's own
    assert test.main.selectbox[1].options == ["toy"]  # whose tasks this world knows
    assert not test.error
    first = test.session_state["driven"]
    test.run()
    assert test.session_state["driven"] == first  # a redraw does not begin again
    test.main.selectbox[3].select("left-1").run()
    assert test.session_state["driven"] != first


def test_only_driving_loads_networks_and_a_list_no_statistics(
    kept_runs: Path, tmp_path: Path
) -> None:
    script = tmp_path / "look.py"
    script.write_text(
        "import sys\n"
        "from streamlit.testing.v1 import AppTest\n"
        f"test = AppTest.from_file({str(MAIN)!r}, default_timeout=600)\n"
        "test.switch_page('rollouts.py').run()\n"
        "assert test.header[0].value == 'Roll-outs'\n"
        "print('scipy.stats' in sys.modules)\n"
        f"for page in {(*PAGES, 'browse.py')!r}:\n"
        "    test.switch_page(page).run()\n"
        "    assert not test.exception, test.exception[0].message\n"
        "print('torch' in sys.modules)\n"
    )
    environment = {**os.environ, "WORLDEVAL_RUNS": str(kept_runs)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_ten_thousand_episodes_stay_small(tmp_path: Path, view: View) -> None:
    many_episodes(tmp_path / "big", policies=10, starts=1000)
    test = view(tmp_path, "rollouts.py")
    assert "1 of 10,000, page 1 of 1,250" in texts(test)
    assert len(test.dataframe[0].value) == 8  # what a browser is given
