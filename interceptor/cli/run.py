"""``interceptor run``: serve until told to stop."""

from pathlib import Path
from typing import Annotated

import typer

from interceptor.cli.problems import told

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="INTERCEPTOR_CONFIG", help="The configuration file.")
]


def run(config: ConfigOption = Path("config.yaml")) -> None:
    """Serve: take commands and notifications, decide them by the rules, pass them on.

    SIGTERM and Ctrl-C end it: nothing new is accepted, what is in flight is finished, the journal is flushed.
    """
    from interceptor.app import run as serve

    with told():
        raise typer.Exit(serve(config))
