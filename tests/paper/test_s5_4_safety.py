"""§5.4 Safety: the election restriction, and commitment of entries of older terms."""

from __future__ import annotations

import pytest

from spec.events import PersistTermAndVote, Send
from spec.messages import AppendEntries, RequestVote, RequestVoteResponse
from spec.state import Index, Term
from tests.cluster import (
    S1,
    S2,
    S3,
    S4,
    S5,
    Cluster,
    commits,
    follower,
    receive,
    request_vote,
)


def figure_8_c() -> Cluster:
    """Figure 8 (c): S1 leads term 4 and its entry of term 2 has come to a majority.

    S5, leader of term 3, has another entry at index 2 and is down.
    """
    cluster = Cluster(size=5)
    cluster.elect(S1, S2, S3)
    cluster.request(S1, "one")
    cluster.exchange(S1, S2, S3, S4, S5)
    cluster.restart(S1)
    cluster.elect(S1, S2, S3, S4, S5)
    cluster.lose()
    cluster.request(S1, "two")
    cluster.exchange(S1, S2)
    cluster.lose()
    cluster.elect(S5, S3, S4)
    cluster.request(S5, "three")
    cluster.restart(S5)
    cluster.lose()
    cluster.restart(S1)
    cluster.time_out(S1)
    cluster.lose()
    cluster.elect(S1, S2, S3)
    cluster.exchange(S1, S2, S3)
    assert [cluster.log_terms(i) for i in (S1, S2, S3, S4, S5)] == [
        [1, 2],
        [1, 2],
        [1, 2],
        [1],
        [1, 3],
    ]
    assert cluster.servers[S1].current_term == 4
    return cluster


@pytest.mark.parametrize(
    ("voter_log", "candidate_last", "granted"),
    [
        ((), (0, 0), True),
        ((1, 1), (2, 1), True),
        ((1, 1), (3, 1), True),
        ((1, 1), (1, 2), True),
        ((1, 1), (1, 1), False),
        ((1, 2), (5, 1), False),
        ((1,), (0, 0), False),
    ],
)
def test_vote_only_for_a_log_at_least_as_up_to_date(
    voter_log: tuple[int, ...], candidate_last: tuple[int, int], granted: bool
) -> None:
    """The later last term wins; with equal last terms, the longer log. Source: §5.4.1"""
    request = request_vote(term=3, candidate=S1, last=candidate_last)
    server, effects = receive(follower(term=2, log=voter_log), S1, request)
    answer = RequestVoteResponse(term=Term(3), vote_granted=granted)
    assert effects[-1] == Send(to=S1, message=answer)
    assert server.voted_for == (S1 if granted else None)


def test_request_for_votes_describes_the_log() -> None:
    """RequestVote says which entry is the candidate's last. Source: §5.4.1"""
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x", "y")
    cluster.restart(S1)
    cluster.time_out(S1)
    request = cluster.latest(RequestVote, S1, S3).message
    assert request == request_vote(term=2, candidate=S1, last=(2, 1))


def test_denied_vote_adopts_the_term_but_not_the_timer() -> None:
    """A refusal stores no vote and does not put off the voter's own election. Source: §5.4.1"""
    request = request_vote(term=2, candidate=S1)
    server, effects = receive(follower(term=1, log=(1,), voted_for=S3), S1, request)
    assert (server.current_term, server.voted_for) == (2, None)
    assert effects == (
        PersistTermAndVote(current_term=Term(2), voted_for=None),
        Send(to=S1, message=RequestVoteResponse(term=Term(2), vote_granted=False)),
    )


def test_denied_candidate_leaves_the_vote_for_a_better_one() -> None:
    """A server that refused one candidate may vote for another in the same term. Source: §5.4.1"""
    server = follower(term=1, log=(1,))
    server, _ = receive(server, S1, request_vote(term=2, candidate=S1))
    server, _ = receive(server, S3, request_vote(term=2, candidate=S3, last=(1, 1)))
    assert server.voted_for == S3


def test_server_without_a_committed_entry_cannot_be_elected() -> None:
    """A majority has the committed entry, and none of it votes for a log without it.
    Source: §5.4.1
    """
    cluster = Cluster(size=5)
    cluster.elect(S1, S2, S3)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2, S3)
    assert cluster.servers[S1].commit_index == 1
    cluster.lose()
    for _ in range(3):
        cluster.time_out(S5)
        cluster.exchange(S5, S1, S2, S3, S4)
    assert not cluster.leads(S5)


def test_committed_entries_survive_a_change_of_leader() -> None:
    """The leader of a later term has every committed entry from the moment it is elected.
    Source: §5.4.1
    """
    cluster = Cluster(size=5)
    cluster.elect(S1, S2, S3)
    cluster.request(S1, "x")
    cluster.exchange(S1, S2, S3)
    cluster.time_out(S2)
    cluster.exchange(S2, S4, S5)
    assert cluster.leads(S2)
    assert cluster.log_terms(S2) == [1]


def test_entry_of_an_older_term_is_not_committed_by_counting() -> None:
    """Stored on a majority, an entry of term 2 is still not committed in term 4 (Figure 8 (c)).
    Source: §5.4.2
    """
    cluster = figure_8_c()
    for _ in range(2):
        cluster.heartbeat(S1)
        cluster.exchange(S1, S2, S3, S4)
    assert cluster.log_terms(S4) == [1, 2]
    assert cluster.servers[S1].commit_index == 0


def test_uncommitted_entry_on_a_majority_can_be_overwritten() -> None:
    """S5 can be elected by S2, S3 and S4 and replace the entry of term 2 (Figure 8 (d)).
    Source: §5.4.2
    """
    cluster = figure_8_c()
    cluster.restart(S1)
    cluster.time_out(S5)
    cluster.lose()
    cluster.elect(S5, S2, S3, S4)
    cluster.exchange(S5, S1, S2, S3, S4)
    assert [cluster.log_terms(i) for i in cluster.servers] == [[1, 3]] * 5


def test_entry_of_an_older_term_is_committed_below_one_of_the_leaders_own() -> None:
    """With an entry of term 4 on a majority, the older ones are committed too, and S5 cannot win
    (Figure 8 (e)). Source: §5.4.2
    """
    cluster = figure_8_c()
    cluster.request(S1, "four")
    cluster.deliver(AppendEntries, S1, S2)
    happened = cluster.exchange(S1, S2, S3)
    assert any(Index(3) in commits(effects) for _, effects in happened)
    cluster.restart(S1)
    cluster.lose()
    for _ in range(3):
        cluster.time_out(S5)
        cluster.exchange(S5, S1, S2, S3, S4)
    assert not cluster.leads(S5)


def test_entry_keeps_its_term_under_later_leaders() -> None:
    """A leader that replicates entries of older terms does not renumber them. Source: §5.4.2"""
    cluster = figure_8_c()
    original = cluster.servers[S2].log
    assert cluster.servers[S3].log == original


def test_stale_leader_may_lack_an_entry_of_an_older_term() -> None:
    """A leader of term 2 without the entry of term 1 that a leader of term 3 committed breaks no
    promise: Leader Completeness binds the leaders of terms after 3. Source: §5.4.3
    """
    cluster = Cluster()
    cluster.elect(S1, S2)
    cluster.request(S1, "x")
    cluster.lose()
    cluster.time_out(S3)
    cluster.elect(S3, S2)
    cluster.restart(S1)
    cluster.time_out(S1)
    cluster.elect(S1, S2)
    cluster.request(S1, "y")
    cluster.exchange(S1, S2)
    assert cluster.servers[S1].commit_index == 2
    assert cluster.leads(S3)
    assert cluster.log_terms(S3) == []
