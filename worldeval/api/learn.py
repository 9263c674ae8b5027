"""Build everything that a ranking needs from recordings, in one resumable call.

A lab is a folder: `world/`, `judge/`, `starts.h5`, `replays.h5`, `protocol.yaml` and `README.md`,
which reports its contents, quality and limitations. It can be copied to another machine:
`worldeval rank LAB --policies ...` finds everything in it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from worldeval import recipe as recipes
from worldeval.api.lab_report import lab_report
from worldeval.api.learn_sizes import sized_judge, sized_stages
from worldeval.api.load import Address
from worldeval.api.train import TrainedWorld, train_judge, train_world
from worldeval.data.adapt import without_jumps
from worldeval.data.check.check import check, harmful
from worldeval.data.source import Source, open_source
from worldeval.data.table import RecordedEpisodes
from worldeval.data.weighted import read_mixture, read_rollouts
from worldeval.errors import UserError
from worldeval.evaluate.first_passports import lab_passport
from worldeval.evaluate.gates import Gates
from worldeval.evaluate.kept_gates import REPLAYING, kept_gates
from worldeval.evaluate.recordings import keep_recordings
from worldeval.files import read_json, whole_file
from worldeval.judge.beforehand import refuse_unjudgeable
from worldeval.judge.load import judge_hash, load_judge
from worldeval.rollout.starts import (
    Recording,
    read_recordings,
    read_starts,
    recordings,
    write_recordings,
    write_starts,
)
from worldeval.runs.passport import find_passport
from worldeval.world.load import load_world, read_card, world_hash
from worldeval.world.sources import as_trained
from worldeval.world.training.prepare import kept_out

WORLD, JUDGE, PROTOCOL = "world", "judge", "protocol.yaml"
STARTS, REPLAYS, REPORT = "starts.h5", "replays.h5", "README.md"
RECORDINGS = "recordings"  # pieces of held-out episodes, to check policies' interfaces with
LARGEST = 96  # longer side of a view in pixels that a laptop can train on in reasonable time
LEAST_STARTS = 20  # desired number of held-out episodes, since each gives one start
MOST_STARTS = 40  # per task
FITTED_STARTS = 60  # per task, of training episodes, to which start frames are fitted
MOST_FITTED = 600  # of them in total
FIRST_SEED = 1_000_000  # of a simulator's resets; recordings are usually made from small ones
REPLAYED = 0.2  # share of the roll-outs that is kept from all models, for the gates


@dataclass(frozen=True, kw_only=True)
class Lab:
    """Output of `learn`, with its quality measurements."""

    folder: Path
    world: TrainedWorld
    judge: Mapping[str, float | None]  # measured on held-out episodes or policy families
    uncalibrated: bool  # no failure was recorded, so rates must not be quoted
    starts: int
    horizon: int
    gates: Gates | None  # None if no roll-outs were left to replay

    @property
    def page(self) -> str:
        """What the lab contains, how good it is, and what it cannot do, as Markdown."""
        return (self.folder / REPORT).read_text()


def learn(
    data: Address,
    out: Address,
    *,
    rollouts: Sequence[Address] = (),
    model: str = "latent",
    minutes: float | None = None,
    map: Address | None = None,
    every: int | None = None,
    text_encoder: Address | None = None,
    settings: Mapping[str, Any] | None = None,
    judge_settings: Mapping[str, Any] | None = None,
    checked: bool = True,
    jobs: int = 2,
    seed: int = 0,
    progress: bool = True,
) -> Lab:
    """Train a world model and a judge on recordings, and set up a ranking with them.

    Repeating the same call only does the work that is still missing.

    Args:
        data: recorded episodes in any format.
        out: folder of the lab.
        rollouts: datasets of earlier policy evaluation episodes with known outcomes, from which
            failure is learned. Without any, labelled recordings are set aside instead.
        model: a model recipe, by name or path.
        minutes: total training time on this machine; None trains for as long as the recipe says.
        map: YAML file that describes the columns and images of the recordings and the roll-outs,
            as `worldeval data inspect` writes it.
        every: recorded steps in a frame, whose actions are stacked. Default: as in the map, or 1.
        text_encoder: folder of a text encoder (CLIP's or a sentence encoder) by which the judge
            reads instructions; `ignore` judges without them. Default: known tasks by name.
        settings: model recipe keys with their values.
        judge_settings: judge recipe keys with their values.
        checked: if False, continue even though `worldeval data check` finds errors.
        jobs: number of folds trained at the same time.
        seed: seed of all random choices.
        progress: whether to show progress.

    Raises:
        UserError: the data would harm training, or lack what a judge needs to learn.

    >>> import worldeval as we
    >>> we.learn("recordings", "lab", rollouts=["evaluations"], minutes=60)  # doctest: +SKIP
    """
    maps = [] if map is None else [Path(map)]
    (part,) = read_mixture([str(data)], maps=maps, every=every)
    weak = read_rollouts([Path(each) for each in rollouts], maps, every, beside=[part])
    source, lab, say = part.open(), Path(out), _sayer(progress)
    tried = [each.open() for each in weak]
    if checked:
        # Jumping angles are no harm here: everything that learns from them converts them.
        _refuse_harm(without_jumps(source))
    given = _settings(source, tried, model, settings)
    world_recipe = recipes.load(model, "model", given).config
    reads = {} if text_encoder is None else {"text": str(text_encoder)}
    judge_recipe = recipes.load("judge", "judge", {**(judge_settings or {}), **reads}).config
    refuse_unjudgeable(source, tried, world_recipe, judge_recipe, seed=seed)
    if minutes is not None:
        given |= sized_stages(
            source, model, given, minutes, lab, jobs=jobs, seed=seed, say=say, fixed=settings or ()
        )
    trained = train_world(
        part, lab / WORLD, model=model, weak=weak, settings=given, jobs=jobs,
        seed=seed, progress=progress,
    )  # fmt: skip
    judge = lab / JUDGE
    if not (judge / "judge.json").is_file():
        own = dict(judge_settings or {})
        if minutes is not None and "trainer.steps" not in own:
            longest = max(head.length for each in tried or [source] for head in each.heads)
            spec = read_card(lab / WORLD)["spec"]
            own["trainer.steps"] = sized_judge(spec, judge_recipe, longest, minutes, lab)
        train_judge(
            lab / WORLD, part, weak, judge, settings=own, text_encoder=text_encoder,
            seed=seed, world_seed=seed, progress=progress,
        )  # fmt: skip
    card = read_json(judge / "judge.json")
    horizon = int(card["recipe"]["horizon"])
    starts = _write_starts(source, lab)
    _write_replays(tried, lab, horizon, seed=seed)
    known = read_card(lab / WORLD)
    held = _held_out(source, known["recipe"], known["seed"]).tolist()
    keep_recordings(as_trained(source, known["spec"]), held, lab / RECORDINGS)
    _write_protocol(lab, horizon)
    gates = _gates(lab, seed=seed, say=say)
    _write_passport(source, lab, horizon, gates, seed=seed)
    made = Lab(
        folder=lab,
        world=trained,
        judge=card["left_out_families"],
        uncalibrated=bool(card.get("uncalibrated")),
        starts=starts,
        horizon=horizon,
        gates=gates,
    )
    with whole_file(lab / REPORT) as draft:
        draft.write_text(
            lab_report(
                lab=lab,
                data=str(data),
                rollouts=[str(each) for each in rollouts],
                fidelity=trained.fidelity,
                psnr=trained.tokenizer_psnr,
                held_out=trained.held_out_episodes,
                judge=made.judge,
                uncalibrated=made.uncalibrated,
                starts=starts,
                horizon=horizon,
                gates=gates,
            )
        )
    return made


def starts_of(
    data: Address | Source, world: Address, out: Address, *, per_task: int = MOST_STARTS
) -> int:
    """Write the first frames of held-out episodes as starts, and return how many there are.

    Args:
        data: the dataset that the world model was trained on.
        world: the world model, which determines the image size and which episodes are held out.
        out: the file to write.
        per_task: maximum number of starts per task.

    Raises:
        UserError: the world model holds out no episode of this dataset.

    >>> from worldeval.api.learn import starts_of
    >>> starts_of("recordings", "lab/world", "starts.h5")  # doctest: +SKIP
    """
    card = read_card(Path(world))
    opened = open_source(Path(data)) if isinstance(data, str | Path) else data
    source = as_trained(opened, card["spec"])
    # The seed of the training: another one would take episodes that were trained on.
    held = _held_out(source, card["recipe"], card["seed"])
    recorded = RecordedEpisodes([source])
    chosen = _spread([source.heads[int(index)].task for index in held], per_task, held)
    found = recordings(recorded, np.array(chosen), 1)
    if not found:
        raise UserError(
            f"{world} holds out no episode of {data}, so every start would be one it "
            "was trained on."
        )
    (path := Path(out)).parent.mkdir(parents=True, exist_ok=True)
    write_starts(path, [replace(one.start, seed=k) for k, one in enumerate(found)])
    return len(found)


def _refuse_harm(source: Source) -> None:
    findings = check(source, pictures=False)
    if harmful(findings):
        errors = [found for found in findings if found.severity == "error"]
        listed = "; ".join(f"{found.field}: {found.text}" for found in errors[:3])
        raise UserError(
            f"{source.spec.path} would harm training ({len(errors)} kinds of error: {listed}). "
            "List them with `worldeval data check`, then correct the data, or pass --no-check."
        )


def _settings(
    source: Source, rollouts: Sequence[Source], model: str, settings: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Derive model recipe keys from the data; the caller's own settings take precedence."""
    config = recipes.load(model, "model", settings).config
    given: dict[str, Any] = {"actuation.scale": 0.0}
    sizes = set(source.spec.views.values())
    largest = max(max(size) for size in sizes)
    if not config.tokenizer.folder and (len(sizes) > 1 or largest > LARGEST):
        given["size"] = list(_common_size(sizes))
    share = LEAST_STARTS / max(len(source), 1)
    given["held_out"] = float(np.clip(share, config.held_out, 0.3))
    if rollouts:
        given["kept_rollouts"] = REPLAYED
    else:
        given["own_rollouts"] = 0.5
    return {**given, **(settings or {})}


def _common_size(sizes: set[tuple[int, int]]) -> tuple[int, int]:
    """Return one size for all views: the mean shape, longer side at most 64, divisible by 8."""
    height = float(np.exp(np.mean([np.log(h) for h, _ in sizes])))
    width = float(np.exp(np.mean([np.log(w) for _, w in sizes])))
    scale = min(1.0, 64 / max(height, width))
    return tuple(max(16, round(side * scale / 8) * 8) for side in (height, width))  # type: ignore[return-value]


def _write_starts(source: Source, lab: Path) -> int:
    path = lab / STARTS
    if path.is_file():
        return len(read_starts(path))
    return starts_of(source, lab / WORLD, path)


def _held_out(source: Source, recipe: Any, seed: int) -> Any:
    from worldeval.data.split import held_out

    return np.flatnonzero(held_out(source, share=recipe.held_out, seed=seed))


def _spread(tasks: Sequence[str], most: int, held: Any) -> list[int]:
    count: dict[str, int] = {}
    chosen = []
    for index, task in zip(held, tasks, strict=True):
        count[task] = count.get(task, 0) + 1
        if count[task] <= most:
            chosen.append(int(index))
    return chosen


def _write_replays(rollouts: Sequence[Source], lab: Path, horizon: int, *, seed: int) -> None:
    """Write roll-outs that no model has seen, for the gates."""
    path = lab / REPLAYS
    if path.is_file() or not rollouts:
        return
    spec, recipe = (read_card(lab / WORLD)[name] for name in ("spec", "recipe"))
    found: list[Recording] = []
    for number, rollout in enumerate(rollouts):
        own = as_trained(rollout, spec)
        chosen = [
            index
            for index in kept_out(own, recipe.kept_rollouts, seed=seed, number=number)
            if own.heads[index].success is not None and spec.knows(own.heads[index].task)
        ]
        if chosen:
            found += recordings(RecordedEpisodes([own]), np.array(chosen), horizon)
    if found:
        write_recordings(path, found)


def _write_passport(
    source: Source, lab: Path, horizon: int, gates: Gates | None, *, seed: int
) -> None:
    """Write the judge's passport, unless it has one for these models already."""
    world, judge = lab / WORLD, lab / JUDGE
    if (before := find_passport(judge)) is not None and (
        before.world.hash == world_hash(world) and before.judge.hash == judge_hash(judge)
    ):
        return
    card = read_card(world)
    own = as_trained(source, card["spec"])
    trained = np.setdiff1d(np.arange(len(own)), _held_out(own, card["recipe"], card["seed"]))
    chosen = _spread([own.heads[int(index)].task for index in trained], FITTED_STARTS, trained)
    if len(chosen) > MOST_FITTED:
        chosen = np.random.default_rng(seed).choice(chosen, MOST_FITTED, replace=False).tolist()
    fitting = recordings(RecordedEpisodes([own]), np.array(chosen), 1)
    found = (("starts", lab / STARTS), ("replays", lab / REPLAYS), ("protocol", lab / PROTOCOL))
    lab_passport(
        world,
        judge,
        fitting=[one.start for one in fitting],
        held_out=read_starts(lab / STARTS),
        horizon=horizon,
        gates={} if gates is None else {name: getattr(gates, name) for name in asdict(gates)},
        evidence=[(role, path) for role, path in found if path.is_file()],
        seed=seed,
    )


def _write_protocol(lab: Path, horizon: int) -> None:
    starts = [start.task for start in read_starts(lab / STARTS)]
    tasks = list(dict.fromkeys(starts))
    content: dict[str, Any] = {
        "kind": "closed-loop",
        "summary": "Made by worldeval learn; paths are relative to this file.",
        "tasks": tasks,
        "policies": [],
        "world": WORLD,
        "judge": JUDGE,
        "starts_file": STARTS,
        "starts": min(starts.count(task) for task in tasks),
        "first_seed": FIRST_SEED,
        "horizon": horizon,
        "replan_every": 1,
    }
    for key, name in (("replays", REPLAYS), ("recordings", RECORDINGS)):
        if (lab / name).exists():
            content[key] = name
    with whole_file(lab / PROTOCOL) as draft:
        draft.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _gates(lab: Path, *, seed: int, say: Callable[[str], None]) -> Gates | None:
    path = lab / REPLAYS
    if not path.is_file() or {each.success for each in read_recordings(path)} != {True, False}:
        return None
    return kept_gates(
        lab,
        path,
        lambda: (load_world(lab / WORLD), load_judge(lab / JUDGE)),
        world=world_hash(lab / WORLD),
        judge=judge_hash(lab / JUDGE),
        seed=seed,
        progress=lambda done, total: say(f"{REPLAYING} {done}/{total}"),
    )


def _sayer(progress: bool) -> Callable[[str], None]:
    if not progress:
        return lambda text: None
    from rich.console import Console

    console = Console(stderr=True, markup=False, highlight=False)
    return lambda text: console.print(text, soft_wrap=True)
