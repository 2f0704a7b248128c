"""What is wrong with bytes that are not HTTP/1 as we read it."""

from typing import Final

REASONS: Final = (
    "bad_chunk",
    "bad_connection",
    "bad_content_length",
    "bad_expectation",
    "bad_header",
    "bad_host",
    "bad_request_line",
    "bad_status_line",
    "bad_target",
    "bad_trailer",
    "bad_transfer_encoding",
    "bad_version",
    "bare_newline",
    "body_too_large",
    "head_too_large",
    "incomplete",
    "length_and_chunked",
    "repeated_header",
)


class Http1Error(Exception):
    """The peer's bytes are not HTTP as we read it.

    ``reason`` is a stable code, one of ``REASONS``; ``status`` is what an asker is told.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
