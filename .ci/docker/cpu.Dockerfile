# worldeval on CPU:  docker build -f .ci/docker/cpu.Dockerfile -t worldeval .
#                    docker run --rm -v "$PWD/runs:/home/lab/runs" worldeval rank metaworld --out runs/demo
FROM python:3.12-slim-bookworm

# OSMesa and EGL: the simulator renders without a screen.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libosmesa6 libegl1 libegl-mesa0 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/worldeval
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt \
        --extra-index-url https://download.pytorch.org/whl/cpu '.[all]' \
    && useradd --create-home lab

USER lab
WORKDIR /home/lab
ENTRYPOINT ["worldeval"]
CMD ["doctor"]
