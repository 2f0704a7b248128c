"""The command line: one module for each subcommand, mounted in ``main``."""
