"""``interceptor health``: whether the server of a configuration is ready, for container health checks."""

import os
from pathlib import Path
from typing import Annotated

import typer

from interceptor.cli.problems import told
from interceptor.cli.run import ConfigOption

_SECONDS = 3.0


def health(
    config: ConfigOption = Path("config.yaml"),
    path: Annotated[str, typer.Option(help="What to ask the admin listener.")] = "/readyz",
) -> None:
    """Ask the admin listener whether the server is ready; exit with 0 when it is, with 1 when it is not."""
    import http.client

    from interceptor.loading import load_settings

    with told():
        admin = load_settings(config, os.environ, secrets=False).admin
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.host, admin.host)  # noqa: S104 - asked, not listened on
    connection = http.client.HTTPConnection(host, admin.port, timeout=_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(65_536).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as fault:
        typer.echo(f"no answer from {admin}: {fault}")
        raise typer.Exit(1) from None
    finally:
        connection.close()
    typer.echo(text or str(answer.status))
    raise typer.Exit(0 if answer.status == 200 else 1)
