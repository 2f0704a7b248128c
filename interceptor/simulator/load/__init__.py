"""Load: many overlapping calls of all kinds, each message counted on both sides, each wait measured.

player = Player(pbxs, apps, caller="crm", seed=1)
await player.play(calls_per_second=20, seconds=10)
player.results()
"""

from interceptor.simulator.load.measures import Counts, Latencies, Spread
from interceptor.simulator.load.player import MOST_CALLS_PER_SECOND, MOST_SECONDS, Player, Results

__all__ = ["MOST_CALLS_PER_SECOND", "MOST_SECONDS", "Counts", "Latencies", "Player", "Results", "Spread"]
