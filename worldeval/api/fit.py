"""Whether a recipe fits a GPU, and which batches to take: computed from shapes, never measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from worldeval import recipe as recipes
from worldeval.errors import UserError

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class FittedGpu:
    """The GPU that a recipe is compared with."""

    name: str
    memory_gib: float
    tflops: float  # bfloat16 matrix products, the vendor's peak
    terabytes: float  # a second, to and from its memory


@dataclass(frozen=True, kw_only=True)
class ImaginationBound:
    """What imagination can reach at one batch. A frame is all views of one episode.

    Frames per second are upper bounds: of eager execution, of a program whose every other operation
    is fused into matrix products and attention, and of the products' arithmetic alone.
    """

    batch: int
    memory_gib: float
    fits: bool
    eager_frames: float
    compiled_frames: float
    arithmetic_frames: float


@dataclass(frozen=True, kw_only=True)
class TrainingBound:
    """What a training step can reach with one batch on one GPU."""

    batch: int
    memory_gib: float
    fits: bool
    eager_steps: float  # a second, at most
    compiled_steps: float


@dataclass(frozen=True, kw_only=True)
class RecipeFit:
    """What a recipe needs of one GPU."""

    recipe: str
    family: str
    parameters: int
    gpu: FittedGpu
    sampler_steps: int  # 0: no sampler
    frames_per_call: int
    teraflops_per_frame: float
    cache_mib_per_episode: float  # keys and values
    imagination: Sequence[ImaginationBound]
    take_episodes: int  # the batch to imagine with; 0: none fits
    training: Sequence[TrainingBound]
    teraflops_per_row: float  # of a training step, for each row of the batch
    recipe_batch: int
    take_rows: int  # rows of the batch on one GPU; 0: none fits

    @property
    def ok(self) -> bool:
        """Whether the recipe can be imagined with and trained on this GPU."""
        return bool(self.take_episodes and self.take_rows)


def fit_recipe(
    name: str,
    *,
    settings: Sequence[str] = (),
    gpu: str | None = None,
    memory: str | None = None,
    tflops: float | None = None,
    bandwidth: float | None = None,
    sampler_steps: int | None = None,
) -> RecipeFit:
    """Compute what a model recipe needs, and compare it with a GPU. Takes seconds and no GPU.

    The networks run on torch's `meta` device, which computes shapes only: bfloat16 by autocast,
    fused attention, one GPU. Decoding of frames, policies and judges are not counted.

    Args:
        name: name or path of a model recipe.
        settings: keys to override, such as `trainer.batch=4`.
        gpu: name such as 'H100'. Default: this machine's, or the one described by the rest.
        memory: of the GPU, such as '24GiB'.
        tflops: its bfloat16 matrix products, in TFLOP/s.
        bandwidth: of its memory, in TB/s. Default: one byte for every 250 operations.
        sampler_steps: of imagination. Default: the recipe's.

    Raises:
        UserError: the recipe or the GPU is unknown, or there is no GPU and none is described.

    >>> from worldeval.api.fit import fit_recipe
    >>> fit_recipe("rssm-droid", gpu="RTX 4090").ok
    True
    """
    from worldeval.config import read_settings
    from worldeval.world.cost.fit import BATCHES, imagination_cost, training_cost
    from worldeval.world.recipe import allowed_steps
    from worldeval.world.size import parameters

    machine = _machine(gpu, memory, tflops, bandwidth)
    found = recipes.load(name, "model", read_settings(list(settings)))
    if sampler_steps is not None:
        sampler_steps = allowed_steps(found.config.sampler, sampler_steps)
    imagined = imagination_cost(found.kind, found.config, steps=sampler_steps)
    trained = training_cost(found.kind, found.config)
    best, most = imagined.best(machine), trained.most(machine)
    call, step = imagined.calls[-1], trained.steps[-1]
    asked = trained.asked
    rows = sorted({each for each in (1, 2, 4, 8, most, asked) if 0 < each <= asked})
    taken = 0 if best is None else best.batch
    shown = [each for each in BATCHES if each in (1, 8, 24, 32, 64, 128, taken)]
    return RecipeFit(
        recipe=found.name,
        family=found.kind,
        parameters=parameters(found.kind, found.config),
        gpu=FittedGpu(
            name=machine.name,
            memory_gib=machine.memory / GIB,
            tflops=machine.rate / 1e12,
            terabytes=machine.bandwidth / 1e12,
        ),
        sampler_steps=call.steps,
        frames_per_call=call.frames,
        teraflops_per_frame=call.work.flops / call.batch / call.frames / 1e12,
        cache_mib_per_episode=call.cache / call.batch / 2**20,
        imagination=[
            ImaginationBound(
                batch=row.batch,
                memory_gib=row.memory / GIB,
                fits=row.fits,
                eager_frames=row.eager,
                compiled_frames=row.compiled,
                arithmetic_frames=row.arithmetic,
            )
            for row in (imagined.row(each, machine) for each in shown)
        ],
        take_episodes=taken,
        training=[
            TrainingBound(
                batch=row.batch,
                memory_gib=row.memory / GIB,
                fits=row.fits,
                eager_steps=row.eager,
                compiled_steps=row.compiled,
            )
            for row in (trained.row(each, machine) for each in rows)
        ],
        teraflops_per_row=step.work.flops / step.batch / 1e12,
        recipe_batch=asked,
        take_rows=most,
    )


def _machine(gpu: str | None, memory: str | None, tflops: float | None, bandwidth: float | None):
    from worldeval.world.cost.machine import described_gpu, known_gpu, present_gpu

    if gpu is not None:
        if memory is not None or tflops is not None or bandwidth is not None:
            raise UserError("Give either --gpu, or --memory and --tflops.")
        return known_gpu(gpu)
    if memory is not None and tflops is not None:
        return described_gpu(memory, tflops, bandwidth)
    if memory is not None or tflops is not None or bandwidth is not None:
        raise UserError("A GPU is described by both --memory and --tflops: give both, or --gpu.")
    here = present_gpu()
    if here is None:
        raise UserError(
            "There is no GPU here, or an unknown one. Name one (--gpu H100), or describe it "
            "(--memory 24GiB --tflops 165)."
        )
    return here
