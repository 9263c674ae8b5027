"""Recipes whose `kind:` is a head: a training run with this head's defaults."""

from dataclasses import dataclass, field

from worldeval.policy.recipe import Head, PolicyRecipe, PolicyTrainerRecipe


def averaged() -> PolicyTrainerRecipe:
    """A trainer whose result is an average of weights."""
    return PolicyTrainerRecipe(ema=0.995)


@dataclass(frozen=True, kw_only=True)
class A2aRecipe(PolicyRecipe):
    """A training run whose `kind:` is a2a."""

    head: Head = "a2a"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)


@dataclass(frozen=True, kw_only=True)
class CarpRecipe(PolicyRecipe):
    """A training run whose `kind:` is carp."""

    head: Head = "carp"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)


@dataclass(frozen=True, kw_only=True)
class EbtRecipe(PolicyRecipe):
    """A training run whose `kind:` is ebt."""

    head: Head = "ebt"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)


@dataclass(frozen=True, kw_only=True)
class BesoRecipe(PolicyRecipe):
    """A training run whose `kind:` is beso."""

    head: Head = "beso"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)


@dataclass(frozen=True, kw_only=True)
class DitaRecipe(PolicyRecipe):
    """A training run whose `kind:` is dita."""

    head: Head = "dita"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)


@dataclass(frozen=True, kw_only=True)
class MambaRecipe(PolicyRecipe):
    """A training run whose `kind:` is mamba."""

    head: Head = "mamba"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)


@dataclass(frozen=True, kw_only=True)
class ActJepaRecipe(PolicyRecipe):
    """A training run whose `kind:` is act-jepa."""

    head: Head = "act-jepa"
    trainer: PolicyTrainerRecipe = field(default_factory=averaged)
