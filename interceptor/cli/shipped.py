"""Where the example configuration and the example rules are: beside the sources, or inside the installed package."""

from pathlib import Path


def shipped() -> Path:
    """The folder that holds ``config.example.yaml`` and ``rules/``."""
    package = Path(__file__).parent.parent
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent
