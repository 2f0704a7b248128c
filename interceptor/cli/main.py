"""The command ``interceptor`` and its subcommands.

A subcommand is imported when it is asked for, and imports what it needs when it runs: so that ``interceptor --help``
answers at once, and a server carries no command but its own.
"""

from importlib import import_module
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

_PLACES = {
    "run": "run:run",
    "check": "check:check",
    "test": "testing:run_cases",
    "explain": "explain:explain",
    "diff": "diff:diff",
    "schema": "schema:schema",
    "policy": "policy:app",
    "calls": "calls:app",
    "outbox": "outbox:outbox",
    "hash-password": "password:hash_password",
    "health": "health:health",
}


class _Group(TyperGroup):
    """The subcommands by name: those that are here, and those that are made when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the help."""
        here = super().list_commands(ctx)
        return [*_PLACES, *(name for name in here if name not in _PLACES)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them. Where there is none of that name all are made: the nearest is looked for among them."""
        if cmd_name not in self.commands:
            made = [cmd_name] if cmd_name in _PLACES else _PLACES
            self.commands.update({name: _command(name) for name in made})
        return super().get_command(ctx, cmd_name)


def _command(name: str) -> click.Command:
    module, _, attribute = _PLACES[name].partition(":")
    found = getattr(import_module(f"interceptor.cli.{module}"), attribute)
    around = typer.Typer(add_completion=False)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]


app = typer.Typer(
    name="interceptor",
    cls=_Group,
    help="Authorize, rewrite and reroute the HTTP API traffic between business applications and an Ozeki PBX.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # a traceback must never show a password
)

# A subcommand with subcommands of its own gets what follows its name untouched, `--help` included.
_HANDED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}


def _told_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    version_wanted: Annotated[
        bool, typer.Option("--version", callback=_told_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version_wanted


@app.command("demo", add_help_option=False, context_settings=_HANDED_ON)
def _demo(context: typer.Context) -> None:
    """Play scenarios with a PBX, two apps and Interceptor, live in this terminal."""
    from interceptor.cli.demo import demo

    alone = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    alone.command()(demo)
    alone(args=context.args, prog_name="interceptor demo")


@app.command("simulate", add_help_option=False, context_settings=_HANDED_ON)
def _simulate(context: typer.Context) -> None:
    """Run a simulated PBX or a simulated business application."""
    from interceptor.cli.simulate import app as simulate

    simulate(args=context.args, prog_name="interceptor simulate")


@app.command("version")
def version() -> None:
    """Show the versions of Interceptor, Python and mitmproxy."""
    import platform
    from importlib.metadata import version as installed

    from interceptor import __version__

    typer.echo(f"interceptor {__version__}, Python {platform.python_version()}, mitmproxy {installed('mitmproxy')}")


def main() -> None:
    """The command line's door."""
    app()
