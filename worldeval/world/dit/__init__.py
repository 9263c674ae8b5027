"""`dit`: a flow-matching transformer over the latent cells of every view, causal over frames.

camera.py -> maps.py: the hand drawn where each camera sees it. attention.py -> network.py: what
attends to what. sequences.py -> fit.py: training. world.py: imagination with a cache. family.py
joins them.
"""
