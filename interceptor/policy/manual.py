"""Writes the manual of the rules language out of the docstrings of the modules that implement it.

``python -m interceptor.policy.manual`` prints it; a test compares that with ``docs/rules.md``.
"""

import sys
from types import ModuleType
from typing import Final

from interceptor.policy import (
    actions,
    classes,
    columns,
    dates,
    invariants,
    matchers,
    names,
    numbers,
    placeholders,
    rules,
    tables,
    texts,
    verbs,
    when,
)

_HEAD: Final = """# Writing rules

<!-- Made from the docstrings of interceptor/policy by `python -m interceptor.policy.manual`. Change them there. -->

A rule says which messages it is for and what happens to them. This page is the whole language; the files in `rules/`
are an example to begin with.
"""
_ACTIONS: Final = """## Actions: what happens then

A rule has at least one, and at most one of `allow`, `deny` and `answer`. To do something to a part of the calls only,
write the condition `sample` beside it."""


def manual() -> str:
    """The whole page, in Markdown."""
    pages = [
        _HEAD,
        *_pages(rules, names, when),
        *_pages(*matchers.LIST, numbers, texts, dates, classes),
        _ACTIONS,
        *_pages(*actions.LIST, verbs, placeholders, columns),
        *_pages(tables, invariants),
    ]
    return "\n\n".join(page.strip() for page in pages) + "\n"


def _pages(*modules: object) -> list[str]:
    return [module.__doc__ or "" for module in modules if isinstance(module, ModuleType)]


if __name__ == "__main__":
    sys.stdout.write(manual())
