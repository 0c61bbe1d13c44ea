"""nginx in front of several web nodes, as the deployment guide has it.

Owns one nginx process of its own on a free port; must not touch the machine's.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from tests.durability.programs import free_port

# max_fails=0: a node that was away for a second is not shunned, or a rolling restart finds nobody at home.
# non_idempotent: an opening carries its Idempotency-Key and a callback is a doorbell, so sending them again is safe.
_CONFIG = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log warn;
worker_processes 1;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream bridge {{
        {servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://bridge;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_connect_timeout 2s;
            proxy_next_upstream error timeout non_idempotent;
            proxy_next_upstream_tries 4;
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    return shutil.which("nginx") or shutil.which("/usr/sbin/nginx")


@contextmanager
def nginx_before(ports: list[int], directory: Path) -> Iterator[int]:
    """Serves on the port that is given out, over web nodes on `ports`, until the block ends."""
    program, port = find_nginx(), free_port()
    assert program is not None, "nginx is not installed; `make test` installs it"
    place = directory / "nginx"
    place.mkdir()
    servers = "\n        ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in ports)
    user = "user root;" if Path("/proc/self").stat().st_uid == 0 else ""
    config = place / "nginx.conf"
    config.write_text(_CONFIG.format(directory=place, servers=servers, port=port, user=user))
    with subprocess.Popen([program, "-c", config, "-e", place / "start.log"], stderr=subprocess.DEVNULL) as running:
        try:
            _wait(port, running)
            yield port
        finally:
            running.terminate()


def _wait(port: int, running: "subprocess.Popen[bytes]") -> None:
    for _ in range(500):
        assert running.poll() is None, "nginx did not start"
        try:
            requests.get(f"http://127.0.0.1:{port}/healthz", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("nginx does not answer")
