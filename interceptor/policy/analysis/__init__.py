"""What a policy does to every message there can be, decided and not tried: see ``docs/analysis.md``."""
