"""Load world models, judges, policies and starts by their addresses."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch

from worldeval.api.data import Address as Address
from worldeval.errors import UserError, did_you_mean
from worldeval.evaluate.judging import run_judge
from worldeval.hub import recorded
from worldeval.judge.load import judge_hash
from worldeval.judge.load import load_judge as read_judge
from worldeval.judge.protocol import Judge
from worldeval.policy.load import expand
from worldeval.policy.load import load_policy as read_policy
from worldeval.policy.protocol import Policy
from worldeval.policy.remote.tokens import name_hosts
from worldeval.recipe import shipped
from worldeval.record import Start
from worldeval.rollout.starts import read_starts
from worldeval.world.load import load_world as read_world
from worldeval.world.load import read_card, world_hash
from worldeval.world.recipe import allowed_steps
from worldeval.world.world import World


@dataclass(frozen=True)
class Origin:
    """The folder that an object was loaded from, and its fingerprint."""

    folder: str = ""
    hash: str = ""
    weights: str = ""  # digest of the weights as loaded
    steps: int = 0  # of the sampler, as it was trained


_ORIGINS: "WeakKeyDictionary[object, Origin]" = WeakKeyDictionary()


def load_world(folder: Address, *, device: str = "auto", sampler_steps: int | None = None) -> World:
    """Load a trained world model.

    Args:
        folder: folder written by `worldeval train`, `models/latent` for the shipped weights, or
            `hf:user/name` on the Hugging Face Hub.
        device: `cpu`, `cuda`, or `auto` for a GPU if there is one.
        sampler_steps: sampler steps per frame, for families with a sampler (`dit`, `uwm`,
            `ctrl_world`). Default: as in training.

    Returns:
        The world model. `world.spec` describes its views, tasks and action space.

    Raises:
        UserError: the folder contains no world model, or `sampler_steps` is out of range.

    >>> import worldeval as we
    >>> world = we.load_world("toy/world")
    >>> world.spec.tasks, world.spec.views
    (('left', 'right'), ('side', 'top'))
    """
    path = Path(shipped(str(folder)))
    if sampler_steps is not None:
        allowed_steps(read_card(path)["recipe"].sampler, sampler_steps)
    world = read_world(path, device=device)
    _ORIGINS[world] = Origin(recorded(str(folder)), world_hash(path), _digest(world), world.steps)
    if sampler_steps is not None:
        world.steps = sampler_steps
    return world


def load_judge(folder: Address, *, world: World | None = None) -> Judge:
    """Load a judge.

    Args:
        folder: folder written by `worldeval judge train`, or `models/judge` for the shipped judge;
            also `vlm:URL?model=NAME`, `./mine.py:make`, `ws://host:8000`, `rule:EXPRESSION`, or a
            panel `A | B` (docs/judges.md).
        world: the world model whose roll-outs are judged. Judges that look at frames need it.

    Returns:
        The judge, a function that maps roll-outs to verdicts.

    Raises:
        UserError: the address is of no judge, or the judge looks at frames and `world` is missing.

    >>> import worldeval as we
    >>> we.load_judge("toy/judge").name
    'learned judge of 2'
    """
    ref = str(folder)
    name_hosts([ref])  # a token may be sent to a server that the caller names
    judge = read_judge(ref) if world is None else run_judge(ref, world)
    _ORIGINS[judge] = Origin(recorded(ref), judge_hash(ref))
    return judge


def load_policy(
    address: Address, params: Mapping[str, Any] | None = None, *, trust_pickle: bool = False
) -> Policy:
    """Load a policy.

    Args:
        address: a checkpoint's folder, `mine.py:make` or `package.module:Class`, `ws://host:8000`,
            `lerobot:CHECKPOINT`, `zero` or `random`.
        params: arguments of the code that makes the policy.
        trust_pickle: load a pickled policy; loading a pickle executes any code in it.

    Returns:
        A policy: `spec`, `reset(tasks, seeds)` and `act(observation)`.

    Raises:
        UserError: the address does not exist, is not a policy, or does not accept `params`.

    >>> import worldeval as we
    >>> we.load_policy("toy/policies/a/step-1").spec.name
    'a/step-1'
    """
    return read_policy(shipped(str(address)), params, trust_pickle=trust_pickle)


def load_starts(
    path: Address, *, tasks: Sequence[str] | None = None, per_task: int | None = None
) -> list[Start]:
    """Read the recorded starts from which every policy is rolled out.

    Args:
        path: an HDF5 file of starts or of recordings, such as `evaluation/mine/starts.h5`.
        tasks: tasks to read. Default: all.
        per_task: maximum number of starts per task, the first ones. Default: all.

    Returns:
        The starts, each with its task, frames and pose.

    Raises:
        UserError: the file does not exist, or has no start of one of the tasks.

    >>> import worldeval as we
    >>> [start.id for start in we.load_starts("toy/starts.h5", tasks=["left"], per_task=2)]
    ['left-0', 'left-1']
    """
    starts = read_starts(Path(shipped(str(path))))
    known = dict.fromkeys(start.task for start in starts)
    for task in tasks or ():
        if task not in known:
            raise UserError(f"{path} has no start of the task '{task}'.{did_you_mean(task, known)}")
    chosen = []
    for task in known if tasks is None else tasks:
        chosen += [start for start in starts if start.task == task][:per_task]
    return chosen


JudgeArgument = Address | Judge | Sequence[Address]
PolicyArgument = Address | Policy | Sequence[Address | Policy]


def live_policies(policies: PolicyArgument, *, trust_pickle: bool = False) -> dict[str, Policy]:
    """Load all given policies, with globs and folders expanded.

    The keys are addresses, or the names of policies that are objects.

    Raises:
        UserError: two policies have the same name, or an object is not a policy.
    """
    found: dict[str, Policy] = {}
    for one in as_list(policies):
        if isinstance(one, str | Path):
            refs = expand([shipped(str(one))])
            found |= {ref: read_policy(ref, trust_pickle=trust_pickle) for ref in refs}
        elif isinstance(one, Policy):
            if one.spec.name in found:
                raise UserError(_twice(one.spec.name))
            found[one.spec.name] = one
        else:
            raise UserError(
                f"A {type(one).__name__} is not a policy: it needs `spec`, `reset(tasks, seeds)` "
                "and `act(observation)`. Give such an object, or an address."
            )
    names = [policy.spec.name for policy in found.values()]
    for name in names:
        if names.count(name) > 1:
            raise UserError(_twice(name))
    if not found:
        raise UserError("There is no policy to evaluate. Give at least one.")
    return found


def as_list(policies: PolicyArgument) -> list[Address | Policy]:
    """One policy or several, as several."""
    if isinstance(policies, list | tuple):
        return list(policies)
    return [policies]  # type: ignore[list-item]


def _twice(name: str) -> str:
    return f"Two policies are named '{name}'. Remove one, or change the name in its spec."


def origin(model: object) -> Origin:
    """Where a live world model or judge was loaded from; nothing where it has changed since."""
    known = _ORIGINS.get(model, Origin())
    if known.weights and isinstance(model, World) and _digest(model) != known.weights:
        return Origin()
    return known


def _digest(world: World) -> str:
    """A digest of a world model's weights as they are now."""
    digest = hashlib.sha256()
    for name, tensor in world.state_dict().items():
        digest.update(name.encode())
        plain = tensor.detach().cpu().contiguous()
        digest.update(plain.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
