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
        watch.simulating(3, 9)
    return out.getvalue()


def test_machines_get_an_object_a_line() -> None:
    events = [json.loads(line) for line in watched(as_json=True).splitlines()]
    assert [event["event"] for event in events] == ["start", "batch", "failed", "stage", "truth"]
    assert events[0] == {"event": "start", "done": 2, "wanted": 8}
    batch = events[1]
    assert (batch["policy"], batch["policy_done"], batch["done"]) == ("a", 4, 4)
    assert abs(batch["success"] - 0.7) < 1e-9 and batch["low"] < 0.7 < batch["high"]
    assert abs(batch["seconds_per_episode"] - 0.2) < 1e-9 and batch["seconds_left"] >= 0
    assert events[2]["error"] == "silent"


def test_people_get_words() -> None:
    text = watched(as_json=False)
    assert "imagined 4/8 episodes, 0.200 CPU-s each" in text
    assert "a: 2 episodes have no outcome: silent" in text
    assert "simulated 3/9 episodes" in text


def test_the_table_has_a_row_per_policy() -> None:
    out = io.StringIO()
    with LiveProgress(
        Console(file=out, width=120, force_terminal=True, color_system=None)
    ) as watch:
        watch.imagining({"a": [], "b": []}, 4)
        watch.imagined(BatchDone(job=JOB, probabilities=(0.9, 0.7), seconds=0.4, packed=b""))
    text = out.getvalue()
    assert "2/4" in text and "0.800" in text and "0.200" in text and "0/4" in text
