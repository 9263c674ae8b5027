import json
from pathlib import Path

import numpy as np
import pytest

from tests.improve.conftest import start
from worldeval.data.source import open_source
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.export.dataset import export_episodes
from worldeval.improve.guard import claim
from worldeval.improve.place import Attempt, Simulation, probabilities
from worldeval.improve.recipe import ExploreRecipe, SftRecipe, TrustRecipe
from worldeval.improve.samples import episode, reached, samples
from worldeval.improve.sft import Sft
from worldeval.improve.starts import Starts
from worldeval.policy.checkpoint import LearnedPolicy
from worldeval.policy.finetune import original_demos
from worldeval.policy.load import expand
from worldeval.policy.recipe import PolicyTrainerRecipe
from worldeval.record import Rollout

RECIPE = SftRecipe(
    rounds=2,
    starts=8,
    tries=3,
    ratio=0.2,
    explore=ExploreRecipe(noisy=0.5),
    trust=TrustRecipe(probability=0.6),
    trainer=PolicyTrainerRecipe(steps=100, batch=64, learning_rate=3e-3, warmup=5, ema=0.9),
)


def write(pairs, folder: Path, facts) -> object:
    return export_episodes(pairs, folder, signals=("weight",), facts=facts)


def three_sets() -> Starts:
    every = [
        [start(task, first + number) for task in ("left", "right") for number in range(count)]
        for first, count in ((0, 8), (100, 6), (200, 24))
    ]
    return Starts(training=tuple(every[0]), check=tuple(every[1]), held_out=tuple(every[2]))


def improving(
    place: Simulation, shards: RecordedEpisodes, policy: LearnedPolicy, out: Path, **change
) -> Sft:
    recipe = SftRecipe(**{**{k: getattr(RECIPE, k) for k in RECIPE.__dict__}, **change})
    return Sft(
        place=place,
        recipe=recipe,
        starts=three_sets(),
        demos=original_demos(policy, shards),
        out=out,
        seed=0,
        write=write,
        world_model="abc",
    )


def test_an_undecided_policy_learns_its_task_from_what_it_imagines(
    place: Simulation, shards: RecordedEpisodes, undecided: LearnedPolicy, tmp_path: Path
) -> None:
    run = improving(place, shards, undecided, tmp_path)
    improved, rounds = run.run(undecided)
    held = run.starts.held_out
    made = claim(place.compared(undecided, held, seed=9), place.compared(improved, held, seed=9))
    assert made.established, made.text
    assert [one.number for one in rounds] == [1, 2]
    assert json.loads((tmp_path / "rounds.json").read_text())[1]["kept"] == rounds[1].kept
    # A round leaves a checkpoint that can be ranked and a dataset that can be read.
    assert expand([str(tmp_path / "policies")]) == [str(one.checkpoint) for one in rounds]
    assert rounds[0].dataset is not None
    assert len(open_source(rounds[0].dataset)) == rounds[0].kept
    lines = (rounds[0].dataset / "meta/provenance.jsonl").read_text().splitlines()
    fact = json.loads(lines[0])
    assert (fact["origin"], fact["world_model"], fact["judge"]) == ("imagined", "abc", "ruler")
    assert fact["probability"] >= 0.6


def test_the_same_seed_improves_the_same(
    place: Simulation, shards: RecordedEpisodes, undecided: LearnedPolicy, tmp_path: Path
) -> None:
    short = {"rounds": 1, "trainer": PolicyTrainerRecipe(steps=5, batch=8), "weight": "advantage"}
    rates = []
    for name in ("a", "b"):
        run = improving(place, shards, undecided, tmp_path / name, **short)
        improved, _ = run.run(undecided)
        rates.append(probabilities(place.compared(improved, run.starts.check, seed=0)))
    np.testing.assert_array_equal(rates[0], rates[1])


def test_more_of_the_same_imagines_nothing(
    place: Simulation, shards: RecordedEpisodes, undecided: LearnedPolicy, tmp_path: Path
) -> None:
    trainer = PolicyTrainerRecipe(steps=3, batch=8)
    run = improving(place, shards, undecided, tmp_path, ratio=1.0, rounds=1, trainer=trainer)
    _, rounds = run.run(undecided)
    assert (rounds[0].tried, rounds[0].dataset, rounds[0].steps) == (0, None, 3)


def test_without_a_success_there_is_nothing_to_learn(
    place: Simulation, shards: RecordedEpisodes, undecided: LearnedPolicy, tmp_path: Path
) -> None:
    run = improving(place, shards, undecided, tmp_path, trust=TrustRecipe(probability=0.99))
    with pytest.raises(UserError, match=r"None of 48 imagined episodes .* Lower trust.probability"):
        run.run(undecided)


def test_the_best_round_is_kept_and_the_first_policy_where_none_is_better(
    place: Simulation, shards: RecordedEpisodes, undecided: LearnedPolicy, tmp_path: Path
) -> None:
    """Nothing can be learned at a rate of 1e-9, so no round is better than the policy given."""
    still = PolicyTrainerRecipe(steps=2, batch=8, learning_rate=1e-9, ema=0.0)
    change = {"rounds": 1, "trainer": still, "ratio": 1.0}
    kept, rounds = improving(place, shards, undecided, tmp_path / "a", **change).run(undecided)
    assert kept is undecided and len(rounds) == 1
    last, _ = improving(place, shards, undecided, tmp_path / "b", keep="last", **change).run(
        undecided
    )
    assert last.spec.name == "dot-diffusion-sft/step-1"


def test_a_policy_that_reads_no_words_is_not_told_others(
    place: Simulation, shards: RecordedEpisodes, undecided: LearnedPolicy, tmp_path: Path
) -> None:
    phrases = ExploreRecipe(phrases={"left": ("to the left",)})
    with pytest.raises(UserError, match="does not read language"):
        improving(place, shards, undecided, tmp_path, explore=phrases).run(undecided)


def test_what_is_imitated_ends_soon_after_the_first_success(place: Simulation) -> None:
    """The dot passes .25, where success is called, at frame 2 and is farthest at frame 4."""
    track = np.zeros((6, 4), np.float32)
    track[:, 0] = [0.0, 0.1, 0.26, 0.3, 0.4, 0.3]
    track[:, 3] = 0.5
    rollout = Rollout(
        start="right-0",
        task="right",
        policy="p",
        seed=0,
        actions=np.zeros((5, 8), np.float32),
        pose=track,
        latents=place.world.latents(track).astype(np.float16),
    )
    (verdict,) = place.judge([rollout])
    done = Attempt(start=start("right", 0), rollout=rollout, verdict=verdict)
    assert verdict.step == 4 and reached(place.judge, [done]).tolist() == [2]
    demos, weight = samples(
        [episode(done, place.world)],
        np.ones(1),
        tasks=("left", "right"),
        views=("side",),
        chunk=2,
        reached=reached(place.judge, [done]),
        after_success=1,
    )
    assert len(demos) == len(weight) == 3
