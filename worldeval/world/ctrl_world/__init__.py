"""Ctrl-World (Guo et al., arXiv 2510.10125): Stable Video Diffusion that follows a robot's poses.

`recipe` says what is built; `network` holds the UNet with one pose token a frame; `edm` its noise
levels, loss and sampler; `denoiser` puts them together over `clips` of encoded episodes; `fit`
trains, `world` imagines, `weights` reads Stable Video Diffusion and the official checkpoint.
"""
