"""`uwm`: one transformer over actions and future frames, each with a diffusion time of its own.

recipe     what is chosen              network   the two-timestep transformer
schedule   diffusion, time by time     modes     five ways to ask it, and the sampler
seen       what an asker has seen      guidance  drawing towards a policy's actions
fit        training, video included    world     the `WorldModel`; inverse, policy and joint draws
"""
