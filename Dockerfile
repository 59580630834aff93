# syntax=docker/dockerfile:1
# Two stages: what builds stays behind. Every package is checked against the hashes of requirements.txt.
FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/conduit
COPY requirements.txt requirements-build.txt ./
RUN /opt/conduit/bin/python -m pip install --require-hashes -r requirements.txt -r requirements-build.txt
COPY pyproject.toml README.md LICENSE ./
COPY conduit conduit
RUN /opt/conduit/bin/python -m pip install --no-build-isolation --no-deps . \
    && /opt/conduit/bin/python -m pip uninstall --yes hatchling editables pip

FROM python:3.13-slim

RUN useradd --uid 10001 --create-home --home-dir /data conduit
COPY --from=build /opt/conduit /opt/conduit
ENV PATH=/opt/conduit/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json MALLOC_ARENA_MAX=1
USER 10001
WORKDIR /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health/ready', timeout=2)"]
CMD ["conduit", "serve", "--host", "0.0.0.0", "--port", "8000"]
