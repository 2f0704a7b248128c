"""Verbs that touch the PBX's own files and databases: MoveFile, DeleteFile, SQL. Here files are only names."""

from interceptor.simulator.answers import CommandError
from interceptor.simulator.events import FileChanged
from interceptor.simulator.ozml.document import attribute, main
from interceptor.simulator.ozml.session import Session, VerbHandler
from interceptor.values import Verb


def _note(session: Session, how: str, file: str, target: str) -> None:
    session.core.log.append(FileChanged(at=session.core.clock.now(), how=how, file=file, target=target))


async def _move_file(session: Session, verb: Verb) -> None:
    """Only inside the PBX's own folders."""
    source, target = attribute(verb, "SourceFile") or "", attribute(verb, "TargetDirectory") or ""
    for name, value in (("SourceFile", source), ("TargetDirectory", target)):
        if not value or ".." in value or value.startswith("/") or ":" in value.removeprefix("http:"):
            raise CommandError(302, name, verb.name)
    session.core.files.discard(source)
    session.core.files.add(f"{target.rstrip('/')}/{source.rpartition('/')[2]}")
    _note(session, "move", source, target)


async def _delete_file(session: Session, verb: Verb) -> None:
    """The parameter's name is not known from the reference; ``SourceFile`` is likely."""
    file = main(verb, "SourceFile", "File", "Path")
    if not file or ".." in file:
        raise CommandError(302, "SourceFile", verb.name)
    session.core.files.discard(file)
    _note(session, "delete", file, "")


async def _sql(session: Session, verb: Verb) -> None:
    """The statement is logged; no database is there, so no row comes back."""
    _note(session, "sql", main(verb, "Query"), "")


async def _address_book(_session: Session, _verb: Verb) -> None:
    """The simulated PBX keeps no address books: nothing comes of it."""


VERBS = (
    VerbHandler("MoveFile", _move_file, needs_call=False),
    VerbHandler("DeleteFile", _delete_file, needs_call=False),
    VerbHandler("SQL", _sql, needs_call=False),
    VerbHandler("ListAddressbookNames", _address_book, needs_call=False),
    VerbHandler("ListAddressbookContacts", _address_book, needs_call=False),
)
