"""Recipes: what a user writes, what the code gets, and what a mistake answers."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml

from worldeval import config, recipe
from worldeval.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Trainer:
    steps: int = 100
    rate: float = 1e-3


@dataclass(frozen=True, kw_only=True)
class Driver:
    name: str
    noise: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, kw_only=True)
class Config:
    tasks: tuple[str, ...]
    trainer: Trainer = field(default_factory=Trainer)
    drivers: tuple[Driver, ...] = ()
    extra: list[Driver] | None = None
    named: dict[str, Driver] = field(default_factory=dict)
    range: tuple[float, float] = (0.0, 1.0)
    weights: Path | None = None
    data: Path = Path("runs/data")
    share: float | None = None

    def __post_init__(self) -> None:
        if self.range[0] > self.range[1]:
            raise ValueError(f"range {self.range} runs backwards")


def built(text: str) -> Config:
    return config.build(Config, yaml.safe_load(text), where="mine.yaml")


def refusal(text: str) -> str:
    with pytest.raises(UserError) as caught:
        built(text)
    return str(caught.value)


def test_defaults_fill_what_is_not_written() -> None:
    assert built("tasks: [drawer]") == Config(tasks=("drawer",))


def test_a_list_becomes_a_tuple_and_an_int_a_float() -> None:
    made = built("{tasks: [a, b], range: [0, 2], share: 1, drivers: [{name: x, noise: [1, 0.5]}]}")
    assert made.tasks == ("a", "b")
    assert made.range == (0.0, 2.0)
    assert made.drivers == (Driver(name="x", noise=(1.0, 0.5)),)
    assert type(made.share) is float
    assert all(type(number) is float for number in made.drivers[0].noise)


def test_yaml_exponents_without_a_point_are_numbers() -> None:
    assert built("{tasks: [a], trainer: {rate: 1e-4}}").trainer.rate == 1e-4


def test_optional_values_take_null_and_paths_take_text() -> None:
    made = built("{tasks: [a], weights: null, data: /tmp/x, share: null}")
    assert (made.weights, made.data, made.share) == (None, Path("/tmp/x"), None)
    assert built("{tasks: [a], weights: w.safetensors}").weights == Path("w.safetensors")


def test_lists_and_mappings_of_dataclasses() -> None:
    made = built("{tasks: [a], extra: [{name: x}], named: {one: {name: y}}}")
    assert made.extra == [Driver(name="x")]
    assert made.named == {"one": Driver(name="y")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{tasks: [a], trianer: {}}", "no key 'trianer'. Did you mean 'trainer'?"),
        ("{tasks: [a], trainer: {step: 1}}", "no key 'trainer.step'. Did you mean 'steps'?"),
        ("{tasks: [a], drivers: [{name: x}, {nam: y}]}", "'drivers[1].nam'. Did you mean 'name'?"),
        ("{tasks: [a], extra: [{nam: y}]}", "'extra[0].nam'"),
        ("{tasks: [a], named: {one: {nam: y}}}", "'named.one.nam'"),
        ("{tasks: [a], trainer: {zzzzzz: 1}}", "Known: rate, steps."),
        ("{}", "the key 'tasks' is missing"),
        ("{tasks: [a], drivers: [{noise: [1]}]}", "the key 'drivers.name' is missing"),
        ("{tasks: drawer}", "'tasks' is 'drawer'; expected tuple[str, ...]"),
        ("{tasks: [1]}", "'tasks' is (1,); expected tuple[str, ...]"),
        ("{tasks: [a], trainer: {steps: many}}", "'trainer.steps' is 'many'; expected int"),
        ("{tasks: [a], trainer: {rate: fast}}", "'trainer.rate' is 'fast'; expected float"),
        ("{tasks: [a], trainer: {steps: 1.5}}", "'trainer.steps' is 1.5; expected int"),
        ("{tasks: [a], trainer: {steps: true}}", "'trainer.steps' is True; expected int"),
        ("{tasks: [a], trainer: 3}", "'trainer' is 3"),
        ("{tasks: [a], range: [1]}", "'range' is [1]; expected tuple[float, float]"),
        ("{tasks: [a], range: [2, 1]}", "range (2.0, 1.0) runs backwards"),
        ("{tasks: [a], data: 3}", "mine.yaml: "),
    ],
)
def test_a_mistake_names_the_file_the_key_and_what_fits(text: str, says: str) -> None:
    message = refusal(text)
    assert message.startswith("mine.yaml: ")
    assert says in message


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe folder of its own, whose kind 'toy' fills `Config` above."""
    monkeypatch.setattr(recipe, "RECIPES", tmp_path)
    monkeypatch.setattr(
        recipe,
        "KINDS",
        {"toy": ("model", "toys:Config"), "other": ("policy", "toys:Config")},
    )

    monkeypatch.setattr(recipe, "import_module", lambda name: SimpleNamespace(Config=Config))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "small.yaml").write_text(
        "kind: toy\nsummary: A small one.\ntasks: [a, b]\ntrainer: {steps: 5}\n"
    )
    return folder


def test_a_recipe_is_found_by_name_and_by_path(shelf: Path) -> None:
    by_name = recipe.load("small", "model")
    assert by_name.config == Config(tasks=("a", "b"), trainer=Trainer(steps=5))
    assert by_name == recipe.load(str(shelf / "small.yaml"), "model")
    assert (by_name.name, by_name.kind, by_name.summary) == ("small", "toy", "A small one.")


def test_overrides_reach_nested_keys_and_keep_their_neighbours(shelf: Path) -> None:
    made = recipe.load(
        "small", "model", {"trainer.rate": "1e-2", "tasks": ["c"], "share": 0.5}
    ).config
    assert made == Config(tasks=("c",), trainer=Trainer(steps=5, rate=0.01), share=0.5)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trainer.step=1", "Did you mean 'steps'?"),
        ("tasks.x=1", "'tasks' is a value"),
        ("steps", "must have the form key=value"),
        (".steps=1", "must have the form key=value"),
        ("tasks=[a", "not readable YAML"),
    ],
)
def test_a_wrong_override_is_quoted(shelf: Path, override: str, says: str) -> None:
    with pytest.raises(UserError) as caught:
        recipe.load("small", "model", config.read_settings([override]))
    assert override in str(caught.value)
    assert says in str(caught.value)


def test_settings_of_the_command_line_are_read_as_values() -> None:
    texts = ["trainer.steps=3", "tasks=[a]", "name=", "trainer={steps: 5}", "trainer.steps=4"]
    read = config.read_settings(texts)
    assert read == {
        "tasks": ["a"],
        "name": config.CLEARED,
        "trainer": {"steps": 5},
        "trainer.steps": 4,
    }
    assert list(read)[-1] == "trainer.steps"  # the last one counts


def test_the_resolved_recipe_loads_to_the_same_config(shelf: Path) -> None:
    first = recipe.load("small", "model", {"weights": "w.bin", "drivers": [{"name": "x"}]})
    again = shelf / "again.yaml"
    again.write_text(yaml.safe_dump(first.resolved()))
    assert recipe.load("again", "model").config == first.config


def test_a_base_is_inherited_deeply(shelf: Path) -> None:
    (shelf / "large.yaml").write_text("base: small\ntrainer: {rate: 1}\n")
    (shelf / "huge.yaml").write_text("base: large\ntasks: [z]\nsummary: A huge one.\n")
    huge = recipe.load("huge", "model")
    assert huge.config == Config(tasks=("z",), trainer=Trainer(steps=5, rate=1.0))
    assert huge.summary == "A huge one."


def test_ones_own_recipe_may_stand_on_a_shipped_one_of_the_same_name(
    shelf: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "small.yaml"
    mine.write_text("base: small\ntasks: [mine]\n")
    assert recipe.load(str(mine), "model").config.tasks == ("mine",)


def test_bases_in_a_circle_are_refused(shelf: Path) -> None:
    (shelf / "one.yaml").write_text("base: two\n")
    (shelf / "two.yaml").write_text("base: one\n")
    with pytest.raises(UserError, match="circle: one -> two -> one"):
        recipe.load("one", "model")


def test_an_unknown_base_is_named(shelf: Path) -> None:
    (shelf / "one.yaml").write_text("base: smal\n")
    with pytest.raises(UserError, match=r"base 'smal'.*Did you mean 'small'"):
        recipe.load("one", "model")


def test_an_unknown_name_suggests_the_nearest(shelf: Path) -> None:
    with pytest.raises(UserError, match=r"no model recipe 'smll'.*Did you mean 'small'"):
        recipe.load("smll", "model")
    with pytest.raises(UserError, match="no recipe file"):
        recipe.load("missing.yaml", "model")


def test_the_wrong_group_kind_or_content_is_refused(shelf: Path) -> None:
    with pytest.raises(UserError, match="is a model recipe; a policy recipe is needed"):
        recipe.load("small", "policy")
    (shelf / "odd.yaml").write_text("kind: tyo\n")
    with pytest.raises(UserError, match=r"kind 'tyo' is unknown. Did you mean 'toy'"):
        recipe.load("odd", "model")
    (shelf / "odd.yaml").write_text("- a\n")
    with pytest.raises(UserError, match="must contain a mapping"):
        recipe.load("odd", "model")
    (shelf / "odd.yaml").write_text("a: [\n")
    with pytest.raises(UserError, match="not readable YAML"):
        recipe.load("odd", "model")


def test_available_lists_the_recipes_of_one_group(shelf: Path) -> None:
    (shelf / "policy.yaml").write_text("kind: other\ntasks: [a]\n")
    assert recipe.available("model") == [shelf / "small.yaml"]
    assert recipe.available("policy") == [shelf / "policy.yaml"]


def test_an_earlier_versions_recipe_is_read_as_this_one_writes_it() -> None:
    now = recipe.load("judge", "judge")
    before = now.resolved()
    del before["trainer"]["grad_clip"]
    assert now.reread(before) == now.resolved()
    assert now.reread({**before, "horizon": 7})["horizon"] == 7
    strange = {**before, "unheard": 1}
    assert now.reread(strange) == strange


RHO = 7.0


@dataclass(frozen=True, kw_only=True)
class Levels:
    highest: float = 700.0
    RETIRED: ClassVar = config.retired("0.1", rho=RHO, anchored=True)


@dataclass(frozen=True, kw_only=True)
class Sampler(Levels):
    levels: Levels = field(default_factory=Levels)
    RETIRED: ClassVar = config.retired("0.2", strides=(4, 8))


def test_a_retired_key_is_read_where_it_has_the_constants_value() -> None:
    """As in the card of weights that were written when it was a field."""
    card = {"highest": 9.0, "rho": 7, "anchored": True, "strides": [4, 8], "levels": {"rho": "7."}}
    made = Sampler(highest=9.0)
    assert config.build(Sampler, card, where="world.json") == made
    assert config.build_known(Sampler, {**card, "note": "mine"}, where="world.json") == made


@pytest.mark.parametrize(
    ("card", "says"),
    [
        ({"rho": 5}, "w.json: 'rho' is 5, but it is fixed at 7.0 since worldeval 0.1."),
        ({"levels": {"rho": None}}, "'levels.rho' is None, but it is fixed at 7.0"),
        ({"anchored": 1}, "'anchored' is 1, but it is fixed at True"),
        ({"strides": [4]}, "'strides' is [4], but it is fixed at (4, 8) since worldeval 0.2."),
        ({"rho": config.CLEARED}, "'rho' is left empty, but it is fixed at 7.0"),
        ({"rhoo": 7}, "there is no key 'rhoo'."),
    ],
)
def test_a_retired_key_of_another_value_is_refused(card: dict[str, Any], says: str) -> None:
    for read in (config.build, config.build_known):
        if read is config.build_known and "rhoo" in card:
            continue  # notes, and keys of newer versions
        with pytest.raises(UserError, match=re.escape(says)):
            read(Sampler, card, where="w.json")


def test_a_users_recipe_may_name_a_retired_key_too() -> None:
    now = recipe.load("rssm-tiny", "model")
    assert recipe.load("rssm-tiny", "model", {"unimix": 0.01}).config == now.config
    advice = "Remove the key from a recipe; weights that were trained with another value need an"
    with pytest.raises(UserError, match=advice) as error:
        recipe.load("rssm-tiny", "model", {"unimix": 0.1, "tokenizer.penalty": 1e-4})
    assert "with unimix=0.1" in str(error.value)
    assert "'unimix' is 0.1, but it is fixed at 0.01 since worldeval 0.1." in str(error.value)
    assert now.reread({**now.resolved(), "unimix": 0.01}) == now.resolved()


@dataclass(frozen=True, kw_only=True)
class Clearable:
    text: str = "kept"
    number: int | None = 3
    count: int = 1


@pytest.mark.parametrize(("key", "left"), [("text", ""), ("number", None), ("text_or_none", None)])
def test_set_without_a_value_empties_a_key(key: str, left: object) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Own(Clearable):
        text_or_none: str | None = "kept"

    raw = config.read_settings([f"{key}="])
    assert getattr(config.build(Own, raw, where="mine.yaml"), key) == left


def test_a_number_that_must_be_there_is_not_emptied() -> None:
    raw = config.read_settings(["count="])
    with pytest.raises(UserError, match="'count' is left empty; expected int"):
        config.build(Clearable, raw, where="mine.yaml")


@pytest.mark.parametrize(
    ("name", "group", "given", "says"),
    [
        ("metaworld", "protocol", "starts=0", "starts is 0; expected 1 or more"),
        ("metaworld", "protocol", "starts=-1", "starts is -1"),
        ("metaworld", "protocol", "batch=0", "batch is 0"),
        ("metaworld", "protocol", "tasks=[]", "tasks is empty"),
        ("metaworld", "protocol", "first_seed=-5", "first_seed is -5"),
        ("metaworld", "protocol", "margin=.nan", "margin is nan"),
        ("metaworld", "protocol", "truth.k=0", "k is 0"),
        ("latent", "model", "trainer.batch=0", "batch is 0"),
        ("latent", "model", "trainer.steps=-1", "steps is -1"),
        ("metaworld", "dataset", "shard=0", "shard is 0"),
    ],
)
def test_numbers_that_no_run_can_have(name: str, group: str, given: str, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)) as error:
        recipe.load(name, group, config.read_settings([given]))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("model", "key", "value", "said"),
    [
        ("rssm-tiny", "kinematics.width", 8, "without a kinematics network"),
        ("rssm-tiny", "pose_noise", 0.1, "adds no noise to poses"),
        ("ctrl-world", "pose_noise", 0.1, "adds no noise to poses"),
    ],
)
def test_a_key_that_a_family_does_not_use_is_refused(
    model: str, key: str, value: float, said: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"'{key.split('.')[0]}' would change nothing.*{said}"):
        recipe.load(model, "model", {key: value})
    whole = tmp_path / "whole.yaml"  # as runs keep it, with all keys at their defaults
    whole.write_text(yaml.safe_dump(recipe.load(model, "model").resolved()))
    assert recipe.load(str(whole), "model").config == recipe.load(model, "model").config
    recipe.load("latent", "model", {key: value})  # another family uses it
