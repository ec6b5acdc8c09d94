# The commands of this package, for a CPU or, with the CUDA libraries that TensorFlow brings, a GPU:
#   docker build -t ladagan .
#   docker build -t ladagan:gpu --build-arg EXTRAS=gpu,export,serve .
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" ladagan train --config=quickstart
FROM python:3.11.9-slim-bookworm

# Someone of its own, with a home for caches that any --user may write to.
RUN useradd --uid 1000 --home-dir /home/ladagan --create-home ladagan \
    && chmod 0777 /home/ladagan \
    && install --directory --owner=ladagan /work
ENV HOME=/home/ladagan PYTHONDONTWRITEBYTECODE=1

# The packages first: they change less often than the code.
WORKDIR /src
COPY requirements.txt ./
RUN pip install --no-cache-dir --requirement requirements.txt

ARG EXTRAS=export,serve
COPY pyproject.toml README.md LICENSE ./
COPY configs configs
COPY ladagan_tf ladagan_tf
# hadolint ignore=DL3013 # it is this project, whose pyproject.toml bounds every package
RUN pip install --no-cache-dir ".[${EXTRAS}]"

USER 1000
WORKDIR /work
ENTRYPOINT ["ladagan"]
CMD ["--help"]
