"""``interceptor outbox``: the notifications that wait for their app on a running server."""

import json
import os
import time
from pathlib import Path

import typer

from interceptor.cli.problems import told
from interceptor.cli.run import ConfigOption

_SECONDS = 5.0


def outbox(config: ConfigOption = Path("config.yaml")) -> None:
    """Show what waits for each app and each address that a rule names.

    How many notifications, the oldest, how often it failed, when it is tried again.
    """
    import http.client

    from interceptor.loading import load_settings

    with told():
        admin = load_settings(config, os.environ, secrets=False).admin
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.host, admin.host)  # noqa: S104 - asked, not listened on
    connection = http.client.HTTPConnection(host, admin.port, timeout=_SECONDS)
    try:
        connection.request("GET", "/outbox")
        queues = json.loads(connection.getresponse().read())["outbox"]
    except (OSError, http.client.HTTPException, ValueError, KeyError) as fault:
        typer.echo(f"no answer from {admin}: {fault}")
        raise typer.Exit(1) from None
    finally:
        connection.close()
    now = time.time()
    for queue in queues:
        if not queue["waiting"]:
            continue
        line = f"{queue['app'] or 'undecided, of no app yet'} ({queue['worker']}): {queue['waiting']} wait"
        if queue["oldest_at"]:
            line += f", the oldest for {now - queue['oldest_at']:.0f} s (exchange {queue['oldest_exchange']})"
        if queue["attempts"]:
            line += f", failed attempts {queue['attempts']}"
        if queue["next_at"]:
            line += f", the next in {max(0.0, queue['next_at'] - now):.0f} s"
        typer.echo(line)
    if not any(queue["waiting"] for queue in queues):
        typer.echo("nothing waits")
