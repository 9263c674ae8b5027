"""The error of a ranking against the number of labelled episodes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from judges_data import Developed, Labelled
from judges_measures import ranking

from worldeval import recipe as recipes
from worldeval.evaluate.label_fits import COMMON, FITS, corrected, left_out_losses
from worldeval.judge.fit import fit_judge
from worldeval.judge.learned import LearnedJudge
from worldeval.stats import combine
from worldeval.world.protocol import WorldSpec

COUNTS = (10, 30, 100, 300)
SMALL = {"members": 1, "groups": 2, "trainer.steps": 150}  # of the judges trained on few labels


def labels_needed(
    given: Labelled | None,
    dev: Developed,
    scores: Mapping[str, np.ndarray],
    *,
    repeats: int,
    spec: WorldSpec,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Rank the development policies with few labels, several times over.

    - `learned`: the frames judge, trained on that many labelled roll-outs of other policies; only
      with `given`.
    - `rule, corrected`: the rule, with the correction that as many labels of development episodes
      give (the one of `label_fits` with the smallest left-out loss).
    - `rule, corrected rates`: the same labels, but each policy's rate by prediction-powered
      inference from its own labels (at least 10; else as before).
    - `labels alone`: the mean of each policy's own labels; without any, the mean of all.
    """
    rule = scores["rule"]
    out: dict[str, Any] = {
        **({} if given is None else {"learned": {"0": None}}),
        "rule, corrected": {"0": [ranking(rule, dev)]},
        "rule, corrected rates": {"0": [ranking(rule, dev)]},
        "labels alone": {"0": None},
    }
    for count in COUNTS:
        rows = {name: list[dict[str, Any]]() for name in out}
        for seed in range(repeats):
            rng = np.random.default_rng([count, seed])
            if given is not None:
                rows["learned"].append(ranking(_learned(given, dev, count, rng, seed, spec), dev))
            chosen = _both(dev.success, count, rng)
            one = _corrected(rule, dev, chosen)
            rows["rule, corrected"].append(ranking(one, dev))
            rows["rule, corrected rates"].append(ranking(_inferred(one, rule, dev, chosen), dev))
            rows["labels alone"].append(ranking(_alone(dev, chosen), dev))
        for name, found in rows.items():
            out[name][str(count)] = found
        say(f"ranked with {count} labels")
    return out


def _learned(
    given: Labelled,
    dev: Developed,
    count: int,
    rng: np.random.Generator,
    seed: int,
    spec: WorldSpec,
) -> np.ndarray:
    own = given.examples.take(np.sort(_both(given.examples.success, count, rng)))
    if len(set(own.family.tolist())) < 2:
        own = replace(own, family=np.arange(count).astype(str).astype(object))
    recipe = recipes.load("judge", "judge", SMALL).config
    fitted = fit_judge(
        recipe, own, tasks=len(given.tasks), seed=seed, place=spec.place,
        report=lambda stage, steps: lambda step, loss: None, metres=spec.metres,
        angles=spec.turned_pose.first,
    )  # fmt: skip
    judge = LearnedJudge(fitted.members, fitted.calibration, tasks=given.tasks)
    said = [
        each.probability
        for begin in range(0, len(dev.rollouts), 100)
        for each in judge(dev.rollouts[begin : begin + 100])
    ]
    return np.array(said)


def _both(success: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw episodes until both outcomes are there twice."""
    while True:
        chosen = rng.permutation(len(success))[:count]
        if 2 <= success[chosen].sum() <= count - 2:
            return chosen


def _corrected(score: np.ndarray, dev: Developed, chosen: np.ndarray) -> np.ndarray:
    policy = np.unique(dev.policy, return_inverse=True)[1]
    given = (score[chosen], dev.success[chosen], dev.task[chosen])
    losses = left_out_losses(*given, policy[chosen])
    method = min(losses, key=lambda name: losses[name]) if losses else COMMON
    return corrected(FITS[method](*given), score, dev.task)


def _inferred(score: np.ndarray, raw: np.ndarray, dev: Developed, chosen: np.ndarray) -> np.ndarray:
    out, told = score.copy(), np.isin(np.arange(len(score)), chosen)
    for name in dev.policies:
        own = dev.policy == name
        if (own & told).sum() >= 10:
            real = dev.success[own & told].astype(float)
            found = combine(real, raw[own & told], raw[own & ~told]).estimate.value
            out[own] = found
    return out


def _alone(dev: Developed, chosen: np.ndarray) -> np.ndarray:
    out = np.full(len(dev.success), dev.success[chosen].mean())
    for name in dev.policies:
        own = chosen[dev.policy[chosen] == name]
        if len(own):
            out[dev.policy == name] = dev.success[own].mean()
    return out
