"""Train a judge, and calibrate it on families of policies that it was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Array, Bool, Float, Int
from worldeval.judge.abstain import abstention_bound, disagreement
from worldeval.judge.calibrate import Calibration, calibrate
from worldeval.judge.examples import Examples
from worldeval.judge.network import JudgeNet, episode_logit
from worldeval.judge.progress import best_so_far, progress_loss
from worldeval.judge.recipe import REAL_SHARE, JudgeRecipe
from worldeval.judge.sequence import new_network
from worldeval.training.optimise import Progress, Report, optimise
from worldeval.world.body import HAND


@dataclass(frozen=True, kw_only=True)
class FittedJudge:
    """Networks, their common calibration, and their accuracy on held-out families."""

    members: list[JudgeNet]
    calibration: Calibration
    left_out: dict[str, float | None]
    abstain_above: float | None = None  # disagreement above which there is no verdict; None: never
    group: Int[Array, " e"] | None = None  # of each example's family
    # Networks trained without each group, by which unseen families can be judged again. Not saved.
    without: tuple[tuple[JudgeNet, ...], ...] = ()


class Read(NamedTuple):
    """What members say of episodes."""

    logits: Float[Array, "m e"]  # of each member
    progress: Float[Array, " e"] | None  # the best, by the mean of the members


def fit_judge(
    recipe: JudgeRecipe,
    examples: Examples,
    *,
    tasks: int,
    seed: int,
    report: Report,
    place: Sequence[int] = HAND,
    metres: bool = True,
    words: Float[Tensor, "n c"] | None = None,
    angles: tuple[int, ...] = (),
) -> FittedJudge:
    """Train members on every family; calibrate with members trained without each group.

    With `words`, the task of an example is the row of its instruction's embedding, and all share
    one calibration. `place` lists the pose columns that give the robot's position; training adds
    noise to them. A roll, pitch, yaw begins at each of the columns `angles`.
    """
    train = partial(
        fit_member, recipe, tasks=tasks, place=place, metres=metres, words=words, angles=angles
    )
    group = family_groups(examples.family, recipe.groups)
    # Members are compared with each other only if the judge may abstain.
    each = np.zeros((recipe.members if recipe.abstain else 1, len(examples)))
    progress = np.zeros(len(examples)) if recipe.network == "sequence" else None
    without: list[tuple[JudgeNet, ...]] = []
    for left in range(recipe.groups):
        out = group == left
        members = [
            train(
                examples.take(~out),
                seed=seed + left + 1000 * number,
                progress=report(_stage(left, number), recipe.trainer.steps),
            )
            for number in range(len(each))
        ]
        without.append(tuple(members))
        each[:, out], gained = read_episodes(members, examples.take(out), words)
        if progress is not None and gained is not None:
            progress[out] = gained
    if words is not None:
        examples, by_text, tasks = replace(examples, task=0 * examples.task), examples, 1
    else:
        by_text = examples
    calibration = _calibrated(each.mean(0), examples, tasks=tasks)
    members = [
        train(
            by_text,
            seed=seed + 100 + number,
            progress=report(f"judge {number + 1}", recipe.trainer.steps),
        )
        for number in range(recipe.members)
    ]
    probability, votes = crossfitted(each, group, examples, tasks=tasks)
    bound = abstention_bound(votes, examples.success, share=recipe.abstain)
    return FittedJudge(
        members=members,
        calibration=calibration,
        left_out={
            **judged_well(probability, examples.success),
            **_abstained(probability, votes, examples.success, bound),
            **_advanced(progress, examples.success),
        },
        abstain_above=bound,
        group=group,
        without=tuple(without),
    )


def fit_member(
    recipe: JudgeRecipe,
    examples: Examples,
    *,
    tasks: int,
    seed: int,
    progress: Progress,
    place: Sequence[int] = HAND,
    metres: bool = True,
    words: Float[Tensor, "n c"] | None = None,
    angles: tuple[int, ...] = (),
) -> JudgeNet:
    """Train one network. Batches are balanced between successes and failures, and across tasks."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    net = new_network(
        recipe,
        latent=examples.imagined.shape[2:],
        pose_dim=examples.imagined_pose.shape[2],
        tasks=tasks,
        words=0 if words is None else words.shape[1],
        angles=angles,
    )
    poses = net.turned.forth(torch.from_numpy(examples.recorded_pose).flatten(0, 1))
    net.pose_mean.copy_(poses.mean(0))
    net.pose_std.copy_(poses.std(0).clamp_min(1e-3))
    cells = _cells(examples)
    where = list(place)
    spread = net.pose_std[list(net.turned.places(where))].cpu()
    # If the position is not in metres, scale the noise by its spread; a gripper's is about 0.1 m.
    noise = recipe.pose_noise * (torch.ones_like(spread) if metres else 10 * spread)

    def loss_of(model: nn.Module, step: int) -> Tensor:
        picked = rng.integers(len(cells), size=recipe.trainer.batch)
        chosen = np.array([rng.choice(cells[cell]) for cell in picked])
        real = rng.random(len(chosen)) < REAL_SHARE
        latents, pose = _shown(examples, chosen, real)
        latents = latents + recipe.latent_noise * torch.randn(latents.shape, generator=generator)
        shaken = noise * torch.randn(pose[..., where].shape, generator=generator)
        pose[..., where] = pose[..., where] + shaken
        achieved = torch.from_numpy(examples.achieved[chosen]).float()
        task, home = _told(examples.task[chosen], words), next(model.parameters()).device
        read, achieved = model(*(x.to(home) for x in (latents, pose, task))), achieved.to(home)
        frames = frame_loss(read.logits, achieved, examples.timed, chosen)
        episodes = F.binary_cross_entropy_with_logits(episode_logit(read.logits), achieved[:, -1])
        loss = frames + 0.5 * episodes
        if read.progress is not None:
            timed, last = (torch.from_numpy(x).to(home) for x in examples.ends(chosen))
            loss = loss + progress_loss(read.progress, achieved, timed, last)
        return loss

    return optimise(net, loss_of, recipe.trainer, progress=progress).model


@torch.inference_mode()
def read_episodes(
    members: Sequence[JudgeNet], examples: Examples, words: Float[Tensor, "n c"] | None = None
) -> Read:
    """Return what members say of the imagined frames."""
    logits, progress = [], []
    for part in np.array_split(np.arange(len(examples)), max(1, len(examples) // 200)):
        latents, pose = _shown(examples, part, np.zeros(len(part), bool))
        task = _told(examples.task[part], words)
        read = [member(latents, pose, task) for member in members]
        logits.append(torch.stack([episode_logit(each.logits) for each in read]).numpy())
        gained = [each.progress for each in read if each.progress is not None]
        if gained:
            progress.append(best_so_far(torch.stack(gained).mean(0).numpy())[:, -1])
    return Read(np.concatenate(logits, 1), np.concatenate(progress) if progress else None)


def crossfitted(
    logits: Float[Array, "m e"], group: Int[Array, " e"], examples: Examples, *, tasks: int
) -> tuple[Float[Array, " e"], Float[Array, "m e"]]:
    """Return probabilities and votes for which nothing was fitted to the episode's family."""
    probability, votes = np.zeros(logits.shape[1]), np.zeros(logits.shape)
    for left in np.unique(group):
        out = group == left
        fitted = _calibrated(logits[:, ~out].mean(0), examples.take(~out), tasks=tasks)
        probability[out] = fitted(logits[:, out].mean(0), examples.task[out])
        votes[:, out] = [fitted(each, examples.task[out]) for each in logits[:, out]]
    return probability, votes


def judged_well(
    probability: Float[Array, " e"], success: Bool[Array, " e"]
) -> dict[str, float | None]:
    """Accuracy at one half, Brier score, AUC, and the mean probability of real failures."""
    from scipy.stats import rankdata

    positive = int(success.sum())
    ranks = rankdata(probability)[success].sum() - positive * (positive + 1) / 2
    pairs = positive * (len(success) - positive)
    return {
        "episodes": len(success),
        "success_rate": float(success.mean()),
        "predicted_rate": float(probability.mean()),
        "accuracy": float(((probability > 0.5) == success).mean()),
        "brier": float(np.square(probability - success).mean()),
        "auc": float(ranks / pairs) if pairs else None,
        "false_success": float(probability[~success].mean()) if pairs else None,
        "missed_success": float(1 - probability[success].mean()) if pairs else None,
    }


def frame_loss(
    logits: Float[Tensor, "b t"],
    achieved: Float[Tensor, "b t"],
    timed: Bool[Array, " e"] | None,
    chosen: Int[Array, " b"],
) -> Tensor:
    """Cross-entropy of every frame but the first, for episodes with success labels per frame.

    If success is only known for the whole episode, no frame has a label; the episode's loss (over
    the maximum of its frames) covers it. Failures are known at every frame.
    """
    if timed is None or timed[chosen].all():
        return F.binary_cross_entropy_with_logits(logits[:, 1:], achieved[:, 1:])
    known = torch.from_numpy(timed[chosen]).to(achieved.device) | (achieved[:, -1] == 0)
    each = F.binary_cross_entropy_with_logits(logits[:, 1:], achieved[:, 1:], reduction="none")
    return (each * known[:, None]).sum() / (known.sum() * each.shape[1]).clamp_min(1)


def family_groups(family: Array, groups: int) -> Int[Array, " e"]:
    """Assign families to groups, largest first, each to the smallest group so far."""
    names, counts = np.unique(family, return_counts=True)
    filled, place = np.zeros(groups), {}
    for index in np.argsort(-counts, kind="stable"):
        target = int(filled.argmin())
        place[names[index]] = target
        filled[target] += counts[index]
    return np.array([place[name] for name in family])


def _told(task: Int[Array, " k"], words: Float[Tensor, "n c"] | None) -> Tensor:
    """What a network is told of the tasks: their numbers, or their embeddings."""
    return torch.from_numpy(task) if words is None else words[torch.from_numpy(task)]


def _stage(left: int, number: int) -> str:
    own = f", network {number + 1}" if number else ""
    return f"judge without group {left + 1}{own}"


def _abstained(
    probability: Float[Array, " e"],
    votes: Float[Array, "m e"],
    success: Bool[Array, " e"],
    bound: float | None,
) -> dict[str, float | None]:
    """Share of episodes without a verdict, and the accuracy on those and on the others."""
    if bound is None:
        return {}
    without, right = disagreement(votes) > bound, (probability > 0.5) == success
    return {
        "abstained": float(without.mean()),
        "accuracy_where_abstained": float(right[without].mean()),
        "accuracy_elsewhere": float(right[~without].mean()),
    }


def _advanced(
    progress: Float[Array, " e"] | None, success: Bool[Array, " e"]
) -> dict[str, float | None]:
    """Mean of the best progress of successes and of failures."""
    if progress is None:
        return {}
    return {
        "progress_of_successes": float(progress[success].mean()) if success.any() else None,
        "progress_of_failures": float(progress[~success].mean()) if (~success).any() else None,
    }


def _calibrated(logit: Float[Array, " e"], examples: Examples, *, tasks: int) -> Calibration:
    family = np.unique(examples.family.astype(str), return_inverse=True)[1]
    return calibrate(
        logit,
        examples.task,
        examples.success,
        tasks=tasks,
        cells=family * tasks + examples.task,
    )


def _cells(examples: Examples) -> list[Int[Array, " k"]]:
    keys = examples.task * 2 + examples.success
    return [np.flatnonzero(keys == key) for key in np.unique(keys)]


def _shown(
    examples: Examples, chosen: Int[Array, " k"], real: Bool[Array, " k"]
) -> tuple[Tensor, Tensor]:
    pick = real[:, None, None]
    wide = real[:, None, None, None, None, None]
    latents = np.where(wide, examples.recorded[chosen], examples.imagined[chosen])
    pose = np.where(pick, examples.recorded_pose[chosen], examples.imagined_pose[chosen])
    return torch.from_numpy(latents).float(), torch.from_numpy(pose).float()
