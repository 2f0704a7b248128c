"""``interceptor policy``: what is in force in a running server, and the ways to change it. Asks the admin listener."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from interceptor.cli.problems import told
from interceptor.cli.run import ConfigOption

app = typer.Typer(
    help="See and change the policy of a running server: status, reload, diff, canary, rollback.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)

LOOK_SECONDS = 10.0
LOAD_SECONDS = 900.0  # the server examines and compiles meanwhile

AdminOption = Annotated[
    str, typer.Option("--admin", "-a", help="The admin listener, as HOST:PORT; else that of the configuration.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Tell it as JSON.")]


@app.command("status")
def status(config: ConfigOption = Path("config.yaml"), admin: AdminOption = "", as_json: JsonOption = False) -> None:
    """Show what is in force, how it came there, and what its rules have done.

    Exits with 0, with 1 when something is in force that is not what the files say, with 2 when the server does not
    answer.
    """
    from interceptor.admin.readable import readable_policy

    page = _ask(config, admin, "GET", "/policy", seconds=LOOK_SECONDS)
    _tell(page, as_json, readable_policy)
    raise typer.Exit(0 if page["matches_files"] else 1)


@app.command("reload")
def reload(
    config: ConfigOption = Path("config.yaml"),
    admin: AdminOption = "",
    at_once: Annotated[
        bool, typer.Option("--at-once", help="For calls in progress, too, which else keep the rules they began with.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Load the files now. A rollback no longer holds then.

    Exits with 0 when they are in force, with 1 when they have problems (what was in force stays), with 2 when the
    server does not answer or cannot do it.
    """
    _told_attempt(_ask(config, admin, "POST", "/policy/reload" + "?at_once=true" * at_once), as_json)


@app.command("rollback")
def rollback(
    config: ConfigOption = Path("config.yaml"),
    admin: AdminOption = "",
    to: Annotated[str, typer.Option(help="A revision that `policy status` lists; else the one before.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Return to the policy that was in force before. It holds until the files change or a reload is asked for.

    Exits as `policy reload` does.
    """
    from urllib.parse import quote

    _told_attempt(_ask(config, admin, "POST", "/policy/rollback" + (f"?to={quote(to)}" if to else "")), as_json)


@app.command("canary")
def canary(
    share: Annotated[str, typer.Argument(help="A part of the calls such as `5%`; `off` for none.", show_default=False)],
    config: ConfigOption = Path("config.yaml"),
    admin: AdminOption = "",
    as_json: JsonOption = False,
) -> None:
    """Have the policy in `policy.canary` decide a share of the calls, from their beginning to their end.

    Exits as `policy reload` does.
    """
    from urllib.parse import quote

    from interceptor.canary import read_share

    if read_share(share) is None:
        typer.echo(f"a share is a part of the calls such as `5%`, or `off`, here is `{share}`", err=True)
        raise typer.Exit(2)
    _told_attempt(_ask(config, admin, "POST", f"/policy/canary?share={quote(share)}"), as_json)


@app.command("diff")
def diff(
    config: ConfigOption = Path("config.yaml"),
    admin: AdminOption = "",
    live: Annotated[bool, typer.Option("--live", help="Compare with what is in force; there is nothing else.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what a reload would change: which rules, and which messages would be decided differently.

    Exits with 0, with 1 when the files have problems, with 2 when the server does not answer or cannot do it.
    """
    del live
    page = _ask(config, admin, "GET", "/policy/preview")
    _tell(page, as_json, _readable_preview)
    raise typer.Exit({"compared": 0, "refused": 1}.get(page["outcome"], 2))


def _told_attempt(page: dict[str, Any], as_json: bool) -> None:
    _tell(page, as_json, _readable_attempt)
    raise typer.Exit({"loaded": 0, "unchanged": 0, "refused": 1}.get(page["outcome"], 2))


def _tell(page: dict[str, Any], as_json: bool, readable: Any) -> None:
    import msgspec

    sys.stdout.write(
        msgspec.json.format(msgspec.json.encode(page), indent=2).decode() + "\n" if as_json else readable(page)
    )


def _readable_attempt(page: dict[str, Any]) -> str:
    lines = [f"{page['outcome']}: {page['message']} ({page['seconds']:.1f} s)", *_problems(page)]
    if page["outcome"] not in {"loaded", "unchanged"}:
        lines.append(f"revision {page['in_force']} stays in force")
    return "\n".join(lines) + "\n"


def _readable_preview(page: dict[str, Any]) -> str:
    import msgspec

    from interceptor.cli.diff import as_text
    from interceptor.policy.analysis import Difference

    if page["outcome"] == "failed":
        return f"failed: {page['message']}\n"
    lines = _problems(page)
    if page["outcome"] == "refused":
        return "\n".join([*lines, f"a reload would be refused; revision {page['in_force']} would stay"]) + "\n"
    lines.insert(0, f"in force {page['in_force']}, in the files {page['revision']}")
    for what, names in page["rules"].items():
        lines += [f"{what:8} {name}" for name in names]
    return "\n".join(lines) + "\n" + as_text(msgspec.convert(page["difference"], Difference))


def _problems(page: dict[str, Any]) -> list[str]:
    return [f"{each['place']}: {each['severity']}: {each['message']}" for each in page["problems"]]


def _ask(config: Path, admin: str, method: str, path: str, *, seconds: float = LOAD_SECONDS) -> dict[str, Any]:
    """Ask the admin listener; its page, for which it may take so long. Exits with 2 where there is none."""
    import http.client
    import json

    host, port = _address(config, admin)
    connection = http.client.HTTPConnection(host, port, timeout=LOOK_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(seconds)
        connection.request(method, path, headers={"Accept": "application/json"})
        text = connection.getresponse().read().decode("utf-8", "replace")
        page = json.loads(text)
        assert isinstance(page, dict)
        return page
    except (OSError, http.client.HTTPException) as fault:
        typer.echo(f"no answer from {host}:{port}: {fault}", err=True)
    except (ValueError, AssertionError):
        typer.echo(f"{host}:{port} answers something else: {text.strip()[:200]}", err=True)
    finally:
        connection.close()
    raise typer.Exit(2)


def _address(config: Path, admin: str) -> tuple[str, int]:
    if admin:
        host, _, port = admin.rpartition(":")
        if host and port.isdecimal():
            return host.strip("[]"), int(port)
        typer.echo(f"an admin listener is written `HOST:PORT`, here is `{admin}`", err=True)
        raise typer.Exit(2)
    from interceptor.loading import load_settings

    with told():
        address = load_settings(config, os.environ, secrets=False).admin
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104 - asked, not listened on
    return host, address.port
