"""The judge of a run, and the frames that it looks at."""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np

from worldeval.axes import Array
from worldeval.files import read_object
from worldeval.judge.address import read_judge_address
from worldeval.judge.load import JudgeSetting, load_judge
from worldeval.judge.protocol import Judge
from worldeval.record import Rollout
from worldeval.runs.labels import between_people, read_opinions
from worldeval.world.world import World


def run_judge(ref: str, world: World, *, cache: Path | None = None) -> Judge:
    """Load the judge at an address for what `world` imagines.

    Args:
        cache: folder for answers of judges of frames; None: they are asked again in every process.

    Raises:
        UserError: nothing is there, it is not a judge, or a parameter is wrong.
    """
    setting = JudgeSetting(
        render=partial(imagined_frames, world=world),
        fps=world.spec.fps,
        pose_dim=world.spec.pose_dim,
        cache=cache,
    )
    return load_judge(ref, setting)


def judge_facts(ref: str, folder: Path) -> dict[str, object]:
    """Return what a summary says of a judge: what its answers in `folder` cost, and how far the
    people agree whose labels are the judge."""
    cost, people = answers_cost(ref, folder), labelled_by(ref)
    facts = {"cost": cost, "people": people}
    return {name: fact for name, fact in facts.items() if fact is not None}


def answers_cost(ref: str, folder: Path) -> dict[str, float] | None:
    """Sum up what the stored answers of a judge of frames cost; None for learned judges.

    Returns:
        Episodes asked for, tokens, seconds of waiting, and with `price=` in the address the cost.
    """
    address = read_judge_address(ref) if ref else None
    members = [] if address is None else [*map(read_judge_address, address.members.values())]
    asked = [one for one in members or [address] if one is not None and one.kind != "folder"]
    if not asked:
        return None
    kept = [read_object(path) for path in sorted(folder.glob("*.json"))]
    tokens = sum(float(each.get("tokens", 0)) for each in kept)
    prices = [float(one.params["price"]) for one in asked if "price" in one.params]
    return {
        "answers": len(kept),
        "tokens": tokens,
        "seconds": round(sum(float(each.get("seconds", 0.0)) for each in kept), 3),
        **({"cost": round(tokens * prices[0] / 1e6, 6)} if len(prices) == 1 else {}),
    }


def imagined_frames(rollout: Rollout, world: World) -> dict[str, Array]:
    """Decode every frame of an imagined roll-out, per view."""
    latents = np.asarray(rollout.latents, np.float32)
    return world.render(latents, [rollout.task] * len(latents))


def labelled_by(ref: str) -> list[dict[str, object]] | None:
    """Return how far the people agree whose labels are the judge; None for every other judge."""
    address = read_judge_address(ref) if ref else None
    if address is None or address.kind != "human" or "labels" not in address.params:
        return None
    run = Path(str(address.params["labels"])).parent
    return [asdict(pair) for pair in between_people(read_opinions(run))]
