"""GPUs: their memory, their rate of bfloat16 products, and the bandwidth of their memory."""

from dataclasses import dataclass

from worldeval.errors import UserError, did_you_mean

GIB = 2**30
# Without a bandwidth: operations for each byte of the GPUs below lie between 150 and 420.
FLOPS_PER_BYTE = 250.0
# What the driver, the libraries' workspaces and fragmentation take, of memory that is there.
RESERVED, USABLE = 0.8 * GIB, 0.94


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One GPU. Rates are the vendor's peaks, which no program reaches."""

    name: str
    memory: float  # bytes
    rate: float  # floating-point operations a second, bfloat16 without sparsity
    bandwidth: float  # bytes a second

    @property
    def usable(self) -> float:
        """Bytes that tensors may take."""
        return max(0.0, USABLE * self.memory - RESERVED)


def _gpu(name: str, gib: float, tflops: float, terabytes: float) -> Machine:
    return Machine(name=name, memory=gib * GIB, rate=tflops * 1e12, bandwidth=terabytes * 1e12)


# From the vendor's data sheets; longer names first, because a device's name may hold a shorter one.
GPUS = (
    _gpu("B200", 179, 2250, 8.0),
    _gpu("H200", 140, 989, 4.8),
    _gpu("H100 NVL", 93, 835, 3.9),
    _gpu("H100 PCIe", 79, 756, 2.0),
    _gpu("H100", 79, 989, 3.35),
    _gpu("A100 40GB", 39, 312, 1.555),
    _gpu("A100", 79, 312, 2.039),
    _gpu("L40S", 44, 362, 0.864),
    _gpu("L4", 22, 121, 0.3),
    _gpu("A10G", 22, 70, 0.6),
    _gpu("RTX 5090", 31, 210, 1.79),
    _gpu("RTX 4090", 23.5, 165, 1.008),
    _gpu("RTX 3090", 23.5, 71, 0.936),
)


def known_gpu(name: str) -> Machine:
    """Return the GPU of a name such as 'H200'. Raises UserError if it is not known."""
    plain = name.strip().lower()
    for each in GPUS:
        if each.name.lower() == plain:
            return each
    names = [each.name for each in GPUS]
    raise UserError(
        f"The GPU '{name}' is not known (known: {', '.join(names)}).{did_you_mean(name, names)} "
        "Describe another one by --memory and --tflops."
    )


def described_gpu(memory: str, tflops: float, bandwidth: float | None = None) -> Machine:
    """Describe a GPU by its memory ('24GiB'), bfloat16 TFLOP/s and, if known, TB/s.

    Raises:
        UserError: a number is not positive, or the memory is no number of GiB or GB.
    """
    size = memory_of(memory)
    if tflops <= 0 or (bandwidth is not None and bandwidth <= 0):
        raise UserError("--tflops and --bandwidth must be positive, such as 400 and 2.0.")
    rate = tflops * 1e12
    return Machine(
        name=f"{size / GIB:.3g} GiB, {tflops:g} TFLOP/s",
        memory=size,
        rate=rate,
        bandwidth=rate / FLOPS_PER_BYTE if bandwidth is None else bandwidth * 1e12,
    )


def memory_of(text: str) -> float:
    """Bytes of a text such as '24GiB', '80 GB' or '24' (GiB). Raises UserError otherwise."""
    plain = text.strip().lower().replace(" ", "")
    units = {"gib": GIB, "gb": 1e9, "g": GIB, "tib": 2**40, "mib": 2**20, "": GIB}
    number = plain.rstrip("abcdefghijklmnopqrstuvwxyz")
    try:
        found = float(number) * units[plain[len(number) :]]
    except (ValueError, KeyError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise UserError(f"--memory {text} is no size. Give one such as 24GiB or 80GB.")
    return found


def present_gpu() -> Machine | None:
    """The GPU of this process, with its own memory; None if there is none, or an unknown one."""
    import torch

    if not torch.cuda.is_available():
        return None
    properties = torch.cuda.get_device_properties(0)
    for each in GPUS:
        if each.name.split(" 40GB")[0].lower() in properties.name.lower():
            return Machine(
                name=properties.name,
                memory=float(properties.total_memory),
                rate=each.rate,
                bandwidth=each.bandwidth,
            )
    return None
