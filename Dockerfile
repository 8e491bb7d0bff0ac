# The service. The steps are those of scripts/run: the same lock file, installed by the same script.
FROM python:3.13-slim AS packages
WORKDIR /app
COPY scripts/setup scripts/setup
COPY requirements.lock .
RUN scripts/setup requirements.lock

FROM python:3.13-slim
WORKDIR /app
RUN useradd --system --uid 10001 tallymark && install -d -o tallymark /var/lib/tallymark
COPY --from=packages /app/.venv .venv
COPY scripts/generate_events.py scripts/generate_events.py
COPY client client
COPY sql sql
COPY service service
RUN .venv/bin/python -m compileall -q service
USER tallymark
ENV HOST=0.0.0.0 PORT=8000 SPOOL_DIRECTORY=/var/lib/tallymark/spool PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 8000
VOLUME /var/lib/tallymark
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=5 \
    CMD ["python", "-c", "import urllib.request as r; r, os; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health/ready', timeout=2)"]
CMD ["python", "-m", "service", "serve"]
