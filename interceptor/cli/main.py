"""The command ``interceptor`` and its subcommands.

A subcommand imports what it needs when it runs, so that ``interceptor --help`` answers at once.
"""

from typing import Annotated

import typer

from interceptor.cli.calls import app as calls
from interceptor.cli.check import check
from interceptor.cli.diff import diff
from interceptor.cli.explain import explain
from interceptor.cli.health import health
from interceptor.cli.outbox import outbox
from interceptor.cli.password import hash_password
from interceptor.cli.policy import app as policy
from interceptor.cli.run import run
from interceptor.cli.schema import schema
from interceptor.cli.testing import run_cases

app = typer.Typer(
    name="interceptor",
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


app.command("run")(run)
app.command("check")(check)
app.command("test")(run_cases)
app.command("explain")(explain)
app.command("diff")(diff)
app.command("schema")(schema)


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


app.add_typer(policy, name="policy")
app.add_typer(calls, name="calls")
app.command("outbox")(outbox)
app.command("hash-password")(hash_password)
app.command("health")(health)


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
