# worldeval on NVIDIA GPUs:  docker build -f .ci/docker/cuda.Dockerfile -t worldeval:cuda .
#                            docker run --rm --gpus all worldeval:cuda doctor
# PyPI's torch for Linux brings its own CUDA libraries; the base image adds the driver's interface.
FROM nvidia/cuda:12.8.1-base-ubuntu24.04

# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3 python3-venv libosmesa6 libegl1 libegl-mesa0 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

ENV VIRTUAL_ENV=/opt/venv PATH="/opt/venv/bin:$PATH" MUJOCO_GL=egl
WORKDIR /opt/worldeval
COPY . .
RUN python3 -m venv /opt/venv \
    && pip install --no-cache-dir --constraint constraints.txt '.[all]' \
    && useradd --create-home lab

USER lab
WORKDIR /home/lab
ENTRYPOINT ["worldeval"]
CMD ["doctor"]
