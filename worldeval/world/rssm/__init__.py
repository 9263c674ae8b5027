"""`rssm`: a recurrent state-space world model, the fast latent world for learning in imagination.

recipe      what is chosen             categorical  draws and balanced divergences of the latent
network     the model itself           symlog       compressed scales and the two-hot head
sequences   episodes cut for it        loss, fit    what is minimised, and how
world       the `WorldModel`, and `imagine` for reinforcement learning
"""
