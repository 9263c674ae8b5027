"""`rssm`: a recurrent state-space model, a fast latent world for learning in imagination.

recipe      settings                   categorical  samples and balanced divergences of the latent
network     the model itself           symlog       compressed scales and the two-hot head
loss        what is minimised          fit          training
world       the `WorldModel`, and `imagine` for reinforcement learning
family      registers it as a family
"""
