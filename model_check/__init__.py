"""An explicit-state model checker for protocols of message-passing processes, and Raft as one.

``check(model)`` explores all behaviours of a ``Model``; ``python -m model_check`` does it for Raft.
"""

from model_check.check import Result, check
from model_check.explore import Limits
from model_check.model import (
    AllWhere,
    AnyFact,
    AnyState,
    AnyStep,
    Goal,
    Model,
    ModelError,
    Outcome,
    Property,
    Witness,
)
from model_check.tables import Reductions

__all__ = [
    "AllWhere",
    "AnyFact",
    "AnyState",
    "AnyStep",
    "Goal",
    "Limits",
    "Model",
    "ModelError",
    "Outcome",
    "Property",
    "Reductions",
    "Result",
    "Witness",
    "check",
]
