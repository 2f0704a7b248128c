"""Scenarios: small YAML files that say who is there, what they do, and what must come of it. ``docs/scenarios.md``."""

from interceptor.simulator.scenario.form import Scenario
from interceptor.simulator.scenario.playing import Outcome, Played, play
from interceptor.simulator.scenario.reading import read_scenario
from interceptor.simulator.scenario.world import Between, World

__all__ = ["Between", "Outcome", "Played", "Scenario", "World", "play", "read_scenario"]
