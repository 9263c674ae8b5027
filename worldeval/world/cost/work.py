"""Work: which kernels a computation launches, what each computes and moves, and how long it takes.

The time follows the roofline model (Williams, Waterman & Patterson, "Roofline: An Insightful Visual
Performance Model for Multicore Architectures", 2009), kernel by kernel: a kernel takes at least its
arithmetic at the GPU's peak, and at least its traffic at the bandwidth of its memory.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from worldeval.world.cost.machine import Machine

# Seconds between two kernels that Python launches one by one: assumed, not measured.
# `torch.compile` with CUDA graphs avoids most of it.
LAUNCH = 8e-6


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One operation on the device."""

    flops: float  # of matrix products, convolutions and attention; others count as none
    read_write: float  # bytes that it reads and writes
    alone: bool = False  # a kernel of its own even when compiled, although it has no such product

    @property
    def heavy(self) -> bool:
        """Whether it stays a kernel when compiled; the others are fused into their neighbours."""
        return self.alone or self.flops > 0

    def seconds(self, machine: Machine) -> float:
        """The least time that it takes."""
        return max(self.flops / machine.rate, self.read_write / machine.bandwidth)


class Work:
    """Kernels with the number of times each is launched; numbers may be fractions."""

    def __init__(self, kernels: Mapping[Kernel, float]) -> None:
        self.kernels: Mapping[Kernel, float] = dict(kernels)

    @property
    def flops(self) -> float:
        """Floating-point operations: two for every multiplication with its addition."""
        return sum(times * each.flops for each, times in self.kernels.items())

    @property
    def read_write(self) -> float:
        """Bytes moved if every operation is a kernel of its own, as without compilation."""
        return sum(times * each.read_write for each, times in self.kernels.items())

    @property
    def fused_read_write(self) -> float:
        """Bytes moved by heavy kernels alone: everything else is fused into them."""
        return sum(t * each.read_write for each, t in self.kernels.items() if each.heavy)

    @property
    def launches(self) -> float:
        """Number of kernels."""
        return sum(self.kernels.values())

    def arithmetic_seconds(self, machine: Machine) -> float:
        """The bound of the arithmetic alone: nothing can be faster."""
        return self.flops / machine.rate

    def compiled_seconds(self, machine: Machine) -> float:
        """The bound with perfect fusion: heavy kernels one after another, each at its roofline."""
        return sum(t * each.seconds(machine) for each, t in self.kernels.items() if each.heavy)

    def eager_seconds(self, machine: Machine) -> float:
        """The bound without compilation: all kernels, and no faster than Python launches them."""
        return max(self.kernel_seconds(machine), LAUNCH * self.launches)

    def kernel_seconds(self, machine: Machine) -> float:
        """All kernels one after another, each at its roofline."""
        return sum(times * each.seconds(machine) for each, times in self.kernels.items())

    def __add__(self, other: "Work") -> "Work":
        total = Counter(self.kernels)
        for each, times in other.kernels.items():
            total[each] += times  # type: ignore[assignment]
        return Work(total)

    def __mul__(self, factor: float) -> "Work":
        return Work({each: factor * times for each, times in self.kernels.items()})

    def __sub__(self, other: "Work") -> "Work":
        return self + other * -1
