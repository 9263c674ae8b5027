"""Make `meta` tensors compute as a GPU would: bfloat16 by autocast's rules, and fused attention."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# From torch's list of operations that autocast computes in half precision, and in float32.
HALF = frozenset(
    {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "addbmm",
     "mv", "addmv", "einsum", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
     "conv_transpose3d", "gru", "gru_cell", "lstm", "lstm_cell", "bilinear",
     "scaled_dot_product_attention"}
)  # fmt: skip
FULL = frozenset(
    {"layer_norm", "group_norm", "softmax", "log_softmax", "norm", "exp", "expm1", "log", "log1p",
     "pow", "__pow__", "rsqrt", "reciprocal", "cumsum", "sum", "prod", "mse_loss",
     "smooth_l1_loss", "l1_loss", "cross_entropy", "nll_loss", "softplus"}
)  # fmt: skip


class AsCuda(TorchFunctionMode):
    """Inside, operations on `meta` tensors are those of a GPU under autocast to bfloat16.

    Every use of a weight shares one copy in half precision, as within one `torch.autocast`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._copies: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name not in HALF and name not in FULL:
            return func(*args, **kwargs)
        cast = self._half if name in HALF else _full
        if not _on_meta((args, kwargs)):
            return func(*args, **kwargs)
        args, kwargs = _each(cast, args), _each(cast, kwargs)
        if name == "scaled_dot_product_attention":
            return attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _half(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_meta or value.dtype != torch.float32:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(torch.bfloat16)
        key = (id(value), torch.is_grad_enabled())
        if key not in self._copies:
            self._copies[key] = (value, value.to(torch.bfloat16))
        return self._copies[key][1]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention by a fused kernel, as on a GPU: FlashAttention, or with a mask the one that takes
    masks."""
    fused: Callable[..., Any]
    if query.ndim == 3:
        mask = None if attn_mask is None else attn_mask[None]
        return attention(query[None], key[None], value[None], mask, dropout_p, is_causal, scale)[0]
    if attn_mask is None:
        fused = torch.ops.aten._scaled_dot_product_flash_attention
        return fused(query, key, value, dropout_p, is_causal, scale=scale)[0]
    fused = torch.ops.aten._scaled_dot_product_efficient_attention
    bias = attn_mask
    if bias.dtype == torch.bool:
        zero = torch.zeros((), dtype=query.dtype, device=query.device)
        bias = torch.where(bias, zero, torch.full_like(zero, -torch.inf))
    shape = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    bias = bias.to(query.dtype).expand(shape)
    training = query.requires_grad or key.requires_grad
    return fused(query, key, value, bias, training, dropout_p, is_causal, scale=scale)[0]


def _full(value: Any) -> Any:
    half = isinstance(value, Tensor) and value.is_meta and value.dtype == torch.bfloat16
    return value.float() if half else value


def _on_meta(value: Any) -> bool:
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return any(map(_on_meta, value))
    return isinstance(value, Tensor) and value.is_meta


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    """Apply `change` to every argument, also within lists."""
    if isinstance(value, dict):
        return {key: _each(change, each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(change, each) for each in value)
    return change(value)
