"""``interceptor schema``: the rules language as JSON Schema, so that an editor completes and checks rules files."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interceptor.cli.problems import told, write

if TYPE_CHECKING:
    from interceptor.policy.shapes import Words


def schema(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="A configuration, whose apps, clusters and tables are offered by name."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A file to write it to, in place of the terminal.")
    ] = None,
) -> None:
    """Write the JSON Schema of rules files.

    An editor uses it for files that begin with `# yaml-language-server: $schema=PATH`.
    """
    from interceptor.policy.schema import schema

    with told():
        written = json.dumps(schema(_words(config)), indent=2, ensure_ascii=False) + "\n"
        if output is None:
            sys.stdout.write(written)
        else:
            write(output, written)


def _words(config: Path | None) -> "Words":
    from interceptor.policy.shapes import Words
    from interceptor.wire import knowledge

    apps: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    if config is not None:
        from interceptor.loading import check_settings, find_sources
        from interceptor.policy.tables import is_table, table_name

        _, ground, _ = check_settings(config, os.environ, secrets=False)
        apps, clusters = tuple(sorted(ground.apps)), tuple(sorted(ground.clusters))
        sources, _ = find_sources(ground.rules)
        tables = tuple(sorted(table_name(source.file) for source in sources if is_table(source.file)))
    return Words(
        commands=knowledge.COMMANDS,
        notifications=knowledge.NOTIFICATIONS,
        verbs=knowledge.VERBS,
        parameters=tuple(sorted(knowledge.SPELLED_NAMES)),
        apps=apps,
        clusters=clusters,
        tables=tables,
    )
