"""``python -m interceptor`` is the command ``interceptor``.

The processes that we start ourselves, workers and examiners, import this module again, as ``multiprocessing`` has it.
So the command line is imported when it is wanted: it is none of their business.
"""


def main() -> None:
    """The command line's door."""
    from interceptor.cli.main import main as command_line  # noqa: PLC0415 - see above

    command_line()


if __name__ == "__main__":
    main()
