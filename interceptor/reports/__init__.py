"""What was found in files, told to a person (``text``) and to machines (``json``, ``sarif``, ``junit``).

Each format is one small module with a ``write`` that turns a :class:`Report` into text, and one line in this list.
Nothing here opens a file.
"""

from collections.abc import Callable, Mapping
from typing import Final

from interceptor.reports import junit, plain, sarif, text
from interceptor.reports.report import Report

FORMATS: Final[Mapping[str, Callable[[Report], str]]] = {
    "text": text.write,
    "json": plain.write,
    "sarif": sarif.write,
    "junit": junit.write,
}

__all__ = ["FORMATS", "Report"]
