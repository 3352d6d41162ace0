# What serves needs neither pip nor PyTorch. Stages: the model bundles, the runtime's packages, and the image itself.
#
#   docker build -t vows-edge .
#   docker run --memory 256m --read-only -p 8080:8080 -v vows-data:/data -e VOWS_API_KEYS=<entry> vows-edge
#
# `vows-edge key` makes the entry. Without one the server refuses to listen where others can reach it, unless
# -e VOWS_AUTH=disabled says that they may.
#
# The bundles are those of the repository; --build-arg BUNDLES=exported makes them again with PyTorch.
# --build-arg PIP_FLAGS=... goes to every pip install.
# A tag moves: for a build that is the same tomorrow, `make pin` writes the digest that it has now into the next line.
ARG PYTHON_IMAGE=python:3.11-slim

# --- the model bundles: of the repository, or made again -----------------------------------------
# One stage and not two to choose from, because not every builder chooses by an argument.
FROM ${PYTHON_IMAGE} AS bundles
ARG BUNDLES=committed
ARG PIP_FLAGS=""
ENV ORT_DISABLE_TELEMETRY=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Packages first, while the project is still empty: they are installed again only when one of these changes.
COPY pyproject.toml requirements-dev.lock requirements-export.lock README.md LICENSE ./
COPY runtime/__init__.py runtime/
COPY export/torch_index.py export/stsb.py export/
RUN case "${BUNDLES}" in committed) ;; \
    exported) python -m venv /opt/export \
        && /opt/export/bin/pip install ${PIP_FLAGS} --no-deps --require-hashes -r requirements-export.lock \
        && /opt/export/bin/pip install ${PIP_FLAGS} $(python export/torch_index.py) --constraint requirements-dev.lock \
            '.[export]' \
        && /opt/export/bin/pip install ${PIP_FLAGS} --no-deps \
            "$(/opt/export/bin/python -c 'from export import stsb; print(stsb.REQUIREMENT)')" ;; \
    *) echo "BUNDLES=${BUNDLES} is neither committed nor exported" >&2; exit 1 ;; esac
COPY runtime runtime
COPY export export
COPY training training
COPY checkpoints checkpoints
RUN if [ "${BUNDLES}" = exported ]; then rm -r runtime/bundles \
    && /opt/export/bin/python -m export minilm \
    && /opt/export/bin/python -m export sequence --out runtime/bundles/sequence; fi

# --- the runtime's packages, with asyncpg, which is loaded only where VOWS_DATABASE_URL is set ----
FROM ${PYTHON_IMAGE} AS packages
ARG PIP_FLAGS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update && apt-get install --yes --no-install-recommends binutils && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements-postgres.lock ./
RUN python -m venv --without-pip /opt/vows \
    && pip --python /opt/vows/bin/python install ${PIP_FLAGS} --no-compile --no-deps --require-hashes -r requirements-postgres.lock
# What is never loaded to serve goes: onnxruntime's second copy of itself for C programs, its tools for making models
# and what only these import; parts of numpy that load on first use, and here never; tests, headers, Fortran, typing
# stubs; debug symbols of uvloop and httptools.
RUN cd /opt/vows/lib/python3*/site-packages \
    && rm -rf onnxruntime/capi/libonnxruntime.so* google protobuf-* flatbuffers* packaging* \
        onnxruntime/backend onnxruntime/datasets onnxruntime/quantization onnxruntime/tools onnxruntime/transformers \
        numpy/f2py numpy/distutils numpy/_core/include numpy/_pyinstaller \
        numpy/fft numpy/polynomial numpy/random numpy/testing \
        numpy/_core/_simd.*.so numpy/_core/*_tests.*.so \
    && find . -type d -name tests -prune -exec rm -rf {} + \
    && find . -type f ! -path '*.dist-info/*' \
        \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.[cha]' \) -delete \
    && strip --strip-unneeded uvloop/*.so httptools/parser/*.so tokenizers/*.so
COPY runtime /opt/app/runtime
RUN rm -r /opt/app/runtime/bundles && printf '%s\n' '#!/opt/vows/bin/python' 'import sys' \
        'sys.path.insert(0, "/opt/app")' 'from runtime.cli.main import main' 'raise SystemExit(main())' \
        > /opt/vows/bin/vows-edge && chmod +x /opt/vows/bin/vows-edge
# Compiled once, here, with what the standard library lends (its image comes uncompiled): the server starts without
# compiling and never writes beside its code. Unchecked, because nothing in an image changes. Loading it all is also the
# proof that nothing was taken away that it needs.
ENV PYTHONPYCACHEPREFIX=/opt/pycache
RUN cd /opt/app && ORT_DISABLE_TELEMETRY=1 /opt/vows/bin/python -B -OO -c '\
import pkgutil, py_compile, sys; \
import runtime.http.server, uvicorn.lifespan.on, uvicorn.loops.uvloop, uvicorn.protocols.http.httptools_impl; \
[__import__(module.name) for module in pkgutil.walk_packages(runtime.__path__, "runtime.") if "__main__" not in module.name]; \
files = {getattr(module, "__file__", None) or "" for module in sys.modules.values()} | {"/opt/app/runtime/__main__.py"}; \
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH; \
[py_compile.compile(file, doraise=True, optimize=2, invalidation_mode=unchecked) for file in files if file.endswith(".py")]'
# Every encoding, whichever CPU builds: a small machine with a read-only root has nothing to make at its first start.
COPY --from=bundles /build/runtime/bundles /opt/models
RUN cd /opt/app && VOWS_MODELS_DIR=/opt/models ORT_DISABLE_TELEMETRY=1 /opt/vows/bin/python -B -m runtime models prepare

# --- what serves ---------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin vows \
    && install --directory --owner vows --group vows /data
COPY --from=packages /opt/vows /opt/vows
COPY --from=packages /opt/models /opt/models
COPY --from=packages /opt/app /opt/app
COPY --from=packages /opt/pycache /opt/pycache
ENV PATH=/opt/vows/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/pycache \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONOPTIMIZE=2 \
    OPENBLAS_NUM_THREADS=1 \
    VOWS_HOST=0.0.0.0 \
    VOWS_PORT=8080 \
    VOWS_DATA_DIR=/data \
    VOWS_MODELS_DIR=/opt/models
WORKDIR /opt/app
USER vows
VOLUME /data
EXPOSE 8080
# A bare socket: a check must not cost a tenth of the machine's memory.
HEALTHCHECK --interval=30s --timeout=3s --start-period=10s CMD ["python", "-I", "-S", "-c", "import os, socket; s = socket.create_connection(('127.0.0.1', int(os.environ['VOWS_PORT'])), 2); s.sendall(b'GET /readyz HTTP/1.0\\r\\n\\r\\n'); raise SystemExit(b' 200 ' not in s.recv(64))"]
CMD ["python", "-m", "runtime"]
