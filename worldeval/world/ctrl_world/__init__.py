"""Ctrl-World (Guo et al., arXiv 2510.10125): Stable Video Diffusion that follows a robot's poses.

`recipe` says what is built; `network` holds the UNet with one pose token a frame; `tokens` and
`text` say what it is told; `edm` its noise levels and sampler, `draw` what a training batch draws;
`denoiser` puts them together, its loss included; `fit` trains, `world` imagines, `weights` reads
Stable Video Diffusion and the official checkpoint.

It differs from the paper where a recipe says so: any number of views, cells and pose numbers; a
kinematics of its own where the policy gives actions instead of poses; and, for training from
nothing on a laptop, `change` (frames as changes from the newest) and `any_future` (one to `future`
new frames a call). The averaged weights are kept, which the official code does not average.
"""
