"""The doors that must stand any bytes, and what must hold behind each of them.

A target takes bytes and gives a signature: what kind of thing happened. An input with a new one is worth changing
further. It raises where a promise is broken. What it does depends on nothing but the bytes, so a file of them is all
that a report needs.
"""

import re
from collections.abc import Callable, Hashable
from random import Random
from types import SimpleNamespace
from typing import Any
from zlib import crc32

from msgspec import Struct

from fuzz import oracle, seeds
from interceptor.gateway.connection import Asker, ClientConnection, Door, Response, Room
from interceptor.gateway.http1 import Reply, ReplyReader, Request, RequestReader
from interceptor.gateway.http1_error import Http1Error
from interceptor.settings import Address, Limits, Listener, Timeouts
from interceptor.values import Kind, RemoveParameter, RenameParameter, ReplaceInParameter, SetParameter
from interceptor.wire.answers import encode_answer, read_answer, reads_like_ozml
from interceptor.wire.numbers import NumberReader
from interceptor.wire.ozml import decode_verbs, encode_verbs
from interceptor.wire.parameters import decode, join_target, split_target

_HEAD_MOST = 512
_BODY_MOST = 256
_ORACLE_EVERY = 4  # h11 is slow
_numbers = NumberReader("HU", ("1xxx", "2xxx"), 512)
_CHANGES = (
    SetParameter("Dialed", "+36 é\udcff"),
    RemoveParameter("callid"),
    RenameParameter("dialed", "Target"),
    ReplaceInParameter("command", re.compile("(.)l+"), r"\1"),
)


class Broken(AssertionError):  # noqa: N818 - a promise is broken; not an error of the fuzzer
    """A promise that does not hold for these bytes."""


class Target(Struct, frozen=True):
    """One door: its share of the inputs, what to start from, what to put in, and what to do."""

    name: str
    share: int
    seeds: tuple[bytes, ...]
    tokens: tuple[bytes, ...]
    stand: Callable[[bytes], Hashable]


def stand_requests(data: bytes) -> Hashable:
    """Our reader reads or refuses, the same way in pieces, within its bounds, and as h11 does."""
    check = crc32(data)
    places = _places(check, len(data))
    whole = oracle.requests([data], _HEAD_MOST, _BODY_MOST)
    _same(whole, oracle.requests(oracle.cuts(data, places), _HEAD_MOST, _BODY_MOST), places)
    _bounded(RequestReader(_HEAD_MOST, _BODY_MOST), data)
    if check % _ORACLE_EVERY == 0:
        _none(oracle.disagreement(data))
        _none(oracle.disagreement_with_llhttp(data))
    return whole.refused, whole.waits, tuple((len(each.headers), bool(each.body)) for each in whole.messages[:3])


def stand_replies(data: bytes) -> Hashable:
    """As for requests; the connection ends after half of them."""
    check = crc32(data)
    places, ended = _places(check, len(data)), bool(check & 1)
    whole = oracle.replies([data], ended=ended, head_most=_HEAD_MOST, body_most=_BODY_MOST)
    pieces = oracle.cuts(data, places)
    _same(whole, oracle.replies(pieces, ended=ended, head_most=_HEAD_MOST, body_most=_BODY_MOST), places)
    _bounded(ReplyReader(_HEAD_MOST, _BODY_MOST), data)
    if check // 2 % _ORACLE_EVERY == 0:
        _none(oracle.disagreement_on_replies(data, ended=ended))
    return whole.refused, whole.waits, tuple((each.start[0], bool(each.body)) for each in whole.messages[:3])


def stand_connections(data: bytes) -> Hashable:
    """A connection asks and answers the same however its bytes were cut, and ends what it refuses."""
    places = _places(crc32(data), len(data))
    whole = _Spoken([data] if data else [])
    cut = _Spoken([piece for piece in oracle.cuts(data, places) if piece])
    if (whole.asked, whole.refused, whole.written) != (cut.asked, cut.refused, cut.written):
        raise Broken(f"cut at {places}: {cut.asked}, {cut.refused}; whole: {whole.asked}, {whole.refused}")
    if not whole.closed and set(whole.refused) - {"method"}:  # a method that carries nothing is read to its end
        raise Broken("refused, and open")
    return tuple(whole.refused[:1]), whole.closed, min(len(whole.asked), 3)


class _Spoken:
    """What a connection of ours did with these pieces; every request is answered at once."""

    def __init__(self, pieces: list[bytes]) -> None:
        hooks, transport = _Hooks(), _Transport()
        self.asked, self.refused = hooks.asked, hooks.reasons
        limits = Limits(head=_HEAD_MOST, body=_BODY_MOST)
        listener = Listener("commands", Kind.COMMAND, Address("127.0.0.1", 1))
        watcher: Any = SimpleNamespace(watch=lambda *_, **__: None)
        clock: Any = SimpleNamespace(time=lambda: 0.0)
        made: Any = transport
        connection = ClientConnection(Door(listener, limits, Timeouts(), watcher, hooks, clock))
        connection.connection_made(made)
        for piece in pieces:
            if not transport.ended:
                connection.data_received(piece)
        self.closed = transport.ended
        # what is said to who sends in pieces only
        self.written = b"".join(each for each in transport.written if not each.startswith(b"HTTP/1.1 100 "))


class _Hooks:
    """The listener of a connection."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, bytes]] = []
        self.reasons: list[str] = []

    def ask(self, asker: Asker, request: Request, source: str, door: Door) -> None:
        del source, door
        self.asked.append((request.method, request.target, request.body))
        asker.release(Response(b"200 OK", b"Content-Length: 2\r\n", b"ok"))

    def refused(self, reason: str) -> None:
        self.reasons.append(reason)

    def turn_away(self, asker: Asker, request: Request, source: str, door: Door) -> None:
        raise Broken(f"{asker} from {source} found no room for {request} at {door}")

    def opened(self, listener: str) -> Room:
        del listener
        return Room.FREE

    def closed(self, listener: str, room: Room = Room.FREE) -> None: ...


class _Transport:
    """The transport of a connection."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.ended = False

    def write(self, data: bytes) -> None:
        if self.ended:
            raise Broken("written after the end")
        self.written.append(data)

    def close(self) -> None:
        self.ended = True

    abort = close

    def is_closing(self) -> bool:
        return self.ended

    def get_extra_info(self, name: str) -> tuple[str, int]:
        del name
        return "127.0.0.1", 1

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    resume_reading = pause_reading


def stand_parameters(data: bytes) -> Hashable:
    """Targets and forms are read whole, kept as they came, and can be changed; a line end divides target and body."""
    target, divided, body = data.partition(b"\n")
    path, query, mark = split_target(target)
    if join_target(path, query, mark) != target:
        raise Broken("a target that is not what it was")
    read = decode(query, body if divided else None, path)
    if decode(query, body if divided else None, path).values != read.values:
        raise Broken("read twice, two readings")
    if read.query != query or read.body != (body if divided else None):
        raise Broken("bytes that are not what they were")
    items = read.items
    if {value for _, value, _ in items} < set(read.values.values()):
        raise Broken("a value out of nowhere")
    if read.changed(()) is not read:
        raise Broken("a change out of nowhere")
    for change in _CHANGES:
        after = read.changed((change,))
        if isinstance(change, RemoveParameter) and after.get("callid") is not None:
            raise Broken(f"{change} was not carried out")
    read.changed(_CHANGES)
    return bool(read.ambiguous), mark, min(len(items), 6), min(len(read.values), 6), divided == b""


def stand_answers(data: bytes) -> Hashable:
    """Answers and OzML are read or not, and what was read can be written and read again."""
    facts = read_answer(data)
    if read_answer(data) != facts:
        raise Broken("read twice, two answers")
    encode_answer(facts.code or 0, facts.message)
    ozml = reads_like_ozml(data)
    verbs = decode_verbs(data)
    if verbs is None:
        return facts.code is None, facts.well_formed, ozml, None
    if not facts.well_formed and verbs:
        raise Broken("verbs of what is not well-formed")
    try:
        written = encode_verbs(verbs)
    except ValueError:  # a name that we do not write
        return facts.code is None, facts.well_formed, ozml, "unwritten"
    if decode_verbs(written) is None:
        raise Broken("what we wrote cannot be read")
    return facts.code is None, facts.well_formed, ozml, min(len(verbs), 3)


def stand_numbers(data: bytes) -> Hashable:
    """Any text is a number of some class, and stays what it was written as."""
    text = data.decode("utf-8", "surrogateescape")
    number = _numbers.read(text)
    if number.written != text or number != _numbers.read(text):
        raise Broken("a number that is not what was written")
    return number.number_class, number.country


def _places(check: int, size: int) -> list[int]:
    """Where these bytes are cut: everywhere, once, or at a few places."""
    dice = Random(check)
    if check % 7 == 0:
        return list(range(1, size))
    return sorted(int(dice.random() * (size + 1)) for _ in range(1 + check % 5))


def _same(whole: oracle.Reading, cut: oracle.Reading, places: list[int]) -> None:
    if whole != cut:
        raise Broken(f"cut at {places}: {cut}; whole: {whole}")


def _bounded(reader: RequestReader | ReplyReader, data: bytes) -> None:
    """What the reader holds on to never passes its caps and one push."""
    piece_size = 64
    try:
        for at in range(0, len(data), piece_size):
            reader.push(data[at : at + piece_size])
            message: Request | Reply | None = reader.take()
            while message is not None:
                if len(message.body) > _BODY_MOST:
                    raise Broken("a body over its cap")
                message = reader.take()
            if reader.buffered > _HEAD_MOST + piece_size + 4:
                raise Broken(f"{reader.buffered} bytes wait")
    except Http1Error:
        return


def _none(difference: str) -> None:
    if difference:
        raise Broken(difference)


TARGETS = (
    Target("requests", 4, seeds.REQUESTS, seeds.HTTP_TOKENS, stand_requests),
    Target("connections", 2, seeds.REQUESTS, seeds.HTTP_TOKENS, stand_connections),
    Target("replies", 3, seeds.REPLIES, seeds.HTTP_TOKENS, stand_replies),
    Target("parameters", 3, seeds.TARGETS, seeds.TARGET_TOKENS, stand_parameters),
    Target("answers", 2, seeds.ANSWERS, seeds.ANSWER_TOKENS, stand_answers),
    Target("numbers", 1, seeds.NUMBERS, seeds.NUMBER_TOKENS, stand_numbers),
)
