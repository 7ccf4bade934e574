"""Why dropping and merging messages loses nothing (``proofs.md``, section 4), for any protocol.

Of the protocol nothing is known but the side conditions, which every reduced run verifies. One
process is in state s; ``sent`` are the messages ever sent to it, ``kept`` those that the reduced
system still has. A message is *spent* if it shares its representative with an obsolete one.
Obsolete messages are spent; but a representative may be obsolete, and dropped, before what it
stands for is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import z3

from model_check.proof.prover import Obligation

State, Message = z3.DeclareSort("State"), z3.DeclareSort("Message")
step = z3.Function("step", State, Message, State)
emits = z3.Function("emits", State, Message, Message, z3.BoolSort())
"""Sends, or records."""
follows = z3.Function("can_follow", State, State, z3.BoolSort())
"""Some step, of whatever kind, leads from one state to the other."""
obsolete = z3.Function("obsolete", State, Message, z3.BoolSort())
rep = z3.Function("rep", State, Message, Message)
sent = z3.Function("sent", Message, z3.BoolSort())
kept = z3.Function("kept", Message, z3.BoolSort())

s, after = z3.Consts("s after", State)
m, n, x, out = z3.Consts("m n x out", Message)


def spent(state: Any, message: Any) -> Any:
    """Does the message share its representative with an obsolete one?"""
    other = z3.FreshConst(Message, "other")
    same = rep(state, other) == rep(state, message)
    body = z3.And(obsolete(state, other), same)
    return z3.Exists([other], body, patterns=[obsolete(state, other), rep(state, other)])


def kept_after(message: Any) -> Any:
    """Is the message kept when the channel is pruned for the state ``after``?"""
    old = z3.FreshConst(Message, "old")
    body = z3.And(kept(old), z3.Not(obsolete(after, old)), rep(after, old) == message)
    return z3.Exists([old], body, patterns=[kept(old)])


def same_effect(state: Any, a: Any, b: Any) -> Any:
    """Does the delivery of either do the same?"""
    both = z3.ForAll(
        [out],
        emits(state, a, out) == emits(state, b, out),
        patterns=[emits(state, a, out), emits(state, b, out)],
    )
    return z3.And(step(state, a) == step(state, b), both)


def no_effect(state: Any, a: Any) -> Any:
    """Does the delivery change, send and record nothing?"""
    return z3.And(step(state, a) == state, z3.ForAll([out], z3.Not(emits(state, a, out))))


SIDE_CONDITIONS = [
    (
        "1",
        z3.ForAll([s, m], z3.Implies(obsolete(s, m), no_effect(s, m)), patterns=[obsolete(s, m)]),
    ),
    (
        "2",
        z3.ForAll(
            [s, m],
            z3.And(same_effect(s, m, rep(s, m)), rep(s, rep(s, m)) == rep(s, m)),
            patterns=[rep(s, m)],
        ),
    ),
    (
        "3, obsolete",
        z3.ForAll(
            [s, after, m],
            z3.Implies(z3.And(follows(s, after), obsolete(s, m)), obsolete(after, m)),
            patterns=[z3.MultiPattern(follows(s, after), obsolete(s, m))],
        ),
    ),
    (
        "3, merged",
        z3.ForAll(
            [s, after, m],
            z3.Implies(
                follows(s, after),
                z3.Or(
                    rep(after, m) == rep(after, rep(s, m)),
                    z3.And(obsolete(after, m), obsolete(after, rep(s, m))),
                ),
            ),
            patterns=[z3.MultiPattern(follows(s, after), rep(s, m))],
        ),
    ),
]
DOMINATED = z3.ForAll(
    [m], z3.Implies(sent(m), z3.Or(spent(s, m), kept(rep(s, m)))), patterns=[sent(m)]
)
BACKED = z3.ForAll(
    [n],
    z3.Implies(kept(n), z3.Exists([m], z3.And(sent(m), rep(s, m) == n), patterns=[sent(m)])),
    patterns=[kept(n)],
)
"""What is kept represents something that was really sent."""

CLAIMS: dict[str, tuple[list[Any], Any]] = {
    "spent_messages_do_nothing": ([spent(s, x)], no_effect(s, x)),
    "spent_messages_stay_spent": ([spent(s, x), follows(s, after)], spent(after, x)),
    "every_delivery_is_matched": (
        [DOMINATED, sent(x)],
        z3.Or(no_effect(s, x), z3.And(kept(rep(s, x)), same_effect(s, x, rep(s, x)))),
    ),
    "domination_survives_a_step": (
        [DOMINATED, follows(s, after), sent(x)],
        z3.Or(spent(after, x), kept_after(rep(after, x))),
    ),
    "what_is_kept_was_sent": (
        [BACKED, follows(s, after), kept_after(x)],
        z3.Exists([m], z3.And(sent(m), rep(after, m) == x), patterns=[sent(m)]),
    ),
}


def obligations() -> Iterator[Obligation]:
    """One for each claim."""
    for name, (premises, claim) in CLAIMS.items():
        hypotheses = [*SIDE_CONDITIONS, *(("premise", premise) for premise in premises)]
        yield Obligation("reductions", name, "(any protocol)", hypotheses, z3.Not(claim))
