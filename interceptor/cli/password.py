"""``interceptor hash-password``: a password made into what may stand in the configuration."""

import sys

import typer


def hash_password() -> None:
    """Read a password (from the terminal, or one line of standard input) and print its scrypt hash.

    The hash goes into the configuration as `password: {scrypt: "…"}` of an app.
    """
    import secrets

    from interceptor.identity import hash_password as hashed

    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        typer.echo("an empty password protects nothing", err=True)
        raise typer.Exit(2)
    typer.echo(str(hashed(password, secrets.token_bytes(16))))
