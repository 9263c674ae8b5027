"""What a world model costs on a GPU, computed without one: arithmetic, traffic, memory, time.

Networks are built on torch's `meta` device, whose tensors have shapes but no numbers, and their
real code runs there: `imagine` a frame, `train` one step. `count` notes every operation, `cuda`
makes them those of a GPU (half precision, fused attention), `machine` knows what GPUs can do, and
`fit` says which batch to take.
"""
