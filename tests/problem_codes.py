"""Which codes of problems the sources can tell, read out of the sources themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
_CODE_AT = {"add": 2, "warn": 2, "Problem": 2, "_tell": 3}
"""Where in a call the code stands, by the function's name."""


def codes_in(*names):
    """Every code in these files and folders below `interceptor`; a code that is put together is `prefix*`."""
    found = set()
    for name in names:
        path = ROOT / "interceptor" / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else (path,):
            for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(function, ast.FunctionDef):
                    found |= set(_codes(function))
    return found


def _codes(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=arguments) if name in _CODE_AT:
                if len(arguments) > _CODE_AT[name]:
                    yield from _words(arguments[_CODE_AT[name]])
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=True):  # what, code = "a number", "unquoted_number"
                    if isinstance(target, ast.Name) and target.id == "code":
                        yield from _words(value)


def _words(code: ast.expr) -> Iterator[str]:
    match code:
        case ast.Constant(value=str(word)):
            yield word
        case ast.JoinedStr(values=[ast.Constant(value=str(begin)), *_]):
            yield f"{begin}*"
        case ast.IfExp(body=one, orelse=other):
            yield from _words(one)
            yield from _words(other)


def without(codes, told):
    """The codes that nothing in `told` is a case of."""
    return {
        code
        for code in codes
        if code not in told and not (code.endswith("*") and any(each.startswith(code[:-1]) for each in told))
    }
