"""Upload world models, judges, policies, labs and datasets to the Hugging Face Hub."""

from pathlib import Path

from worldeval import hub
from worldeval.api.load import Address
from worldeval.api.recipes import LAB
from worldeval.errors import UserError
from worldeval.export.model_card import model_card, validated
from worldeval.files import read_object
from worldeval.hub import PushedFiles
from worldeval.judge.learned import CARD as JUDGE
from worldeval.judge.load import judge_hash
from worldeval.policy.load import CARD as POLICY
from worldeval.recipe import shipped
from worldeval.runs.passport import find_passport
from worldeval.world.load import CARD as WORLD
from worldeval.world.load import read_card, world_hash

README = "README.md"
LEROBOT = "meta/info.json"
COMMAND = "worldeval rank PROTOCOL"


def push(
    folder: Address, repo: str, *, private: bool = False, license: str | None = None
) -> PushedFiles:
    """Upload a world model, a judge, policies, a lab or a dataset to the Hugging Face Hub.

    Others use it by its address `hf:USER/NAME`. A model card is written if the folder has no
    README.md. Only data files are uploaded, in one commit: JSON, safetensors, YAML, HDF5, and for
    datasets tables and videos.

    Args:
        folder: a folder written by `worldeval train`, `judge train`, `policy train`, `learn` or
            `export`.
        repo: name of the repository, `user/name`. It is made if it does not exist.
        private: make a new repository private.
        license: licence for the model card, such as `apache-2.0`.

    Returns:
        The address with the commit, the URL and the names of the files.

    Raises:
        UserError: the folder holds none of these, or the upload fails.

    >>> import worldeval as we
    >>> we.push("runs/world", "me/my-robot").address  # doctest: +SKIP
    'hf:me/my-robot@0f3c...'
    """
    place = Path(shipped(str(folder)))
    kind = _kind(place)
    files: list[tuple[str, Path | bytes]] = [
        (path.relative_to(place).as_posix(), path) for path in hub.sendable(place, kind)
    ]
    if not (place / README).is_file():
        files.append((README, card_of(place, repo, license=license).encode()))
    return hub.push(
        files, repo, kind, private=private, message=f"Upload {place.resolve().name} from worldeval"
    )


def card_of(folder: Path, repo: str, *, license: str | None = None) -> str:
    """Write the model card of a folder."""
    if (folder / WORLD).is_file():
        return _world(folder, repo, license)
    if (folder / JUDGE).is_file():
        return _judge(folder, repo, license)
    names = [str(path.parent.relative_to(folder)) for path in sorted(folder.rglob(POLICY))]
    return model_card(
        title=repo.partition("/")[2],
        summary="Checkpoints of robot policies, trained with worldeval.",
        kind="policy",
        facts={"checkpoints": ", ".join(f"`{name}`" for name in names if name != ".")},
        use=f'import worldeval as we\n\nwe.rank("hf:{repo}", protocol="mine.yaml")',
        trust=["Nothing here says how well they do: rank them."],
        license=license,
    )


def _world(folder: Path, repo: str, license: str | None) -> str:
    card = read_card(folder)
    spec = card["spec"]
    return model_card(
        title=repo.partition("/")[2],
        summary="A world model: it predicts a robot's cameras and proprioception from its actions, "
        "so that policies can be evaluated inside it.",
        kind="world-model",
        facts={
            "family": f"`{card['kind']}`",
            "tasks": ", ".join(spec.tasks),
            "instructions": f"{len(spec.instructions)}" if spec.instructions else None,
            "views": f"{', '.join(spec.views)} ({spec.size[0]} x {spec.size[1]})",
            "world frames per second": f"{spec.fps:g}",
            "numbers of an action": spec.action_dim,
            "meaning of an action": spec.space and f"`{spec.space}`",
            "numbers of proprioception": spec.pose_dim,
            "content": f"`{world_hash(folder)}`",
        },
        use=f'import worldeval as we\n\nworld = we.load_world("hf:{repo}")\n'
        f"# {COMMAND} --world hf:{repo}",
        trust=[
            "It knows the tasks, cameras and robot above, and nothing else.",
            "Where a ranking by it agrees with the robot is said by the passport of a judge that "
            "was trained for it.",
        ],
        license=license,
    )


def _judge(folder: Path, repo: str, license: str | None) -> str:
    card = read_object(folder / JUDGE)
    quality = card.get("left_out_families") or {}
    shown = {
        "AUC": quality.get("auc"),
        "failures judged as success": quality.get("false_success"),
        "successes judged as failure": quality.get("missed_success"),
    }
    return model_card(
        title=repo.partition("/")[2],
        summary="A judge: it predicts the probability that an imagined episode is a success, "
        "calibrated on policies that it was not trained on.",
        kind="judge",
        facts={
            "tasks": ", ".join(card.get("tasks", ())),
            "belongs to the world model with content": f"`{card.get('world', '')}`",
            **{name: f"{value:.3f}" for name, value in shown.items() if value is not None},
            "content": f"`{judge_hash(folder)}`",
        },
        use=f'import worldeval as we\n\njudge = we.load_judge("hf:{repo}")\n'
        f"# {COMMAND} --judge hf:{repo}",
        trust=validated(find_passport(folder)),
        license=license,
    )


def _kind(folder: Path) -> hub.Kind:
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder}. Check the path.")
    ours = any((folder / name).is_file() for name in (WORLD, JUDGE, LAB))
    if ours or next(folder.rglob(POLICY), None) is not None:
        return "model"
    if (folder / LEROBOT).is_file() or next(folder.glob("*.h*5"), None) is not None:
        return "dataset"
    raise UserError(
        f"{folder} holds no world model, judge, policy, lab or dataset of worldeval. Give a folder "
        "of `worldeval train`, `judge train`, `policy train`, `learn` or `export`."
    )
