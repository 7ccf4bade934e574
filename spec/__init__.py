"""Raft as pure functions: the specification that the checker explores and the server runs.

Reading order, beside the extended Raft paper (Ongaro, Ousterhout: "In Search of an Understandable
Consensus Algorithm"):

1. ``entries``     long sequences that are cheap to append to; not about Raft
2. ``records``     copies of records in which some fields differ; not about Raft
3. ``state``       Figure 2 "State": what a server knows
4. ``messages``    Figure 2: the RPCs
5. ``events``      what happens to a server, what it asks for, and what must be durable when
6. ``log``         the log algebra (§5.3, §5.4.1)
7. ``quorum``      majorities (§5.2, §6)
8. ``membership``  membership changes (§6)
9. ``snapshot``    log compaction (§7)
10. ``elections``  elections that do not disrupt (§6, D6.2, D9.6), leadership transfer (D3.10)
11. ``reads``      reads without an entry in the log (§8)
12. ``raft``       **the protocol**, ``step(options, server, event) -> (server, effects)``
13. ``cluster``    the first cluster, and the facts of its history
14. ``disk``       what is durable, what is being written, and what waits for it
15. ``sessions``   a command that is sent again takes effect once (§8)
16. ``clients``    what clients ask, are owed and observe (§8)
17. ``relevance``  which messages, and which knowledge, can still matter
18. ``invariants`` the claims: Figure 3, and what it rests on
19. ``progress``   what must stay possible: elections and commits

Deviations from the paper, each with its reason:

* A response to AppendEntries is one of three messages instead of one with a boolean: a success
  says up to where the logs match, a mismatch repeats the ``prev_log_index`` that it rejects, and
  a request of an older term gets only the newer term. Messages may be late, doubled or out of
  order; an answer that did not say what it answers could be taken for the answer to another
  request. (The paper's RPCs are paired by the transport.)
* ``match_index`` and ``next_index`` ignore answers that tell nothing new, for the same reason.
* ``last_applied`` is not here: the state machine's owner applies what ``CommittedUpTo`` announces.
* A step applies the newer term of a message and then the rule for the message at once.
* Retrying RPCs that are not answered (§5.1) is an event of its own, ``RetryTimeout``.
* The blank entry at the start of a term (§8) is an option; Figure 2 does not have it.
* Streaming, an option: a leader sends entries when its driver has room for them (``Replicate``),
  any slice of its log from next_index on. Batches, pipelines and windows are the driver's choice.
* A rejection skips all that the follower lacks, as an option; the paper's other proposal (§5.3), a
  whole term at a time, is not here.
* Writing in parallel (D10.2.1) is an option. The server then knows how far its own log is durable
  (``durable_index``), which the figures do not have, because a leader counts itself up to there
  only. Nothing but a leader's AppendEntries may be sent early; what is committed may be applied
  before it is durable here, since a quorum has stored it.
* Reads (§8) are the dissertation's ReadIndex (D6.4). The index is the commit index when the round
  of heartbeats is confirmed, not when the read arrives: later, and as good. A leader that has
  committed nothing in its term refuses, where the dissertation lets it wait. Followers ask all
  others, of whom only the leader answers, for who leads is not part of their state. One read
  identifier may stand for any number of client requests. The round must be confirmed by the
  configuration that is in force then. Leases (D6.4.1), which rest on clocks, are not here.
* Sessions (D6.3) never expire: who lets a state machine forget one must refuse its client rather
  than carry out a command that may be a retry. A client has one command under way at a time, and
  its session begins with its first command. A server that has discarded the entry of a command
  does not know what became of it: the client asks again, and its session answers.
* Membership (§6): joint consensus as in the paper. New servers catch up as non-voting members
  before C_old,new is appended, until they have stored what is committed (the dissertation counts
  rounds); who is catching up is known to the leader alone, so that a new leader must be asked
  again. ``ChangeLearners`` brings servers up to date without beginning a change. A leader begins
  no change before an entry of its own term is committed (the dissertation's rule for single-server
  changes, kept for all). A server that knows itself to be in no cluster starts no election.
* Single-server changes (D4.1) are an option of the same mechanism, in no profile: C_new follows at
  once, and only one server may come or go. The rule that an entry of the leader's term comes first
  they cannot do without: its lack was their published bug.
* Servers that hear a leader disregard RequestVote (§6), as an option together with check-quorum
  (D6.2). The paper says "within the minimum election timeout of hearing from a current leader";
  here it is until the server's own election timeout, which is no shorter, so that no second timer
  is needed. A leader hears itself. An election that the leader asked for (D3.10) is not meant.
* Pre-vote (D9.6), an option. There is no role of a pre-candidate: a server that hears no leader
  counts who would vote for it, whatever its role, and asks at its election timeouts. So a pre-vote
  changes nobody's state, and a candidate can still win the election that it stands for while it
  asks for the next. An answer repeats the term of its request; a late one of the same term
  counts, for pre-votes are no matter of safety. An older server is told the newer term.
* Check-quorum (D6.2), an option: the election timeout of a leader ends the period in which a quorum
  has to answer its AppendEntries, by success or mismatch, or its InstallSnapshot. A late answer of
  the same term counts.
* Leadership transfer (D3.10): commands are refused meanwhile, and so are membership changes.
  TimeoutNow may come late, when the leader has given the transfer up; it starts an election all
  the same, as an election timeout could. One of an older term is ignored.
* Snapshots (§7) are one value, sent whole: chunks (``offset``, ``done``) are the transport's. Its
  answer is that of AppendEntries, since it says the same: up to where the logs match. A snapshot of
  what a follower knows to be committed changes nothing, where the paper lets it discard the covered
  entries: the state machine may not have applied them yet. A snapshot that is installed raises the
  commit index, and after a crash the commit index is where the snapshot ends. Entries that it
  covers agree with any AppendEntries. A heartbeat to who lacks discarded entries begins where
  the log does. A server that knows of no configuration yet takes no snapshot.
"""
