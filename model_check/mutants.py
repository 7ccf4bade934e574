MUTANTS: tuple[Mutant, ...] = (
    # Elections (§5.1, §5.2, §5.4.1)
    Mutant(
        name="B01",
        title="a restart forgets the vote",
        seen_in="PySyncObj 0.3.14, akka-raft #56",
        patches=(
            Patch(
                before="voted_for=server.voted_for,\n        log=server.log,",
                after="voted_for=None,\n        log=server.log,",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=1, terms=1, log_length=0),
    ),
    Mutant(
        name="B02",
        title="a restart forgets the term",
        seen_in="PySyncObj 0.3.14, akka-raft #56",
        patches=(
            Patch(
                before="current_term=server.current_term,\n        voted_for=server.voted_for,\n        log",
                after="current_term=Term(0),\n        voted_for=server.voted_for,\n        log",
            ),
        ),
        verdict=Killed(by="term_never_decreases", servers=1, terms=1, log_length=0),
    ),
    Mutant(
        name="B03",
        title="a second vote in the same term",
        seen_in="camunda #5356, nebula #2405",
        patches=(
            Patch(
                before="granted = server.voted_for in (None, request.candidate_id) and is_up_to_date(",
                after="granted = is_up_to_date(",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B04",
        title="a candidate does not record its vote for itself",
        seen_in="xraft #44",
        patches=(
            Patch(
                before="        voted_for=server.server_id,\n        role=Candidate",
                after="        voted_for=None,\n        role=Candidate",
            ),
            Patch(
                before="current_term=server.current_term, voted_for=server.server_id)",
                after="current_term=server.current_term, voted_for=None)",
            ),
        ),
        verdict=Killed(by="election_safety", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B05",
        title="a heartbeat of the same term clears the vote",
        seen_in="redpanda #14, CCF #8091 #8094, canonical/raft #196",
        patches=(
            Patch(
                before="server = replace(server, role=Follower())  # a",
                after="server = replace(server, role=Follower(), voted_for=None)  # a",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B06",
        title="a leader votes for another in its own term",
        seen_in="daos raft #70",
        patches=(
            Patch(
                before="granted = server.voted_for in (None, request.candidate_id) and is_up_to_date(",
                after="""\
free = server.voted_for in (None, request.candidate_id)
    granted = (free or isinstance(server.role, Leader)) and is_up_to_date(""",
            ),
        ),
        verdict=Killed(by="one_vote_per_term", servers=3, terms=1, log_length=0),
    ),
    Mutant(
        name="B07",
        title="votes without looking at the logs",
        seen_in="the omission that the paper warns of in §5.4.1",
        patches=(
            Patch(
                before="""(None, request.candidate_id) and is_up_to_date(
        (request.last_log_term, request.last_log_index),
        (last_term(server.log), last_index(server.log)),
    )
""",
                after="(None, request.candidate_id)\n",
            ),
        ),
        verdict=Killed(by="leader_completeness", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B08",
        title="a vote compares only the lengths of the logs",
        seen_in="a common mistake in ports",
        patches=(
            Patch(
                module="spec.log",
                before="return candidate_last >= voter_last",
                after="return candidate_last[1] >= voter_last[1]",
            ),
        ),
        verdict=Killed(by="leader_completeness", servers=3, terms=3, log_length=1),
    ),
    Mutant(
        name="B10",
        title="no vote for a log that is just as up-to-date",
        seen_in="a common mistake in ports",
        patches=(
            Patch(
                module="spec.log",
                before="return candidate_last >= voter_last",
                after="return candidate_last > voter_last",
            ),
        ),
        verdict=Killed(by="leader_elected", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="B11",
        title="a vote of an older term is counted",
        seen_in="xraft #33, little-raft #44, akka-raft #46, nats #5149",
        patches=(
            Patch(
                before="    if message.term < server.current_term:\n        return on_older",
                after="""\
    vote = isinstance(message, RequestVoteResponse)
    if message.term < server.current_term and not vote:
        return on_older""",
            ),
        ),
        verdict=Killed(by="election_safety", servers=3, terms=2, log_length=0),
    ),
    Mutant(
        name="B12",
        title="a vote that arrives twice is counted twice",
        seen_in="xraft #27, akka-raft #45, Coyote sample #8",
        patches=(TWICE_COUNTED,),
        verdict=Killed(by="election_safety", servers=4, terms=1, log_length=0),
    ),
    Mutant(
        name="B13",
        title="half of the servers is a majority",
        seen_in="an off-by-one mistake",
        patches=(HALF_IS_A_MAJORITY,),
        verdict=Killed(by="election_safety", servers=4, terms=1, log_length=0),
    ),
    Mutant(
        name="B14",
        title="an answer to a pre-vote is taken for a vote",
        seen_in="cockroach #123297, canonical/raft #196",
        verdict=NotExpressible(reason=NO_PRE_VOTE),
    ),
    Mutant(
        name="B15",
        title="an answer of an older term sets the term back",
        seen_in="WRaft (SandTable), nebula #2405 #685",
        patches=(
            Patch(
                before="    if message.term < server.current_term:\n        return on_older",
                after="""\
    request = isinstance(message, RequestVote | AppendEntries)
    if message.term < server.current_term and request:
        return on_older""",
            ),
            Patch(
                before="    if term <= server.current_term:\n        return server, ()",
                after="    if term == server.current_term:\n        return server, ()",
            ),
        ),
        verdict=Killed(by="term_never_decreases", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="B16",
        title="a new term keeps the vote of the old one",
        seen_in="Raft-KV #1",
        patches=(
            Patch(
                before="current_term=term, voted_for=None, role=Follower())",
                after="current_term=term, role=Follower())",
            ),
            Patch(
                before="PersistTermAndVote(current_term=term, voted_for=None)",
                after="PersistTermAndVote(current_term=term, voted_for=server.voted_for)",
            ),
        ),
        verdict=Control(
            reason="it only gives fewer votes: a loss of liveness",
            servers=3,
            terms=2,
            log_length=2,
        ),
    ),
    # Replication (§5.3)
    Mutant(
        name="B18",
        title="prev_log_term is not compared, only that there is an entry",
        seen_in="a mistake in ports",
        patches=(
            Patch(
                before="if term_at(server.log, request.prev_log_index) != request.prev_log_term:",
                after="if request.prev_log_index > last_index(server.log):",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=3, log_length=1),
    ),
    Mutant(
        name="B19",
        title="every AppendEntries cuts the log after it, conflict or not",
        seen_in="willemt #37, lerna #151, PySyncObj 0.3.14",
        patches=(
            Patch(
                before="conflict = first_conflict(server.log, request.prev_log_index, request.entries)",
                after="conflict: Index | None = Index(request.prev_log_index + 1)",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B21",
        title="a conflicting entry is kept, yet acknowledged",
        seen_in="a mistake in ports",
        patches=(
            Patch(
                before="    if conflict is None:\n        return server, ()",
                after="""\
    if conflict is None or conflict <= last_index(server.log):
        return server, ()""",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B22",
        title="a conflicting entry is replaced, the stale ones after it are kept",
        seen_in="mofa #1151",
        patches=(
            Patch(
                before="missing = request.entries[conflict - request.prev_log_index - 1 :]\n",
                after="""\
missing = request.entries[conflict - request.prev_log_index - 1 :]
    missing += entries_from(server.log, Index(conflict + len(missing)))
""",
            ),
        ),
        verdict=Killed(by="log_terms_ascend", servers=3, terms=2, log_length=2),
    ),
    Mutant(
        name="B23",
        title="a follower acknowledges its own last entry, not the last one verified",
        seen_in="CCF #6016, etcd #1367",
        patches=(
            Patch(
                before="match_index=index_of_last_new_entry)",
                after="match_index=last_index(server.log))",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B25",
        title="match_index is advanced when entries are sent",
        seen_in="PySyncObj #167",
        patches=(
            Patch(
                before="""\
            server, committed = advance_commit_index(server)
            return server, (*stored, accepted, *broadcast(server), *committed)
""",
                after="""\
            sent, end = broadcast(server), last_index(server.log)
            role = Leader(
                next_index=IndexOf.of(dict.fromkeys(peers(server), Index(end + 1))),
                match_index=IndexOf.of(dict.fromkeys(peers(server), end)),
            )
            server, committed = advance_commit_index(replace(server, role=role))
            return server, (*stored, accepted, *sent, *committed)
""",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B26",
        title="a late acknowledgement sets match_index back",
        seen_in="PySyncObj #167, raftos #25, raft.tla #18",
        patches=(
            Patch(
                before="response.match_index > match_index[follower]",
                after="response.match_index != match_index[follower]",
            ),
        ),
        verdict=Killed(by="match_index_never_decreases", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B27",
        title="a late rejection sets next_index back to what is known to match",
        seen_in="PySyncObj #167, WRaft, etcd-raft #149, CCF #5341",
        patches=(
            Patch(
                before="match_index[follower] < response.prev_log_index == next_index[follower] - 1",
                after="response.prev_log_index == next_index[follower] - 1",
            ),
        ),
        verdict=Killed(by="next_index_above_match_index", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="B28",
        title="match_index is not cleared on election",
        seen_in="a mistake in ports",
        patches=MATCH_INDEX_SURVIVES,
        verdict=Scripted(
            by="match_index_truthful",
            schedule=S1_ELECTED + S2_HAS_ACKNOWLEDGED + S3_REPLACES_THE_ENTRY + S1_ELECTED_AGAIN,
            servers=5,
        ),
    ),
    # Commitment (§5.3, §5.4.2) and durability (Figure 2)
    Mutant(
        name="B30",
        title='"durable up to" is not lowered after a truncation',
        seen_in="rabbitmq ra #637",
        verdict=NotExpressible(reason=NO_DISK),
    ),
    Mutant(
        name="B31",
        title="an entry of an older term is committed by counting copies (Figure 8)",
        seen_in="LogCabin #44, goraft #27, PySyncObj #110 #169, canonical/raft #336, CCF #4485",
        patches=(
            Patch(
                before="""\
    if term_at(server.log, agreed) != server.current_term:
        return server, ()
""",
                after="",
            ),
        ),
        verdict=Killed(by="commit_by_current_term", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="B32",
        title="a follower commits up to its own last entry, verified or not",
        seen_in="copycat #265, lerna #165 #166",
        patches=(
            NO_ENTRIES_IN_HEARTBEATS,
            Patch(
                before="min(request.leader_commit, index_of_last_new_entry)",
                after="min(request.leader_commit, last_index(server.log))",
            ),
        ),
        verdict=Killed(by="state_machine_safety", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="B35",
        title="the search for the entry to commit stops at one of an older term",
        seen_in="raftos #30",
        patches=(
            Patch(
                before="if term_at(server.log, agreed) != server.current_term:",
                after="""\
if term_at(server.log, Index(server.commit_index + 1)) != server.current_term:""",
            ),
        ),
        verdict=Killed(by="older_entry_committed", servers=2, terms=2, log_length=2),
    ),
    Mutant(
        name="B36",
        title="a follower acknowledges entries before they are durable",
        seen_in="tikv #994, NATS 2.12.1, PySyncObj 0.3.14 (its journal is never flushed)",
        patches=(
            Patch(
                before="(*stored, *heard, *committed, Send(to=request.leader_id, message=success))",
                after="(*heard, *committed, Send(to=request.leader_id, message=success), *stored)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="B37",
        title="a leader counts its own entry before it is durable",
        seen_in="d-engine #329, etcd #14370",
        patches=(
            Patch(
                before="return server, (*stored, accepted, *broadcast(server), *committed)",
                after="return server, (accepted, *broadcast(server), *committed, *stored)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=1, terms=1, log_length=1),
    ),
    Mutant(
        name="B38",
        title="a server comes back under the same id with an empty log",
        seen_in="RethinkDB #5289, etcd #10166, etcd-raft #197",
        patches=(
            Patch(
                before="voted_for=server.voted_for,\n        log=server.log,",
                after="voted_for=server.voted_for,\n        log=Log(),",
            ),
        ),
        verdict=Killed(by="committed_never_cut", servers=1, terms=1, log_length=1),
    ),
    Mutant(
        name="B39",
        title="damage in the middle of the log is taken for a torn tail and cut off",
        seen_in="LogCabin, ZooKeeper (Alagappan et al.: Protocol-Aware Recovery, FAST '18)",
        verdict=NotExpressible(reason=NO_FILES),
    ),
    Mutant(
        name="B40",
        title="a torn tail keeps the server from starting",
        seen_in="etcd #5230 #6515, dqlite #190",
        verdict=NotExpressible(reason=NO_FILES),
    ),
    Mutant(
        name="B41",
        title="fsync failed and is tried again, as if it could still succeed",
        seen_in='PostgreSQL ("fsyncgate")',
        verdict=NotExpressible(reason=NO_FILES),
    ),
    Mutant(
        name="B42",
        title="snapshot and log are replaced in the wrong order",
        seen_in="redisraft #43 #654",
        verdict=NotExpressible(reason=f"{NO_SNAPSHOTS}, and {NO_FILES}"),
    ),
    # Snapshots (§7)
    Mutant(
        name="B44",
        title="a conflicting suffix is kept after a snapshot is installed",
        seen_in="scylla #9551, hashicorp/raft #704",
        verdict=NotExpressible(reason=NO_SNAPSHOTS),
    ),
    Mutant(
        name="B45",
        title="an old uncommitted configuration outlives a newer snapshot",
        seen_in="openraft #1808, scylla #9551",
        verdict=NotExpressible(reason=f"{NO_SNAPSHOTS}, and {NO_MEMBERSHIP}"),
    ),
    Mutant(
        name="B46",
        title="after compaction, prev_log_index 0 appends again",
        seen_in="WRaft #118",
        verdict=NotExpressible(reason=NO_SNAPSHOTS),
    ),
    Mutant(
        name="B47",
        title="a snapshot is merged into the state machine instead of replacing it",
        seen_in="jgroups-raft #301",
        verdict=NotExpressible(reason=f"{NO_SNAPSHOTS}, nor is the state machine"),
    ),
    Mutant(
        name="B49",
        title="a heartbeat carries the leader's commit index, whatever the follower has",
        seen_in="cockroach #25173, etcd #3519",
        patches=(
            NO_ENTRIES_IN_HEARTBEATS,
            Patch(
                before="commit_up_to(server, min(request.leader_commit, index_of_last_new_entry))",
                after="commit_up_to(server, request.leader_commit)",
            ),
        ),
        verdict=Killed(by="state_machine_safety", servers=3, terms=1, log_length=1),
    ),
    Mutant(
        name="B50",
        title="a client is answered by the index alone, where another term's entry landed",
        seen_in="redisraft #23 (its shape), general",
        verdict=NotExpressible(reason=NO_SESSIONS),
    ),
    # Membership (§6)
    Mutant(
        name="B51",
        title="a configuration changes before an entry of the leader's term is committed",
        seen_in="Ongaro 2015, copycat #23, AxonServer #120, braft #182",
        verdict=NotExpressible(reason=NO_MEMBERSHIP),
    ),
    Mutant(
        name="B52",
        title="more than one server changes without a joint configuration",
        seen_in="the mistake that §6 is about, D4",
        verdict=NotExpressible(reason=NO_MEMBERSHIP),
    ),
    Mutant(
        name="B53",
        title="a second change while one is uncommitted",
        seen_in="the mistake that D4.1 rules out",
        verdict=NotExpressible(reason=NO_MEMBERSHIP),
    ),
    Mutant(
        name="B54",
        title="a joint configuration decides by one majority, of the union or of C_new",
        seen_in="CCF #3948 #4018, async-raft #62, camunda #60086",
        verdict=NotExpressible(
            reason=f"{NO_MEMBERSHIP}: is_quorum counts joint ones, but none is ever reached"
        ),
    ),
    Mutant(
        name="B55",
        title="a candidate stands while committed configurations are unapplied",
        seen_in="etcd #7625 #11284, etcd-raft #456",
        verdict=NotExpressible(reason=NO_MEMBERSHIP),
    ),
    Mutant(
        name="B57",
        title="a removed or isolated server disrupts the leader",
        seen_in="LogCabin #56, hashicorp/raft #526",
        verdict=NotExpressible(
            reason=f"{NO_MEMBERSHIP}, {NO_PRE_VOTE}; nor is progress with the leader kept a claim"
        ),
    ),
    Mutant(
        name="B58",
        title="a leader that reaches no quorum never steps down",
        seen_in="Cloudflare 2020, tikv raft-rs #84",
        verdict=NotExpressible(reason=f"check-quorum (D6.2) is not in spec; {NO_READS}"),
    ),
    Mutant(
        name="B59",
        title="a learner that was made a voter refuses to vote",
        seen_in="etcd #10998, raft-rs #57",
        verdict=NotExpressible(reason=f"{NO_MEMBERSHIP}, nor are learners (D4.2.1)"),
    ),
    # Clients (§8)
    Mutant(
        name="B60",
        title="a deposed leader answers a read from its own state",
        seen_in="xraft #40, d-engine #381, adjoint raft #41",
        verdict=NotExpressible(reason=NO_READS),
    ),
    Mutant(
        name="B61",
        title="a read index from before the first commit of the leader's own term",
        seen_in="etcd #7331, redisraft #18 #19 #22, tikv #9239",
        verdict=NotExpressible(reason=NO_READS),
    ),
    Mutant(
        name="B62",
        title="acknowledgements of a read are matched by a request id that was used before",
        seen_in="etcd #20418, etcd-raft #397",
        verdict=NotExpressible(reason=NO_READS),
    ),
    Mutant(
        name="B63",
        title="a lease outlives a leadership transfer or a jump of the clock",
        seen_in="raft-rs #234, etcd #12704, tikv #964, openraft #1747 #1749",
        verdict=NotExpressible(reason=f"{NO_READS}, nor are leases, transfer and clocks"),
    ),
    Mutant(
        name="B64",
        title="a command that was sent again is applied twice",
        seen_in="etcd #18424, akka-raft #64",
        verdict=NotExpressible(reason=NO_SESSIONS),
    ),
    Mutant(
        name="B65",
        title="a timeout is reported to the client as a failure",
        seen_in="redisraft #23",
        verdict=NotExpressible(reason=NO_SESSIONS),
    ),
    # Controls
    Mutant(
        name="C12",
        title="a vote that arrives twice is counted twice, among 3 servers",
        seen_in="B12",
        patches=(TWICE_COUNTED,),
        verdict=Control(
            reason="of 3 servers, one vote beside its own elects a candidate",
            servers=3,
            terms=2,
            log_length=1,
        ),
    ),
    Mutant(
        name="C13",
        title="half of the servers is a majority, among 3 servers",
        seen_in="B13",
        patches=(HALF_IS_A_MAJORITY,),
        verdict=Control(
            reason="half of an odd number, rounded up, is a majority",
            servers=3,
            terms=2,
            log_length=1,
        ),
    ),
    Mutant(
        name="C28",
        title="match_index is not cleared on election, among 3 servers",
        seen_in="B28",
        patches=MATCH_INDEX_SURVIVES,
        verdict=Control(
            reason="of 3 servers, one that acknowledged a leader of the entry's term commits it",
            servers=3,
            terms=3,
            log_length=1,
        ),
    ),
    Mutant(
        name="C32",
        title="heartbeats carry no entries (as in B32 and B49), nothing else is changed",
        seen_in="etcd and many others, lawfully",
        patches=(NO_ENTRIES_IN_HEARTBEATS,),
        verdict=Control(
            reason="any slice of the leader's log may be sent", servers=3, terms=2, log_length=1
        ),
    ),
    Mutant(
        name="C33",
        title="a follower commits up to its own last entry, heartbeats carry all entries",
        seen_in="B32",
        patches=(
            Patch(
                before="min(request.leader_commit, index_of_last_new_entry)",
                after="min(request.leader_commit, last_index(server.log))",
            ),
        ),
        verdict=Control(
            reason="every request reaches to the end of the leader's log, beyond its commit index",
            servers=3,
            terms=2,
            log_length=2,
        ),
    ),
    # Sabotages that nobody needs to have seen
    Mutant(
        name="X01",
        title="a vote is granted without being persisted",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="voted_for=request.candidate_id), (vote, ResetElectionTimer(), answer)",
                after="voted_for=request.candidate_id), (ResetElectionTimer(), answer)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X02",
        title="a newer term is adopted without being persisted",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="""\
    return server, (PersistTermAndVote(current_term=term, voted_for=None),)
""",
                after="    return server, ()\n",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=2, log_length=0),
    ),
    Mutant(
        name="X03",
        title="a candidate asks for votes before its own is durable",
        seen_in="by analogy with B36",
        patches=(
            Patch(
                before="(vote, ResetElectionTimer(), *request_votes(server))",
                after="(ResetElectionTimer(), *request_votes(server), vote)",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X04",
        title="a truncation is not persisted: the new entries are stored after the old ones",
        seen_in="by analogy with B30",
        patches=(
            Patch(
                before="PersistEntries(first_index=conflict, entries=missing)",
                after="""\
PersistEntries(
            first_index=Index(len(server.log.entries) + 1), entries=missing
        )""",
            ),
        ),
        verdict=Killed(by="durable_before_sent", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X05",
        title="the no-op of a new leader is not persisted",
        seen_in="by analogy with B37",
        patches=(
            Patch(
                before="return server, (*stored, elected, *broadcast(server), *committed)",
                after="return server, (elected, *broadcast(server), *committed)",
            ),
        ),
        verdict=Killed(
            by="durable_before_sent", servers=1, terms=1, log_length=1, profile="server"
        ),
    ),
    Mutant(
        name="X06",
        title="a candidate's own vote is enough",
        seen_in="by analogy with B13",
        patches=(
            Patch(
                before="case Candidate(votes_granted=votes) if is_quorum(server.configuration, votes):",
                after="case Candidate():",
            ),
        ),
        verdict=Killed(by="election_safety", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X07",
        title="a refused vote is counted like a granted one",
        seen_in="by analogy with B11",
        patches=(
            Patch(
                before="case Candidate(votes_granted=votes_granted) if response.vote_granted:",
                after="case Candidate(votes_granted=votes_granted):",
            ),
        ),
        verdict=Killed(by="election_safety", servers=2, terms=1, log_length=0),
    ),
    Mutant(
        name="X08",
        title="a leader that hears of a newer term leads on, in that term",
        seen_in="by analogy with B05",
        patches=(
            Patch(
                before="current_term=term, voted_for=None, role=Follower())",
                after="current_term=term, voted_for=None)",
            ),
        ),
        verdict=Killed(by="log_matching_sent", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X09",
        title="AppendEntries of an older term is taken",
        seen_in="by analogy with B11",
        patches=(
            Patch(
                before="    if message.term < server.current_term:\n        return on_older",
                after="""\
    entries = isinstance(message, AppendEntries)
    if message.term < server.current_term and not entries:
        return on_older""",
            ),
        ),
        verdict=Killed(by="match_index_truthful", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X10",
        title="an acknowledgement of an older term is counted",
        seen_in="by analogy with B11 and B28",
        patches=(
            Patch(
                before="    if message.term < server.current_term:\n        return on_older",
                after="""\
    acknowledged = isinstance(message, AppendEntriesSuccess)
    if message.term < server.current_term and not acknowledged:
        return on_older""",
            ),
        ),
        verdict=Scripted(
            by="match_index_truthful",
            schedule=(
                *S1_ELECTED,
                *S3_REPLACES_THE_ENTRY,
                *S1_ELECTED_AGAIN,
                *S2_HAS_ACKNOWLEDGED,
            ),
            servers=5,
        ),
    ),
    Mutant(
        name="X11",
        title="a leader puts a new entry in the place of its uncommitted ones",
        seen_in="by analogy with B19",
        patches=(
            Patch(
                before="""\
    stored = PersistEntries(first_index=Index(last_index(server.log) + 1), entries=entries)
    return replace(server, log=append(server.log, entries)), (stored,)
""",
                after="""\
    first_index = Index(server.commit_index + 1)
    stored = PersistEntries(first_index=first_index, entries=entries)
    return replace(server, log=splice(server.log, first_index, entries)), (stored,)
""",
            ),
        ),
        verdict=Killed(by="leader_append_only", servers=2, terms=1, log_length=2),
    ),
    Mutant(
        name="X12",
        title="a follower appends without any look at what comes before",
        seen_in="by analogy with B18",
        patches=(
            Patch(
                before="if term_at(server.log, request.prev_log_index) != request.prev_log_term:",
                after="if False:",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="X13",
        title="a follower stores entries under the leader's term, not under their own",
        seen_in="by analogy with B31",
        patches=(
            Patch(
                before="missing = request.entries[conflict - request.prev_log_index - 1 :]\n",
                after="""\
missing = tuple(
        replace(entry, term=request.term)
        for entry in request.entries[conflict - request.prev_log_index - 1 :]
    )
""",
            ),
        ),
        verdict=Killed(by="acknowledge_only_verified", servers=2, terms=2, log_length=1),
    ),
    Mutant(
        name="X14",
        title="a rejection does not decrement next_index",
        seen_in="by analogy with B27",
        patches=(
            Patch(
                before="next_index=next_index.put(follower, response.prev_log_index)",
                after="next_index=next_index",
            ),
        ),
        verdict=Killed(by="next_index_decremented", servers=3, terms=2, log_length=1),
    ),
    Mutant(
        name="X15",
        title="a leader sends entries from one too late",
        seen_in="an off-by-one mistake",
        patches=(
            Patch(
                before="entries=entries_from(server.log, Index(prev_log_index + 1)),",
                after="entries=entries_from(server.log, Index(prev_log_index + 2)),",
            ),
        ),
        verdict=Killed(by="log_matching_sent", servers=2, terms=1, log_length=2),
    ),
    Mutant(
        name="X16",
        title="a leader announces its last entry as committed",
        seen_in="by analogy with B49",
        patches=(
            Patch(
                before="leader_commit=server.commit_index,",
                after="leader_commit=last_index(server.log),",
            ),
        ),
        verdict=Killed(by="log_matching_sent", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X17",
        title="a late AppendEntries sets commit_index back",
        seen_in="by analogy with B26",
        patches=(
            Patch(
                before="    if index <= server.commit_index:",
                after="    if index == server.commit_index:",
            ),
        ),
        verdict=Killed(by="commit_index_never_decreases", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X18",
        title="a leader commits what it has stored itself",
        seen_in="by analogy with B37",
        patches=(
            Patch(
                before="agreed = agreed_index(server.configuration, stored)",
                after="agreed = last_index(server.log)",
            ),
        ),
        verdict=Killed(by="committed_on_a_quorum", servers=2, terms=1, log_length=1),
    ),
    Mutant(
        name="X19",
        title="a leader does not count its own copy",
        seen_in="by analogy with B04",
        patches=(
            Patch(
                before="{**server.role.match_index, server.server_id: last_index(server.log)}",
                after="{**server.role.match_index, server.server_id: Index(0)}",
            ),
        ),
        verdict=Killed(by="entry_committed", servers=1, terms=1, log_length=1),
    ),
)
