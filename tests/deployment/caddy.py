"""Caddy with the very file of docker-compose.production.yml, before instances of these tests."""

import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.embedded.conftest import eventually
from tests.support.services import ROOT

CADDYFILE = (ROOT / "scripts" / "production" / "Caddyfile").read_text()
# What a test may not do: take port 80 and the administration's, or make this machine trust it.
HERE = """\
	admin off
	skip_install_trust
	auto_https disable_redirects
	default_bind 127.0.0.1
"""

needs_caddy = pytest.mark.skipif(shutil.which("caddy") is None, reason="there is no caddy here")


class Proxy(NamedTuple):
    """A running Caddy."""

    base_url: str
    trust: ssl.SSLContext
    """Takes its certificate."""

    def connect(self, *protocols: str) -> ssl.SSLSocket:
        """Return a connection with TLS that offers these protocols."""
        port = int(self.base_url.rpartition(":")[2])
        self.trust.set_alpn_protocols(list(protocols) or ["http/1.1"])
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        return self.trust.wrap_socket(plain, server_hostname="localhost")


@contextmanager
def caddy(folder: Path, *base_urls: str) -> Iterator[Proxy]:
    """Yield Caddy before these instances, once it leads to them."""
    upstreams = " ".join(url.removeprefix("http://") for url in base_urls)
    text = CADDYFILE.replace("service-a:8000 service-b:8000", upstreams)
    text = re.sub(r"^\{\n", lambda found: found[0] + HERE, text, count=1, flags=re.MULTILINE)
    (folder / "Caddyfile").write_text(text)
    port = _free_port()
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen(
            ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"],
            env={
                "PATH": "/usr/bin:/usr/local/bin",
                "SITE_ADDRESS": f"https://localhost:{port}",
                "XDG_DATA_HOME": str(folder),
                "XDG_CONFIG_HOME": str(folder),
                "HOME": str(folder),
            },
            stdout=log,
            stderr=log,
        )
    try:
        root = folder / "caddy" / "pki" / "authorities" / "local" / "root.crt"
        eventually(root.is_file, 60)
        proxy = Proxy(f"https://localhost:{port}", ssl.create_default_context(cafile=str(root)))
        eventually(lambda: process.poll() is None and _leads_on(proxy), 60)
        yield proxy
    finally:
        process.terminate()
        process.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _leads_on(proxy: Proxy) -> bool:
    try:
        with proxy.connect() as connection:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        time.sleep(0.1)
        return False
