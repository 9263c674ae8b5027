"""The legend of every shape in the code base, and the array types that carry them.

| letter | axis                       | letter  | axis                              |
|--------|----------------------------|---------|-----------------------------------|
| b      | batch (episodes together)  | c h w   | image channels, height, width     |
| t      | time, in world frames      | d       | feature                           |
| v      | view (camera)              | a       | action (all of a world frame)     |
| k      | steps of an action chunk   | p       | pose (proprioception)             |
"""

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int, UInt8

Array = np.ndarray

__all__ = ["Array", "Bool", "Float", "Float16", "Float32", "Int", "UInt8"]
