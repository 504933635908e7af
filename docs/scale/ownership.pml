/* Who may write a partition: leases, epochs and batches.

   This is docs/scale/ownership.md as a model for spin (https://spinroot.com); `make model` checks it.
   It is bounded: WORKERS workers, PARTITIONS partitions with one execution each, 2 or 3 events, and FAULTS
   faults, each of any kind and at any moment. All orders in which these can do what they do are looked
   at. How events get to their worker is in delivery.pml, actions are in actions.pml.

   Time is left out. A lease runs out by itself where nobody who lives holds it. Where somebody does,
   that is a fault: he is late, which is to say paused, slow or cut off, and goes on where he was. */

#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef PARTITIONS
#define PARTITIONS 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#define KEEPERS (WORKERS * PARTITIONS)
#define SESSIONS (WORKERS + FAULTS)      /* one of each worker, and what faults may leave behind */

/* Events 0 and 1 are for the execution in partition 0, sent in this order; event 2 is for the one in
   partition 1. Sets of events are bits. */
#define EVENTS_OF(p) (p == 0 -> 3 : 4)
#if PARTITIONS == 1
#define ALL_EVENTS 3
#else
#define ALL_EVENTS 7
#endif
#define NO_ROW 15
#define TOUCH 14                         /* a change without a record, as that of a condition */

/* --- The database: the truth ------------------------------------------------------------------- */

byte epoch[PARTITIONS];                           /* of the partition's row: one more with each claim */
bool expired[PARTITIONS] = true;                  /* its expires_at has passed, by the clock of the database */
byte locks[PARTITIONS];                           /* transactions that hold its row FOR KEY SHARE */

byte accepted;                           /* events with a row in the inbox */
byte completed;                          /* those whose row is completed */
byte history[PARTITIONS];                         /* how many records the execution's history has */
byte last_sequence[PARTITIONS];                   /* the same as a column of the execution's row */
byte recorded[3];                        /* how many records there are of an event */

/* A transaction on its way through the server: it goes on there when its worker does not. */
mtype = { Idle, Begun, Locked, Ended };
typedef Session {
  mtype phase = Idle;
  bool orphan;                           /* nobody is at the other end */
  bool commit_sent;
  byte row[PARTITIONS] = NO_ROW;                  /* by partition: the event that it completes, TOUCH, NO_ROW */
  byte under[PARTITIONS];                         /* the epoch under which that is written */
  byte sequence[PARTITIONS];                      /* the sequence that it is written with */
  bool leased[PARTITIONS];                        /* the lease was found, and its row is locked */
  bool done[PARTITIONS]                           /* that part has been committed */
};
Session session[SESSIONS];

/* --- The workers: memory ----------------------------------------------------------------------- */

#define OF(w, p) (PARTITIONS * (w) + (p)) /* what worker w has of partition p: */
byte held[KEEPERS];                            /*   the epoch that it claimed; 0: none */
bool unsure[KEEPERS];                          /*   the outcome of a commit is unknown */
bool loaded[KEEPERS];                          /*   the execution is in memory, with */
byte at[KEEPERS];                              /*   the sequence of its last record, and */
byte open[KEEPERS];                            /*   the rows that are not completed, as far as it knows */

bool stopped[WORKERS];                   /* for ever: the process is gone, or its thread is blocked */
byte going = WORKERS;                    /* those that are not */

byte faults = FAULTS;                    /* that may still come */
#ifdef BATCHES_ONLY                      /* a smaller world, for more faults in it */
bool touched = true, released = true;
#else
bool touched, released;                  /* each may happen once */
#endif

#ifdef RENEWED_WHILE_BLOCKED
#define RENEWS(w) true
#else
#define RENEWS(w) (!stopped[w])
#endif
#define OWNS(w, p) (RENEWS(w) && held[OF(w, p)] != 0 && held[OF(w, p)] == epoch[p])
#if WORKERS == 2
#define OWNED(p) (OWNS(0, p) || OWNS(1, p))
#else
#define OWNED(p) (OWNS(0, p) || OWNS(1, p) || OWNS(2, p))
#endif

/* --- What must hold. Spin names what does not. --------------------------------------------------- */

hidden byte writer_is_the_owner;             /* nobody writes who has been replaced */
hidden byte event_is_recorded_once;
hidden byte events_are_recorded_in_order;
hidden byte sequences_have_no_gap;
hidden byte row_agrees_with_history;
hidden byte what_is_leased_is_not_refused;   /* a lost partition leaves the rest of its batch whole */
hidden byte every_event_is_recorded;         /* by the time when nothing more can happen */

/* --- The server -------------------------------------------------------------------------------- */

hidden byte e, p;                        /* of no meaning between two steps */
#define EACH_PARTITION p = 0; do :: p < PARTITIONS ->
#define END_EACH p++ :: else -> break od; p = 0

inline clear(s) {
  session[s].phase = Idle;
  session[s].orphan = false;
  session[s].commit_sent = false;
  EACH_PARTITION
    session[s].row[p] = NO_ROW;
    session[s].under[p] = 0;
    session[s].sequence[p] = 0;
    session[s].leased[p] = false;
    session[s].done[p] = false;
  END_EACH
}

inline unlock(s) {
  EACH_PARTITION
    if
    :: session[s].leased[p] -> locks[p]--
    :: else
    fi;
  END_EACH
}

#ifdef NO_EPOCH_CHECK
#define LEASE_FOUND(its_epoch) true
#else
#define LEASE_FOUND(its_epoch) (its_epoch == epoch[p])
#endif

/* SELECT ... WHERE partition = p AND owner = me AND epoch = e FOR KEY SHARE, for each of the batch. */
inline read_leases(s) {
  EACH_PARTITION
    session[s].leased[p] = (session[s].row[p] != NO_ROW && LEASE_FOUND(session[s].under[p]));
  END_EACH;
#ifdef ONE_LOST_FAILS_ALL
  if
  :: (session[s].row[0] != NO_ROW && !session[s].leased[0]) ||
     (session[s].row[1] != NO_ROW && !session[s].leased[1]) ->
     session[s].leased[0] = false; session[s].leased[1] = false
  :: else
  fi;
#endif
  EACH_PARTITION
    what_is_leased_is_not_refused = session[s].leased[p] || session[s].row[p] == NO_ROW ||
                                    session[s].under[p] != epoch[p];
    assert(what_is_leased_is_not_refused);
    if
    :: session[s].leased[p] -> locks[p]++
    :: else
    fi;
  END_EACH;
  session[s].phase = Locked
}

/* What the batch has for partition p. A second line behind the epochs: the row of the inbox must still be
   open, and (execution, sequence) is unique. Where that says no, this part writes nothing, and the rest is
   committed. LAST_SEQUENCE_COMPARED adds that the execution's row is as the batch was decided from. */
inline write_part(s) {
  e = session[s].row[p];
  session[s].done[p] = session[s].leased[p];
#ifndef NO_UNIQUE
  if
  :: e < TOUCH && (session[s].sequence[p] <= history[p] || (completed & (1 << e))) ->
     session[s].done[p] = false
  :: else
  fi;
#endif
#ifdef LAST_SEQUENCE_COMPARED
  if
  :: session[s].sequence[p] != last_sequence[p] + (e < TOUCH -> 1 : 0) -> session[s].done[p] = false
  :: else
  fi;
#endif
  if
  :: session[s].done[p] ->
#ifndef DAMAGE_ONLY
     writer_is_the_owner = (session[s].under[p] == epoch[p]);
     assert(writer_is_the_owner);
#endif
     if
     :: e < TOUCH ->
        recorded[e]++;
        event_is_recorded_once = (recorded[e] == 1);
        assert(event_is_recorded_once);
        sequences_have_no_gap = (session[s].sequence[p] == history[p] + 1);
        assert(sequences_have_no_gap);
        events_are_recorded_in_order = (e != 1 || recorded[0] == 1);
        assert(events_are_recorded_in_order);
        history[p]++;
        completed = completed | (1 << e)
     :: else
     fi;
     last_sequence[p] = session[s].sequence[p];
     row_agrees_with_history = (last_sequence[p] == history[p]);
     assert(row_agrees_with_history)
  :: else
  fi
}

/* One for each session. */
active [SESSIONS] proctype Server() {
end:
  do
  :: d_step { session[_pid].phase == Begun -> read_leases(_pid) }
  :: d_step {
       session[_pid].phase == Locked && session[_pid].commit_sent ->
       EACH_PARTITION
         write_part(_pid);
       END_EACH;
       unlock(_pid);
       if
       :: session[_pid].orphan -> clear(_pid)
       :: else -> session[_pid].phase = Ended
       fi
     }
#ifndef NO_IDLE_TIMEOUT
  /* A transaction that waits for a client which is not there is ended: by the server's time-out, or
     by whoever wants to claim. */
  :: d_step {
       session[_pid].phase == Locked && session[_pid].orphan && !session[_pid].commit_sent ->
       unlock(_pid);
       clear(_pid)
     }
#endif
  od
}

/* --- What a worker does for a partition: its lease, and its memory of it ------------------------- */

inline forget(i) {
  loaded[i] = false;
  at[i] = 0;
  open[i] = 0
}

#ifdef EPOCH_READ_WITHOUT_LOCK
#define MAY_CLAIM(p) true
#else
#define MAY_CLAIM(p) (locks[p] == 0)     /* FOR UPDATE waits for FOR KEY SHARE */
#endif

#define KEEPER (_pid - SESSIONS)         /* which is that of */
#define W (KEEPER / PARTITIONS)
#define P (KEEPER % PARTITIONS)
#define MINE held[OF(W, P)]

/* Workers are alike: that worker 1 were the first one shows nothing that its mirror image does not. */
#define IN_TURN (W == 0 || P == 1 || epoch[0] > 0 || stopped[0])

active [KEEPERS] proctype Keeper() {
end:
  do
  /* Claim. Whoever claims has nothing in memory, also where it had this partition before. */
  :: d_step {
       !stopped[W] && MINE == 0 && expired[P] && MAY_CLAIM(P) && IN_TURN ->
       epoch[P]++;
       expired[P] = false;
       MINE = epoch[P]
     }
  /* Renew: also late, so long as nobody else came. */
  :: d_step { !stopped[W] && MINE != 0 && MINE == epoch[P] && expired[P] -> expired[P] = false }
  /* Renew, and there is no such row: it is lost. */
  :: d_step { !stopped[W] && MINE != 0 && MINE != epoch[P] ->
       MINE = 0;
       unsure[OF(W, P)] = false;
       forget(OF(W, P))
     }
  /* After a commit with an unknown outcome: claim it anew, from oneself. That waits for what is still
     on its way through the server, and refuses what comes later. */
#if defined(SAME_EPOCH_AFTER_UNKNOWN)
  :: d_step { !stopped[W] && unsure[OF(W, P)] && MINE == epoch[P] -> unsure[OF(W, P)] = false }
#elif defined(WAIT_WITHOUT_NEW_EPOCH)
  :: d_step {
       !stopped[W] && unsure[OF(W, P)] && MINE == epoch[P] && MAY_CLAIM(P) -> unsure[OF(W, P)] = false
     }
#else
  :: d_step {
       !stopped[W] && unsure[OF(W, P)] && MINE == epoch[P] && MAY_CLAIM(P) ->
       epoch[P]++;
       expired[P] = false;
       MINE = epoch[P];
       unsure[OF(W, P)] = false
     }
#endif
  /* Load. A former owner, who does not know that he is one, does so too. */
  :: d_step {
       !stopped[W] && MINE != 0 && !loaded[OF(W, P)] && !unsure[OF(W, P)] ->
       loaded[OF(W, P)] = true;
       at[OF(W, P)] = history[P];
       open[OF(W, P)] = accepted & ~completed & EVENTS_OF(P)
     }
  /* Look at the rows that are open: a hint, or the sweep. */
  :: d_step {
       !stopped[W] && loaded[OF(W, P)] && session[W].phase == Idle &&
       (accepted & ~completed & EVENTS_OF(P) & ~open[OF(W, P)]) ->
       open[OF(W, P)] = open[OF(W, P)] | (accepted & ~completed & EVENTS_OF(P))
     }
  /* Release. */
  :: d_step {
       !stopped[W] && !released && MINE != 0 && MINE == epoch[P] && session[W].phase == Idle ->
       released = true;
       expired[P] = true;
       MINE = 0;
       unsure[OF(W, P)] = false;
       forget(OF(W, P))
     }
  od
}

/* --- What a worker does for all of them: batches; and what happens to it -------------------------- */

#undef W
#define W (_pid - SESSIONS - KEEPERS)
#define MY_SESSION session[W]

inline put(partition, what, its_sequence) {
  MY_SESSION.row[partition] = what;
  MY_SESSION.under[partition] = held[OF(W, partition)];
  MY_SESSION.sequence[partition] = its_sequence
}

/* The oldest open row of each execution that is loaded: one batch. */
inline put_what_is_open() {
  EACH_PARTITION
    if
    :: open[OF(W, p)] != 0 ->
       e = (open[OF(W, p)] & 1 -> 0 : (open[OF(W, p)] & 2 -> 1 : 2));
       put(p, e, at[OF(W, p)] + 1)
    :: else
    fi;
  END_EACH
}

/* The memory of a partition follows the outcome of its part, where it is still that of the same claim. */
inline follow_outcome(committed) {
  if
  :: MY_SESSION.row[p] == NO_ROW || MY_SESSION.under[p] != held[OF(W, p)] -> skip
  :: else ->
     if
     :: committed && MY_SESSION.row[p] < TOUCH ->
        at[OF(W, p)] = MY_SESSION.sequence[p];
        open[OF(W, p)] = open[OF(W, p)] & ~(1 << MY_SESSION.row[p])
     :: committed && MY_SESSION.row[p] == TOUCH -> skip
     :: else ->
        if
#ifndef REFUSED_READS_AGAIN
        :: !MY_SESSION.leased[p] -> held[OF(W, p)] = 0       /* it is lost */
#endif
        :: else                                              /* something else was not as expected */
        fi;
        forget(OF(W, p))
     fi
  fi
}

/* The session is left behind to the server, in another place of the array. It was cut off before COMMIT,
   or behind it. */
inline leave_session() {
  if
  :: MY_SESSION.phase == Begun || MY_SESSION.phase == Locked ->
     if
     :: MY_SESSION.commit_sent = true
     :: MY_SESSION.commit_sent = false
     fi;
     d_step {
       e = WORKERS;
       do
       :: session[e].phase != Idle -> e++
       :: else -> break
       od;
       session[e].phase = MY_SESSION.phase;
       session[e].orphan = true;
       session[e].commit_sent = MY_SESSION.commit_sent;
       EACH_PARTITION
         session[e].row[p] = MY_SESSION.row[p];
         session[e].under[p] = MY_SESSION.under[p];
         session[e].sequence[p] = MY_SESSION.sequence[p];
         session[e].leased[p] = MY_SESSION.leased[p];
       END_EACH;
       e = 0
     }
  :: else
  fi;
  d_step { clear(W) }
}

/* All is in the pipe at once: leases, writes, COMMIT. */
inline send() {
  MY_SESSION.commit_sent = true;
  MY_SESSION.phase = Begun
}

active [WORKERS] proctype Worker() {
end:
  do
  :: d_step {
       !stopped[W] && MY_SESSION.phase == Idle && (open[OF(W, 0)] != 0 || open[OF(W, PARTITIONS - 1)] != 0) ->
       put_what_is_open();
       send()
     }
  :: d_step {
       !stopped[W] && MY_SESSION.phase == Idle && !touched && loaded[OF(W, 0)] && at[OF(W, 0)] > 0 ->
       touched = true;
       put(0, TOUCH, at[OF(W, 0)]);
       send()
     }
  :: d_step {
       !stopped[W] && MY_SESSION.phase == Ended ->
       EACH_PARTITION
         follow_outcome(MY_SESSION.done[p]);
       END_EACH;
       clear(W)
     }

  /* Faults. The connection is cut in a transaction: its outcome is unknown. */
  :: atomic {
       !stopped[W] && faults > 0 && MY_SESSION.phase != Idle ->
       faults--;
       EACH_PARTITION
#if defined(GUESS_UNKNOWN_AS_FAILED)
         skip;
#elif defined(GUESS_UNKNOWN_AS_DONE)
         follow_outcome(true);
#else
         if
         :: MY_SESSION.row[p] != NO_ROW && MY_SESSION.under[p] == held[OF(W, p)] ->
            unsure[OF(W, p)] = true;
            forget(OF(W, p))
         :: else
         fi;
#endif
       END_EACH;
       leave_session()
     }
  /* A crash: what was in memory is gone. It begins anew, as somebody else. */
  :: atomic {
       !stopped[W] && faults > 0 && (held[OF(W, 0)] != 0 || held[OF(W, PARTITIONS - 1)] != 0) ->
       faults--;
       EACH_PARTITION
         held[OF(W, p)] = 0;
         unsure[OF(W, p)] = false;
         forget(OF(W, p));
       END_EACH;
       leave_session()
     }
  /* It stops for ever, which the server does not hear of. */
  :: atomic {
       !stopped[W] && faults > 0 && going > 1 ->
       faults--;
       going--;
       stopped[W] = true;
       leave_session()
     }
  od
}

/* --- Everybody else ----------------------------------------------------------------------------- */

/* Leases run out: by themselves where nobody renews them; else somebody is late. */
active [PARTITIONS] proctype Clock() {
#define C (_pid - SESSIONS - KEEPERS - WORKERS)
end:
  do
  :: d_step { !expired[C] && !OWNED(C) -> expired[C] = true }
  :: d_step { !expired[C] && faults > 0 && OWNED(C) -> faults--; expired[C] = true }
  od
}

/* Each event is sent when the one before it has been acknowledged. */
active proctype Producer() {
  accepted = 1;
#if PARTITIONS == 2
  accepted = 1 + 4;
#endif
  accepted = ALL_EVENTS
}

active proctype Verdict() {
end:
  timeout ->
  every_event_is_recorded = (completed == ALL_EVENTS);
  assert(every_event_is_recorded)
}

/* The same as Verdict, of all that may go on for ever. Faults are finite, and nobody has to be fair. */
ltl delivered { <> (completed == ALL_EVENTS) }
