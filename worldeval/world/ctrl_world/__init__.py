"""Ctrl-World (Guo et al., arXiv 2510.10125): Stable Video Diffusion that follows a robot's poses.

`recipe` holds the settings; `network` the UNet with one pose token per frame; `tokens` and `text`
its conditioning; `edm` the noise levels and sampler; `draw` the random numbers of a training batch;
`denoiser` combines them and defines the loss; `fit` trains, `world` imagines, `weights` reads
Stable Video Diffusion and the official checkpoint.

It differs from the paper where a recipe says so: any number of views, latent cells and pose
numbers; its own kinematics if the policy gives actions instead of poses; and, for training from
scratch on a laptop, `change` (frames as changes from the newest one) and `any_future` (one to
`future` new frames per call). The weights are averaged, which the official code does not do.
"""
