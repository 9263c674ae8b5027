"""Which film strips are shown: disagreements first, kinds apart, policies and tasks varied."""

from worldeval.report.choose import by_policy, chapters
from worldeval.report.poster import telling
from worldeval.runs.films import Filmstrip


def strip(policy: str, probability: float | None, success: bool | None, task: str = "open"):
    return Filmstrip(
        policy=policy,
        task=task,
        start="1",
        seed=1,
        probability=probability,
        success=success,
        imagined="x.npz",
    )


STRIPS = (
    strip("won", 0.9, True),
    strip("lost", 0.1, False),
    strip("optimist", 0.8, False),
    strip("worse", 0.99, False),
    strip("pessimist", 0.3, True),
    strip("unseen", 0.7, None),
)


def test_every_kind_has_its_chapter_and_disagreements_come_first() -> None:
    found = {c.name: [s.policy for s in c.strips] for c in chapters(STRIPS)}
    assert found == {
        "optimism": ["worse", "optimist"],
        "pessimism": ["pessimist"],
        "successes": ["won"],
        "failures": ["lost"],
        "unknown": ["unseen"],
    }
    assert list(found)[:2] == ["optimism", "pessimism"]


def test_a_chapter_shows_some_and_says_how_many_there_are() -> None:
    (chapter,) = chapters([strip(f"p{i}", 0.6 + i / 100, True) for i in range(9)], each=2)
    assert (len(chapter.strips), chapter.filmed) == (2, 9)
    assert chapter.strips[0].policy == "p8"  # the surest


def test_other_policies_and_tasks_come_before_more_of_the_same() -> None:
    many = [strip("a", 0.99 - i / 100, True) for i in range(3)]
    (chapter,) = chapters([*many, strip("b", 0.6, True, task="close")], each=2)
    assert [s.policy for s in chapter.strips] == ["a", "b"]


def test_every_policy_shows_its_clearest_success_and_failure_that_came_true() -> None:
    strips = [
        strip("b", 0.99, False),
        strip("b", 0.7, True),
        strip("b", 0.8, True),
        strip("a", 0.2, False),
        strip("c", None, True),
        strip("d", None, None),
    ]
    found = by_policy(strips, ["a", "b", "nobody"])
    assert [both.policy for both in found] == ["a", "b", "c"]  # in order, then those not ranked
    assert [[s.probability for s in both.strips] for both in found] == [[0.2], [0.8], [None]]
    (only,) = by_policy(strips[:1], [])
    assert only.success is strips[0]  # wrong, but there is no other


def test_a_poster_has_one_of_each_kind() -> None:
    assert [s.policy for s in telling(STRIPS)] == ["won", "lost", "worse"]
    assert [s.policy for s in telling(STRIPS[:1])] == ["won"]
    assert telling(()) == []
