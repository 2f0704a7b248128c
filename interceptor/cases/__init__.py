"""Cases: messages with what should become of them, in ``*.test.yaml`` files beside the rules.

:func:`run` is the door. A message goes the way of a live one, see ``interceptor/rehearsal.py``.
"""

from interceptor.cases.coverage import Coverage, CoveredCondition, CoveredRule
from interceptor.cases.form import Case, Expect, Step
from interceptor.cases.reading import read_cases, read_instant
from interceptor.cases.running import Difference, Played, Report, Result, ground_of, run

__all__ = [
    "Case",
    "Coverage",
    "CoveredCondition",
    "CoveredRule",
    "Difference",
    "Expect",
    "Played",
    "Report",
    "Result",
    "Step",
    "ground_of",
    "read_cases",
    "read_instant",
    "run",
]
