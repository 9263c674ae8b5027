"""The queue of labels: what comes first, what is kept, and what its labels are good for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.synthetic_run import RATES, synthetic_run
from worldeval.errors import UserError
from worldeval.evaluate.label_queue import LEAST, label_queue, next_to_render, weights
from worldeval.evaluate.next_trials import worth_knowing
from worldeval.report.asking import asked_of, drawn_as
from worldeval.report.effect import corrected, corrected_by_queue
from worldeval.runs.episodes import read_episodes
from worldeval.runs.films import Filmstrip
from worldeval.runs.label_queue import LabelQueue, read_queue, write_queue
from worldeval.runs.labels import CHOSEN, IMPORTANT, RANDOM, Opinion


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_run(tmp_path_factory.mktemp("queue") / "run")


def opinion(key: tuple, label: str = "success", who: str = "ann", drawn: str = "") -> Opinion:
    policy, task, start, seed = key
    return Opinion(
        policy=policy, task=task, start=start, seed=seed, label=label, who=who, when="", drawn=drawn
    )


def strip(key: tuple, *, drawn: bool = False) -> Filmstrip:
    policy, task, start, seed = key
    return Filmstrip(
        policy=policy, task=task, start=start, seed=seed, drawn=drawn, imagined="x.npz"
    )


def test_uncertain_verdicts_of_policies_that_matter_weigh_most() -> None:
    table = pd.DataFrame(
        {
            "policy": ["tied", "tied", "tied", "apart", "tied"],
            "score": [0.5, 0.99, np.nan, 0.5, 0.0],
            "disagreement": [0.0, 0.0, 0.0, 0.0, 0.6],
        }
    )
    found = weights(table, {"tied": 1.0, "apart": 0.0})
    sure = LEAST + (1 - LEAST) * 2 * np.sqrt(0.99 * 0.01)
    np.testing.assert_allclose(found, [1.0, sure, 1.0, LEAST, LEAST + (1 - LEAST) * 0.6])


def test_policies_that_are_separated_from_all_others_matter_least(run: Path) -> None:
    worth = worth_knowing(run)
    assert set(worth) == set(RATES) and max(worth.values()) > 0.5
    summary = json.loads((run / "summary.json").read_text())
    letters = {row["policy"]: row["letters"] for row in summary["ranking"]["policies"]}
    for policy, own in letters.items():
        others = "".join(each for name, each in letters.items() if name != policy)
        assert (worth[policy] >= 0.5) == any(letter in others for letter in own)


def test_the_queue_is_made_once_and_grows_with_the_run(run: Path) -> None:
    episodes = read_episodes(run)
    queue = label_queue(run, episodes)
    assert len(queue.episodes) == len(episodes) == 120
    assert label_queue(run, episodes) == queue == read_queue(run)
    early = np.mean([each.weight for each in queue.episodes[:30]])
    assert early > np.mean([each.weight for each in queue.episodes[-30:]]) + 0.1
    fewer = LabelQueue(queue.episodes[::2])
    write_queue(run, fewer)
    assert label_queue(run, episodes) == queue  # those that stayed kept their places
    ids = next_to_render(run, episodes, 3)
    assert len(set(ids)) == 3 and set(ids) <= set(episodes.table["id"])


def test_a_damaged_queue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "label_queue.json").write_text(
        '[{"policy": "a", "task": "t", "start": "s", "seed": 0, "weight": 0.0, "uniform": 0.5}]'
    )
    with pytest.raises(UserError, match="must be above 0"):
        read_queue(tmp_path)


def test_only_labels_without_a_gap_have_a_probability(run: Path) -> None:
    queue = label_queue(run, read_episodes(run))
    keys = [each.key for each in queue.episodes]
    assert not queue.chances([])
    asked = [opinion(key, drawn=IMPORTANT) for key in keys[:5]]
    assert list(queue.chances(asked)) == keys[:5]
    assert list(queue.chances([*asked, opinion(keys[7], drawn=IMPORTANT)])) == keys[:5]
    # What was labelled for another reason fills a gap, but does not prolong the queue.
    assert list(queue.chances([*asked, opinion(keys[5], drawn=RANDOM)])) == keys[:5]
    filled = [*asked, opinion(keys[5], drawn=RANDOM), opinion(keys[6], drawn=IMPORTANT)]
    assert list(queue.chances(filled)) == keys[:7]
    every = queue.chances([opinion(key, drawn=IMPORTANT) for key in keys])
    assert set(every.values()) == {1.0}


def test_labels_of_the_queue_correct_the_rate_of_the_run(run: Path) -> None:
    episodes = read_episodes(run)
    queue = label_queue(run, episodes)
    real = {row["id"]: row["real"] for row in episodes.table.to_dict("records")}
    by_key = {
        (row["policy"], row["task"], row["start"], int(row["seed"])): row["id"]
        for row in episodes.table.to_dict("records")
    }
    said = [
        opinion(each.key, "success" if real[by_key[each.key]] else "failure", drawn=IMPORTANT)
        for each in queue.episodes
    ]
    assert corrected_by_queue(episodes, said[:9], queue) is None
    assert corrected(episodes, said, ()) is None  # they are no uniform draw
    some, every = (corrected_by_queue(episodes, part, queue) for part in (said[:60], said))
    truth = np.mean(list(real.values()))
    assert some is not None and every is not None
    assert every.corrected.value == pytest.approx(truth) and every.labels == 120
    assert some.corrected.low is not None and some.corrected.high is not None
    assert some.corrected.low <= truth <= some.corrected.high
    unsure = [opinion(each.key, "unsure", drawn=IMPORTANT) for each in queue.episodes[:20]]
    assert corrected_by_queue(episodes, unsure, queue) is None


def test_people_share_a_part_and_divide_the_rest(run: Path) -> None:
    queue = label_queue(run, read_episodes(run))
    keys = [each.key for each in queue.episodes]
    strips = [strip(key) for key in keys[:100]]
    first = asked_of("ann", IMPORTANT, strips, [], queue, shared=0.2)
    assert [each.key for each in first] == keys[:100]  # in the order of the queue
    said = [opinion(key, drawn=IMPORTANT) for key in keys[:100]]
    assert not asked_of("ann", IMPORTANT, strips, said, queue, shared=1.0)
    both = asked_of("ben", IMPORTANT, strips, said, queue, shared=0.2)
    assert 10 <= len(both) <= 30
    assert len(asked_of("ben", IMPORTANT, strips, said, queue, shared=1.0)) == 100
    assert not asked_of("ben", IMPORTANT, strips, said, queue, shared=0.0)


def test_each_mode_asks_for_its_own(run: Path) -> None:
    queue = label_queue(run, read_episodes(run))
    keys = [each.key for each in queue.episodes]
    strips = [strip(keys[0]), strip(keys[2]), strip(keys[50], drawn=True)]
    asked = {
        mode: {each.key for each in asked_of("ann", mode, strips, [], queue, shared=0.2)}
        for mode in (IMPORTANT, RANDOM, CHOSEN)
    }
    # The second of the queue is not rendered yet: what lies behind it waits.
    assert asked == {IMPORTANT: {keys[0]}, RANDOM: {keys[50]}, CHOSEN: {keys[0], keys[2], keys[50]}}
    assert drawn_as(CHOSEN, strips[2]) == RANDOM and drawn_as(CHOSEN, strips[0]) == CHOSEN
    assert drawn_as(IMPORTANT, strips[0]) == IMPORTANT
