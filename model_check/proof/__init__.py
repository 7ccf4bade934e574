"""Raft's safety for any number of servers, any term and any length of log.

Reading order:

1. ``logic``       the few operations in which everything is written, for z3 and for Python
2. ``state``       what the abstract protocol knows: Figure 2, the network, and history
3. ``actions``     the abstract protocol: what may happen, under which guards
4. ``lemmas``      what always holds, one sentence each
5. ``theory``      which actions and lemmas make up which proof
6. ``prover``      one lemma, one action, one query
7. ``quorums``     why two quorums meet, for arbitrary finite sets of servers
8. ``refinement``  how the steps of ``spec.raft`` are steps of the abstract protocol
9. ``runs``        the lemmas on states that ``spec.raft`` reaches

``snapshots``, ``membership`` and ``reads`` are what sections 7, 6 and 8 of the paper add to 2, 3
and 4; ``abstraction`` and ``rounds`` are the parts of 8 about logs and about reads;
``counterexample`` shows why something is not proved; ``reductions`` is about the explorer.

Actions and lemmas are ordinary Python functions. Called with z3 terms they give the formulas that
are proved; called with numbers and sets they are the predicates that states of ``spec`` are held
against. There is no second text.
"""
