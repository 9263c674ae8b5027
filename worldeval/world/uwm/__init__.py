"""`uwm`: one transformer over actions and future frames, each with its own diffusion time.

recipe     settings                    network   the two-timestep transformer
schedule   diffusion per time          modes     five conditional distributions, and the sampler
seen       observed inputs             guidance  sampling towards a policy's actions
loss       what is minimised           fit       training, including video
world      the `WorldModel`; inverse, policy and joint samples
family     registers it as a family
"""
