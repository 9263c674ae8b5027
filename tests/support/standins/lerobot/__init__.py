"""A package with the surface of LeRobot that worldeval uses, so that tests need none of it.

What its policies answer can be worked out by hand: brightness and proprioception of every moment
that they were shown, the place in the chunk, and what was drawn.
"""
