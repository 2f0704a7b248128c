# Interceptor as an image: built in one stage, carried into a slim one, run by a user without rights on a read-only file system.
#
#   docker build -t interceptor .
#   docker run --read-only --tmpfs /tmp -v ./config:/etc/interceptor:ro -v interceptor-state:/var/lib/interceptor \
#       --env-file secrets.env -p 7780:7780 -p 7781:7781 -p 7790:7790 interceptor
#
# The configuration is /etc/interceptor/config.yaml, with `state: /var/lib/interceptor` and listeners on 0.0.0.0.
# Secrets come from the environment or from mounted files when it runs; none is in the image.

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY constraints.txt constraints-build.txt ./
RUN python -m venv /opt/interceptor
RUN /opt/interceptor/bin/python -m pip install --require-hashes -r constraints.txt
RUN python -m venv /opt/build
RUN /opt/build/bin/python -m pip install --require-hashes -r constraints-build.txt
COPY pyproject.toml README.md LICENSE config.example.yaml ./
COPY rules rules
COPY interceptor interceptor
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /opt/wheel .
RUN /opt/interceptor/bin/python -m pip install --no-deps --no-index /opt/wheel/*.whl
RUN /opt/interceptor/bin/interceptor version
RUN /opt/interceptor/bin/python -m compileall -q /opt/interceptor/lib

FROM python:3.12-slim
LABEL org.opencontainers.image.title="Interceptor" \
      org.opencontainers.image.description="Routing proxy between business applications and an Ozeki PBX" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/interceptor /opt/interceptor
RUN groupadd --system --gid 10001 interceptor \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/interceptor --shell /usr/sbin/nologin interceptor \
    && install -d -o 10001 -g 10001 -m 0750 /var/lib/interceptor \
    && install -d -m 0755 /etc/interceptor
ENV PATH=/opt/interceptor/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    INTERCEPTOR_CONFIG=/etc/interceptor/config.yaml
USER 10001:10001
WORKDIR /var/lib/interceptor
VOLUME /var/lib/interceptor
EXPOSE 7780 7781 7790
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["interceptor", "health"]
ENTRYPOINT ["interceptor"]
CMD ["run"]
