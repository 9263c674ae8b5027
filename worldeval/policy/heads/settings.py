"""Settings of single heads, beside those that all heads share (`PolicyRecipe`)."""

from dataclasses import dataclass

from worldeval.config import at_least


@dataclass(frozen=True, kw_only=True)
class A2aSettings:
    """Of the `a2a` head."""

    steps: int = 1  # Euler steps from the encoded past to the encoded chunk
    latent: int = 48  # numbers of a latent
    consistency: float = 1.0  # weight of the distance between where the flow ends and the target

    def __post_init__(self) -> None:
        at_least(1, self, "steps", "latent")


@dataclass(frozen=True, kw_only=True)
class CarpSettings:
    """Of the `carp` head."""

    codes: int = 32  # entries of every scale's codebook
    width: int = 64  # of the transformer
    depth: int = 2
    temperature: float = 0.0  # of the tokens drawn; 0: always the likeliest

    def __post_init__(self) -> None:
        at_least(2, self, "codes")
        at_least(1, self, "width", "depth")
        at_least(0, self, "temperature")


@dataclass(frozen=True, kw_only=True)
class EbtSettings:
    """Of the `ebt` head."""

    width: int = 48  # of the transformer
    depth: int = 2
    descent: int = 2  # gradient steps through which training differentiates
    most: int = 20  # gradient steps in use, where the energy has not settled before
    settled: float = 0.02  # root mean square of a step, in standardised actions, that ends them

    def __post_init__(self) -> None:
        at_least(1, self, "width", "depth", "descent", "most")
        at_least(0, self, "settled")


@dataclass(frozen=True, kw_only=True)
class BesoSettings:
    """Of the `beso` head."""

    steps: int = 3  # denoising steps in use
    guidance: float = 1.5  # 1: as conditioned on the goal; 0: without a goal; above 1: exaggerated
    drop: float = 0.1  # share of training samples without a goal

    def __post_init__(self) -> None:
        at_least(1, self, "steps")
        at_least(0, self, "guidance", "drop")
        if self.drop >= 1:
            raise ValueError(f"beso.drop {self.drop} must be below 1")


@dataclass(frozen=True, kw_only=True)
class DitaSettings:
    """Of the `dita` head; its denoising steps are `ddim_steps`."""

    width: int = 64  # of the transformer
    depth: int = 2

    def __post_init__(self) -> None:
        at_least(1, self, "width", "depth")


@dataclass(frozen=True, kw_only=True)
class MambaSettings:
    """Of the `mamba` head."""

    width: int = 48
    depth: int = 2
    state: int = 8  # numbers of the state of every channel
    evolve: float = 0.5  # largest weight of its own earlier answer in the target; 0: never
    ramp: int = 1000  # training steps until then

    def __post_init__(self) -> None:
        at_least(1, self, "width", "depth", "state", "ramp")
        if not 0 <= self.evolve < 1:
            raise ValueError(f"mamba.evolve {self.evolve} must be at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class ActJepaSettings:
    """Of the `act-jepa` head."""

    width: int = 64  # of the transformers
    depth: int = 2
    predict: float = 0.5  # weight of predicting later observations; 0: ACT alone
    decay: float = 0.99  # of the moving average that encodes them

    def __post_init__(self) -> None:
        at_least(1, self, "width", "depth")
        at_least(0, self, "predict")
        if not 0 <= self.decay < 1:
            raise ValueError(f"act_jepa.decay {self.decay} must be at least 0 and below 1")
