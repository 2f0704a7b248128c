"""A policy's way into force: found changed, examined, brought to all workers at once, kept on disk, rolled back."""

from interceptor.rollout.beginning import Beginning, By, Canary, PolicySet, begin, begin_with
from interceptor.rollout.rollout import Attempt, Fleet, Outcome, Package, Rollout, RolloutError

__all__ = [
    "Attempt",
    "Beginning",
    "By",
    "Canary",
    "Fleet",
    "Outcome",
    "Package",
    "PolicySet",
    "Rollout",
    "RolloutError",
    "begin",
    "begin_with",
]
