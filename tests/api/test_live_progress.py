"""Progress for machines: a line of JSON per event; for people, a line now and then."""

import io
import json

from rich.console import Console

from worldeval.api.live_progress import LiveProgress
from worldeval.evaluate.workers.jobs import BatchDone, BatchFailed, Job

JOB = Job(name="j", ref="r", policy="a", starts=(0, 1))


def watched(*, as_json: bool) -> str:
    out = io.StringIO()
    with LiveProgress(Console(file=out, width=200), as_json=as_json) as watch:
        watch.imagining({"a": [0.5, 0.7], "b": []}, 4)
        watch.imagined(BatchDone(job=JOB, probabilities=(0.9, 0.7), seconds=0.4, packed=b""))
        watch.imagined(BatchFailed(job=JOB, error="silent"))
        watch.say("replaying")
        watch.counting("replaying", 0, 40)
        watch.counting("replaying", 10, 40)
        watch.simulating(0, 9)
        watch.simulating(3, 9)
        watch.simulating(9, 9)
    return out.getvalue()


def test_machines_get_an_object_a_line() -> None:
    events = [json.loads(line) for line in watched(as_json=True).splitlines()]
    assert [event["event"] for event in events] == [
        "start", "batch", "failed", "stage", "stage", "stage", "truth", "truth", "truth",
    ]  # fmt: skip
    assert events[0] == {"event": "start", "done": 2, "wanted": 8}
    batch = events[1]
    assert (batch["policy"], batch["policy_done"], batch["done"]) == ("a", 4, 4)
    assert abs(batch["success"] - 0.7) < 1e-9
    assert not {"low", "high"} & batch.keys()  # the interval is known at the end
    assert abs(batch["seconds_per_episode"] - 0.2) < 1e-9 and batch["seconds_left"] >= 0
    assert events[2]["error"] == "silent"
    assert events[4] == {
        "event": "stage", "text": "replaying", "done": 0, "wanted": 40, "seconds_left": None,
    }  # fmt: skip
    assert events[5]["done"] == 10 and events[5]["seconds_left"] >= 0
    assert events[6]["seconds_left"] is None and events[7]["seconds_left"] >= 0
    assert (events[8]["done"], events[8]["seconds_left"]) == (9, 0)


def test_people_get_words() -> None:
    text = watched(as_json=False)
    assert "imagined 4/8 episodes, 0.200 CPU-s each" in text
    assert "a: 2 episodes have no outcome: silent" in text
    assert "simulated 0/9 episodes\n" in text
    assert "simulated 9/9 episodes, 0 s left" in text
    assert "replaying 0/40\n" in text


def test_the_table_has_a_row_per_policy() -> None:
    out = io.StringIO()
    with LiveProgress(
        Console(file=out, width=120, force_terminal=True, color_system=None)
    ) as watch:
        watch.imagining({"a": [], "b": []}, 4)
        watch.imagined(BatchDone(job=JOB, probabilities=(0.9, 0.7), seconds=0.4, packed=b""))
    text = out.getvalue()
    assert "2/4" in text and "0.800" in text and "0.200" in text and "0/4" in text
    assert "95%" not in text


def test_names_in_the_table_keep_lineage_and_step() -> None:
    out = io.StringIO()
    names = ["pick-and-place-diffusion/step-24000", "pick-and-place-flow/step-24000"]
    with LiveProgress(Console(file=out, width=60, force_terminal=True, color_system=None)) as watch:
        watch.imagining({name: [] for name in names}, 4)
        watch.counting("replaying", 1, 2)
    assert "pick-and-place-di…/step-24000" in out.getvalue()
    assert "pick-and-place-fl…/step-24000" in out.getvalue()
