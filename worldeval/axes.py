"""The legend of every shape in the code base, and the array types that carry them.

| letter | axis                       | letter  | axis                              |
|--------|----------------------------|---------|-----------------------------------|
| b      | batch (episodes together)  | c h w   | image channels, height, width     |
| t      | time, in world frames      | d       | feature                           |
| v      | view (camera)              | a       | action (all of a world frame)     |
| k      | steps of an action chunk   | p       | pose (proprioception)             |
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float16, Float32, Int, UInt8, UInt32
else:
    try:
        from jaxtyping import Bool, Float, Float16, Float32, Int, UInt8, UInt32
    except ModuleNotFoundError:  # a client in an environment of others: shapes are for readers
        Bool = Float = Float16 = Float32 = Int = UInt8 = UInt32 = type(
            "Shaped", (), {"__class_getitem__": classmethod(lambda cls, shape: Any)}
        )

Array = np.ndarray

__all__ = ["Array", "Bool", "Float", "Float16", "Float32", "Int", "UInt8", "UInt32"]
