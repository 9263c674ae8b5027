"""`worldeval improve`: better policies from imagination alone; the simulator is never asked."""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from worldeval.cli.common import Json, Out, Seed, Sets, console, emit, log

improve = typer.Typer(
    name="improve", help="Make policies better in imagination alone.", no_args_is_help=True
)

Recipe = Annotated[str, typer.Argument(help="An improvement recipe: name or path.")]
Policy = Annotated[str, typer.Option("--policy", help="The checkpoint to improve.")]
World = Annotated[str | None, typer.Option(help="Folder of a trained world model.")]
JudgeFolder = Annotated[str | None, typer.Option("--judge", help="Folder of a trained judge.")]
Data = Annotated[str | None, typer.Option("--data", help="Folder of recorded episodes.")]
Tasks = Annotated[list[str] | None, typer.Option("--task", help="Improve on these tasks alone.")]


def register(app: typer.Typer) -> None:
    """Add the `improve` group."""
    app.add_typer(improve)


@improve.command("sft")
def sft(
    policy: Policy,
    recipe: Recipe = "improve-sft",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Fine-tune a policy on its imagined successes, round after round.

    OUT holds every round's dataset (LeRobot v3), the checkpoints, rounds.json and claim.json.
    """
    from worldeval.improve.opening import open_place, open_policy
    from worldeval.improve.sft import Sft
    from worldeval.policy.finetune import original_demos

    asked = ImproveRequest(recipe, world, judge, data, tasks, out, seed, sets, as_json)
    config, folder = _begin("sft", policy, asked)
    origin = open_policy(policy)
    opened = open_place(config, origin.sizes.tasks, seed=seed)
    demos = None
    if config.ratio > 0 and opened.recorded is not None:
        demos = original_demos(origin, opened.recorded)
    run = Sft(
        place=opened.place,
        recipe=config,
        starts=opened.starts,
        demos=demos,
        out=folder,
        seed=seed,
        write=_write_dataset,
        world_model=opened.world_hash,
        recorded=opened.recorded,
        say=log.print,
    )
    improved, rounds = run.run(origin)
    _claim(origin, improved, opened, config, folder, asked, [r.to_json() for r in rounds])


@improve.command("rl")
def rl(
    policy: Policy,
    recipe: Recipe = "improve-rl",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Improve a policy by policy gradients over its denoising steps, inside the world model.

    OUT holds checkpoints, iterations.json, rl.json and claim.json. It ends early where imagined
    success no longer holds up when the same actions are carried out again.
    """
    from worldeval.improve.doubt import Doubt, check_second
    from worldeval.improve.dppo import Dppo
    from worldeval.improve.opening import open_place, open_policy
    from worldeval.recipe import shipped
    from worldeval.run import write_json
    from worldeval.world.load import load_world

    asked = ImproveRequest(recipe, world, judge, data, tasks, out, seed, sets, as_json)
    config, folder = _begin("rl", policy, asked)
    origin = open_policy(policy)
    opened = open_place(config, origin.sizes.tasks, seed=seed)
    second = None
    if config.second:
        check_second(Path(shipped(config.world)), Path(shipped(config.second)))
        second = load_world(Path(shipped(config.second)))
    run = Dppo(
        place=opened.place,
        recipe=config,
        starts=opened.starts,
        doubt=Doubt(place=opened.place, second=second, disturbance=config.disturbance, seed=seed),
        out=folder,
        seed=seed,
        say=log.print,
    )
    done = run.run(origin)
    write_json(folder / "rl.json", done.to_json())
    log.print(f"ended: {done.stopped}; kept {done.policy.spec.name}")
    checks = [check.to_json() for check in done.checks]
    _claim(origin, done.policy, opened, config, folder, asked, checks)


@improve.command("search")
def search(
    policy: Annotated[str, typer.Option("--policy", help="Any policy: checkpoint or code.")],
    recipe: Recipe = "improve-search",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Make a policy that imagines several plans at every replan and takes the best of them.

    OUT/policy.py:policy names it to `rank`, `imagine`, `truth` and `improve` alike.
    """
    from worldeval.improve.opening import open_place
    from worldeval.improve.search import Searched
    from worldeval.improve.wrapped import write_policy
    from worldeval.policy.load import load_policy
    from worldeval.recipe import shipped

    asked = ImproveRequest(recipe, world, judge, data, tasks, out, seed, sets, as_json)
    config, folder = _begin("search", policy, asked)
    bare = load_policy(shipped(policy))
    opened = open_place(config, _tasks_of(bare), seed=seed)
    searching = Searched(bare, opened.place.world, opened.place.judge, config)
    log.print(f"{searching.spec.name} is {write_policy(folder, 'search')}")
    _claim(bare, searching, opened, config, folder, asked, [])


@improve.command("compose")
def compose(
    policies: Annotated[
        list[str], typer.Option("--policy", help="A diffusion or flow checkpoint; give two.")
    ],
    recipe: Recipe = "improve-compose",
    world: World = None,
    judge: JudgeFolder = None,
    data: Data = None,
    tasks: Tasks = None,
    out: Out = None,
    seed: Seed = 0,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Mix the scores of two policies, with the weight that imagines most success.

    OUT/policy.py:policy names the mixture; it is compared with the better of the two.
    """
    from worldeval.errors import UserError
    from worldeval.improve.compose import Composed, best_weight, search_weight
    from worldeval.improve.opening import open_place, open_policy
    from worldeval.improve.wrapped import WEIGHT, write_policy
    from worldeval.run import write_json

    if len(policies) != 2:
        raise UserError(
            f"{len(policies)} policies were given; a mixture is of two: --policy twice."
        )
    asked = ImproveRequest(recipe, world, judge, data, tasks, out, seed, sets, as_json)
    config, folder = _begin("compose", policies, asked)
    first, second = (open_policy(ref) for ref in policies)
    shared = tuple(task for task in first.sizes.tasks if task in second.sizes.tasks)
    opened = open_place(config, shared, seed=seed)
    starts = opened.starts.draw(config.starts, _generator(seed))
    # Each policy alone is tried too, whatever the recipe says: the better one is compared with.
    weights = tuple(sorted({0.0, 1.0, *config.weights}))
    tried = search_weight(opened.place, first, second, weights, starts, seed=seed)
    for one in tried:
        log.print(f"weight {one.weight:g}: imagined success {one.imagined}")
    weight = best_weight(tried)
    steps = [{"weight": one.weight, "imagined": one.imagined.record()} for one in tried]
    write_json(folder / WEIGHT, {"weight": weight, "tried": steps})
    rates = {one.weight: one.imagined.value or 0.0 for one in tried}
    better = second if rates[0.0] > rates[1.0] else first
    mixture = Composed(first, second, weight)
    log.print(f"{mixture.spec.name} is {write_policy(folder, 'compose')}")
    _claim(better, mixture, opened, config, folder, asked, steps)


def _generator(seed: int) -> Any:
    import numpy as np

    return np.random.default_rng([seed, 41])


def _tasks_of(policy: Any) -> tuple[str, ...] | None:
    """The tasks of a checkpoint; a policy that is only code does not say."""
    sizes = getattr(policy, "sizes", None)
    return None if sizes is None else sizes.tasks


class ImproveRequest(NamedTuple):
    """What every verb here is given, beside its policies."""

    recipe: str
    world: str | None
    judge: str | None
    data: str | None
    tasks: list[str] | None
    out: Path | None
    seed: int
    sets: list[str] | None
    as_json: bool


def _begin(verb: str, policy: str | list[str], asked: ImproveRequest) -> tuple[Any, Path]:
    """The recipe with what the options change in it, and its run folder."""
    from worldeval import recipe as recipes
    from worldeval.errors import UserError
    from worldeval.runs.origin import open_run

    changed = [*(asked.sets or ())]
    for key, value in (("world", asked.world), ("judge", asked.judge), ("data", asked.data)):
        if value is not None:
            changed.append(f"{key}={value}")
    if asked.tasks:
        changed.append(f"tasks=[{', '.join(asked.tasks)}]")
    found = recipes.load(asked.recipe, "improvement", changed)
    if found.kind != f"improve-{verb}":
        raise UserError(f"{found.path} is a recipe for `worldeval {found.kind.replace('-', ' ')}`.")
    folder = asked.out or Path("runs") / found.name
    named = {"policy": policy} if isinstance(policy, str) else {"policies": list(policy)}
    resolved = {**found.resolved(), **named}
    command = f"improve {verb}"
    return found.config, open_run(folder, recipe=resolved, seed=asked.seed, command=command)


def _write_dataset(pairs: Any, folder: Path, facts: Any) -> object:
    from worldeval import __version__
    from worldeval.export.dataset import export_episodes

    return export_episodes(
        pairs,
        folder,
        signals=("weight",),
        facts={"made_by": f"worldeval {__version__}", **facts},
        summary="Robot episodes imagined by a learned world model, chosen to improve a policy.",
    )


def _claim(
    origin: Any,
    improved: Any,
    opened: Any,
    config: Any,
    folder: Path,
    asked: ImproveRequest,
    steps: list[dict[str, Any]],
) -> None:
    """Compare on held-out starts, paired, and say only what the gates allow."""
    from worldeval.improve.guard import claim
    from worldeval.run import write_json

    log.print("comparing on held-out starts")
    place, starts = opened.place, opened.starts.held_out
    # The seeds of the comparison are its own: nothing was watched with them.
    before = place.compared(origin, starts, seed=asked.seed + 1)
    after = place.compared(improved, starts, seed=asked.seed + 1)
    found = gate_findings(config, place, after, opened.tasks, seed=asked.seed)
    result = claim(before, after, found)
    content = {
        "origin": origin.spec.name,
        "improved": improved.spec.name,
        "claim": result.to_json(),
        "steps": steps,
    }
    write_json(folder / "claim.json", content)
    emit(content, as_json=asked.as_json)
    if not asked.as_json:
        console.print(result.text)
        log.print(f"{folder}/claim.json holds every number.", style="dim")


def gate_findings(
    config: Any, place: Any, attempts: Any, tasks: tuple[str, ...], *, seed: int
) -> list[Any]:
    """What replayed recordings and trust signals say against believing this world model."""
    import numpy as np

    from worldeval.evaluate.gates import ACTION_EFFECT, run_gates
    from worldeval.evaluate.summary import MENDED
    from worldeval.improve.guard import NO_GATE
    from worldeval.recipe import shipped
    from worldeval.rollout.starts import read_recordings
    from worldeval.stats import Finding, untrustworthy
    from worldeval.stats.findings import judge_uninformative

    mended = [one.rollout.trust.get("mended_actions", 0.0) > MENDED for one in attempts]
    untrusted = float(np.mean(mended))
    recordings = []
    if config.replays:
        every = read_recordings(Path(shipped(config.replays)))
        recordings = [one for one in every if one.start.task in tasks]
    if not recordings:
        never = Finding(
            code=NO_GATE,
            severity="warning",
            text="No recorded episode of these tasks was replayed, so nobody knows whether this "
            "world model turns failures into successes: name some in `replays`.",
        )
        return [*untrustworthy(untrusted=untrusted), never]
    gates = run_gates(place.world, place.judge, recordings, rng=np.random.default_rng(seed))
    found = untrustworthy(false_success=gates.false_success, untrusted=untrusted)
    found += judge_uninformative(gates.informativeness, None)
    effect = gates.action_effect
    if effect.low is None or effect.low < ACTION_EFFECT:
        found.append(
            Finding(
                code="actions_ignored",
                severity="refusal",
                text=f"Zeroed or shuffled actions lower the predicted success by {effect} only; "
                f"{ACTION_EFFECT} is needed.",
            )
        )
    return found
