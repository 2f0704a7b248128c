"""The PBX's place in a measurement: an nginx that answers every command with 263 bytes of XML, the PBX's usual size."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.processes import Pen, Running, fetch, free_ports, wait_until

_ANSWER: Final = (
    '<?xml version="1.0"?>\\r\\n<Response xmlns:xsd="http://www.w3.org/2001/XMLSchema" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">\\r\\n  <Code>200</Code>\\r\\n'
    "  <Message>Command successfully executed</Message>\\r\\n  <Id>%s</Id>\\r\\n</Response>\\n"
)
_SAME: Final = "0123456789abcdef0123456789abcdef"

FRAME: Final = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr error;
worker_rlimit_nofile 65536;
events {{ worker_connections 8192; }}
http {{
  access_log off; default_type application/xml; server_tokens off;
  keepalive_requests 100000000; keepalive_timeout 300s; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
{inside}
}}
"""


def nginx_command(folder: Path, inside: str) -> list[str]:
    """Write a configuration around ``inside`` and say how to run it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nginx.conf").write_text(FRAME.format(folder=folder, inside=inside))
    return [find_nginx(), "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]


def find_nginx() -> str:
    """Where nginx is; ``""`` when it is not installed."""
    return (
        shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin") or shutil.which("nginx") or ""
    )


class Backend:
    """The running back end. With header ``X-Answer: distinct`` every answer carries an id of its own."""

    def __init__(self, pen: Pen, folder: Path, cores: Sequence[int]) -> None:
        self.port = free_ports(1)[0]
        inside = f"""
  map $http_x_answer $id {{ default {_SAME}; distinct $request_id; }}
  server {{
    listen 127.0.0.1:{self.port} backlog=8192;
    location = /counters {{ stub_status; }}
    location / {{ return 200 '{_ANSWER % "$id"}'; }}
  }}"""
        self.running: Running = pen.start("backend", nginx_command(folder / "backend", inside), cores=cores)
        wait_until(self.running, lambda: fetch(self.port, "/")[0] == 200, 10.0)

    def requests(self) -> int:
        """How many requests it has answered, this one included."""
        # stub_status: three lines of words, the third is `accepted handled requests`.
        return int(fetch(self.port, "/counters")[1].split(b"\n")[2].split()[2])
