"""`dit`: a flow-matching transformer over the latent cells of all views, causal over frames.

camera.py and maps.py draw the grippers into every camera's view. attention.py and network.py define
the transformer and its attention pattern. loss.py and fit.py train it. world.py imagines with a
cache. family.py joins them.
"""
