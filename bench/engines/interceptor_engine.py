"""The same policy for Interceptor, with all that belongs to a decision: the number read and the facts made."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.deciding import MIDNIGHT, House
from bench.rules import as_interceptor
from interceptor.policy import Source
from interceptor.values import Verdict


def load(work):
    house = House()
    rules = house.compile([Source("rules.yaml", as_interceptor(len(work["rules"]) + 1).encode())])
    whole = house.decider(rules)

    def decide(message):
        command, app, number, hour = message
        return whole(command, app, number, "1001", MIDNIGHT + hour * 3600.0).verdict is Verdict.ALLOW

    return decide
