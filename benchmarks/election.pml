/*
 * Elections of Raft without logs: what election.py says, for SPIN.
 *
 *     spin -a -DSERVERS=3 -DTERMS=2 election.pml
 *
 * Every variable has as few bits as it needs, every step is one d_step, and a step that would
 * change nothing is not enabled, unless with -DEVERY_STEP. The macros at the end spell out servers
 * and terms.
 */

#ifdef EVERY_STEP
#define IF_CHANGING(guard) true
#else
#define IF_CHANGING(guard) (guard)
#endif

#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2
#define NOBODY SERVERS

/* One server. Only candidates keep votes, as a set of servers. */
#define SERVER(p) \
	unsigned current_term_##p : 2; \
	unsigned role_##p : 2; \
	unsigned voted_for_##p : 2 = NOBODY; \
	unsigned votes_##p : SERVERS;

/* What q has sent to p: of each kind of message, the set of its terms. */
#define CHANNEL(q, p) \
	unsigned request_##q##_##p : TERMS; \
	unsigned granted_##q##_##p : TERMS; \
	unsigned denied_##q##_##p : TERMS;

#define BIT(t) (1 << ((t) - 1))
#define ADD(set, element) set = set | element

#define ELECTION_TIMEOUT(p) \
	:: d_step { role_##p != LEADER && current_term_##p < TERMS -> \
		current_term_##p++; \
		role_##p = CANDIDATE; \
		voted_for_##p = p; \
		votes_##p = 1 << p; \
		REQUEST_VOTES_##p }
#define REQUEST_VOTE(q, p) ADD(request_##q##_##p, BIT(current_term_##q))

#define RESTART(p) \
	:: d_step { IF_CHANGING(role_##p != FOLLOWER) -> role_##p = FOLLOWER; votes_##p = 0 }

/* A request of q in term t reaches p: it is granted, or it is denied. */
#define ON_REQUEST_VOTE(q, p, t) \
	:: d_step { (request_##q##_##p & BIT(t)) && (current_term_##p < t || \
			current_term_##p == t && (voted_for_##p == NOBODY || voted_for_##p == q && \
			IF_CHANGING(!(granted_##p##_##q & BIT(t))))) -> \
		UPDATE_TERM(p, t); \
		voted_for_##p = q; \
		ADD(granted_##p##_##q, BIT(t)) } \
	:: d_step { (request_##q##_##p & BIT(t)) && (current_term_##p > t || \
			current_term_##p == t && voted_for_##p != NOBODY && voted_for_##p != q) && \
			IF_CHANGING(!(denied_##p##_##q & BIT(current_term_##p))) -> \
		ADD(denied_##p##_##q, BIT(current_term_##p)) }

#define UPDATE_TERM(p, t) \
	if \
	:: current_term_##p < t -> \
		current_term_##p = t; voted_for_##p = NOBODY; role_##p = FOLLOWER; votes_##p = 0 \
	:: else \
	fi

/* An answer of q in term t reaches p: a denial may have a newer term, a vote may be the last. */
#define ON_DENIED(q, p, t) \
	:: d_step { (denied_##q##_##p & BIT(t)) && IF_CHANGING(current_term_##p < t) -> \
		UPDATE_TERM(p, t) }

#define ON_GRANTED(q, p, t) \
	:: d_step { (granted_##q##_##p & BIT(t)) && IF_CHANGING(current_term_##p < t || \
			current_term_##p == t && role_##p == CANDIDATE && !(votes_##p & (1 << q))) -> \
		UPDATE_TERM(p, t); \
		if \
		:: current_term_##p == t && role_##p == CANDIDATE -> \
			ADD(votes_##p, 1 << q); \
			if \
			:: 2 * COUNT(votes_##p) > SERVERS -> \
				role_##p = LEADER; \
				votes_##p = 0; \
				assert(LEADERS(t) == 1) /* Election Safety */ \
			:: else \
			fi \
		:: else \
		fi }

#define LEADS(p, t) (role_##p == LEADER && current_term_##p == t)

#if SERVERS == 2
#define EACH_SERVER(X) X(0) X(1)
#define EACH_CHANNEL(X) X(0, 1) X(1, 0)
#define EACH_CHANNEL_IN(X, t) X(0, 1, t) X(1, 0, t)
#define REQUEST_VOTES_0 REQUEST_VOTE(0, 1)
#define REQUEST_VOTES_1 REQUEST_VOTE(1, 0)
#define COUNT(set) ((set & 1) + (set >> 1 & 1))
#define LEADERS(t) (LEADS(0, t) + LEADS(1, t))
#elif SERVERS == 3
#define EACH_SERVER(X) X(0) X(1) X(2)
#define EACH_CHANNEL(X) X(0, 1) X(0, 2) X(1, 0) X(1, 2) X(2, 0) X(2, 1)
#define EACH_CHANNEL_IN(X, t) \
	X(0, 1, t) X(0, 2, t) X(1, 0, t) X(1, 2, t) X(2, 0, t) X(2, 1, t)
#define REQUEST_VOTES_0 REQUEST_VOTE(0, 1); REQUEST_VOTE(0, 2)
#define REQUEST_VOTES_1 REQUEST_VOTE(1, 0); REQUEST_VOTE(1, 2)
#define REQUEST_VOTES_2 REQUEST_VOTE(2, 0); REQUEST_VOTE(2, 1)
#define COUNT(set) ((set & 1) + (set >> 1 & 1) + (set >> 2 & 1))
#define LEADERS(t) (LEADS(0, t) + LEADS(1, t) + LEADS(2, t))
#else
#error "SERVERS must be 2 or 3"
#endif

#if TERMS == 1
#define EACH_CHANNEL_AND_TERM(X) EACH_CHANNEL_IN(X, 1)
#elif TERMS == 2
#define EACH_CHANNEL_AND_TERM(X) EACH_CHANNEL_IN(X, 1) EACH_CHANNEL_IN(X, 2)
#elif TERMS == 3
#define EACH_CHANNEL_AND_TERM(X) \
	EACH_CHANNEL_IN(X, 1) EACH_CHANNEL_IN(X, 2) EACH_CHANNEL_IN(X, 3)
#else
#error "TERMS must be 1, 2 or 3"
#endif

EACH_SERVER(SERVER)
EACH_CHANNEL(CHANNEL)

active proctype cluster()
{
end:	do
	EACH_SERVER(ELECTION_TIMEOUT)
	EACH_SERVER(RESTART)
	EACH_CHANNEL_AND_TERM(ON_REQUEST_VOTE)
	EACH_CHANNEL_AND_TERM(ON_DENIED)
	EACH_CHANNEL_AND_TERM(ON_GRANTED)
	od
}
