/* What runs twice, and what is done once: simple actions and database actions under leases.

   This is docs/scale/ownership.md as a model for spin; `make model` checks it. It is bounded: 2 workers,
   one execution that schedules one action of each kind, and FAULTS faults, each of any kind and at any
   moment.

   That a batch of an owner is committed under its epoch or refused is shown in ownership.pml: it is one
   step here. After an unknown outcome the lease is given up, and claimed anew by whoever comes. */

#ifndef FAULTS
#define FAULTS 2
#endif
#define WORKERS 2
#define SESSIONS (WORKERS + FAULTS + 1)  /* one of each worker, and what may be left behind */

/* --- The database: the truth ------------------------------------------------------------------- */

byte epoch;                              /* the partition's row, as in ownership.pml */
bool expired = true;
byte locks;

mtype = { None, Done, GivenUp };         /* given up: it ran out of time, or its execution has ended */
bool scheduled;                          /* the history: both actions are scheduled */
bool simple_recorded;                    /*   the simple one's result */
mtype database_recorded = None;          /*   the outcome of the database action */
mtype row = None;                        /* that action's row of results: one for its key */
byte inserting = 255;                    /* the session that has inserted it and has not committed yet */
byte effects;                            /* how often what the action writes is there */

/* The transaction of a database action. It goes on in the server when its worker does not. */
mtype = { Idle, Begun, Leased, Inserted, Ended };
typedef Session {
  mtype phase = Idle;
  bool orphan;                           /* nobody is at the other end */
  bool commit_sent;
  byte under;                            /* the epoch of the owner that began it */
  bool refused                           /* that is not the epoch any more */
};
Session session[SESSIONS];

/* --- The world: what a simple action does there cannot be taken back ------------------------------ */

bool ran;

/* --- The workers: memory ----------------------------------------------------------------------- */

mtype = { Running, Returned };
byte held[WORKERS];                      /* the epoch that it claimed; 0: none */
bool loaded[WORKERS];
bool knows_scheduled[WORKERS], knows_simple[WORKERS];
mtype knows_row[WORKERS] = None;         /* an outcome of the database action, not in the history yet */
mtype attempt[WORKERS] = None;           /* at the simple action, which */
byte attempt_under[WORKERS];             /*   was begun under that epoch */
bool stopped[WORKERS];

byte faults = FAULTS;
#ifdef RESULT_APART
bool gave_up = true;                     /* does not happen there, where the harm is another one */
#else
bool gave_up;                            /* happens once at most */
#endif

#define OWNS(w) (!stopped[w] && held[w] != 0 && held[w] == epoch)

/* --- What must hold. Spin names what does not. --------------------------------------------------- */

hidden byte writer_is_the_owner;
hidden byte action_runs_behind_its_record;
hidden byte result_is_recorded_once;
hidden byte effect_is_written_once;
hidden byte effect_comes_before_its_outcome; /* nothing is written when the history says it was given up */
hidden byte history_follows_row;
hidden byte effect_and_history_agree;
hidden byte every_outcome_is_recorded;       /* by the time when nothing more can happen */
#define ALL_RECORDED (simple_recorded && database_recorded != None)

/* --- The server: transactions of database actions -------------------------------------------------- */

hidden byte e;                           /* of no meaning between two steps */

#ifdef ACTION_WITHOUT_LEASE
#define LOCK skip
#define UNLOCK skip
#define LEASE_FOUND true
#else
#define LOCK locks++
#define UNLOCK locks--
#define LEASE_FOUND (session[_pid].under == epoch)
#endif

inline clear(s) {
  session[s].phase = Idle;
  session[s].orphan = false;
  session[s].commit_sent = false;
  session[s].under = 0;
  session[s].refused = false
}

inline end_transaction(s) {
  if
  :: session[s].phase == Leased || session[s].phase == Inserted -> UNLOCK
  :: else
  fi;
  if
  :: inserting == s -> inserting = 255
  :: else
  fi;
  if
  :: session[s].orphan -> clear(s)
  :: else -> session[s].phase = Ended
  fi
}

active [SESSIONS] proctype Server() {
end:
  do
  /* First the lease, FOR KEY SHARE: where it is another one's, nothing is done. */
  :: d_step {
       session[_pid].phase == Begun ->
       if
       :: LEASE_FOUND -> LOCK; session[_pid].phase = Leased
       :: else -> session[_pid].refused = true; end_transaction(_pid)
       fi
     }
  /* Then the row: that waits while another transaction has inserted it and has not ended. Where it
     is there, this attempt is over, and its outcome is that of the row. */
#ifndef RESULT_APART
  :: d_step {
       session[_pid].phase == Leased && inserting == 255 ->
       if
       :: row == None -> inserting = _pid; session[_pid].phase = Inserted
       :: else -> end_transaction(_pid)
       fi
     }
#else
  :: d_step { session[_pid].phase == Leased -> session[_pid].phase = Inserted }
#endif
  /* Then what the handler writes, and COMMIT. */
  :: d_step {
       session[_pid].phase == Inserted && session[_pid].commit_sent ->
#ifndef DAMAGE_ONLY
       writer_is_the_owner = (session[_pid].under == epoch);
       assert(writer_is_the_owner);
#endif
       effects++;
       effect_is_written_once = (effects == 1);
       assert(effect_is_written_once);
       effect_comes_before_its_outcome = (database_recorded == None);
       assert(effect_comes_before_its_outcome);
#ifndef RESULT_APART
       row = Done;
#endif
       end_transaction(_pid)
     }
  /* A handler that is gone does not commit: the server's time-out, or who wants to claim, ends it. */
  :: d_step {
       session[_pid].phase == Inserted && session[_pid].orphan && !session[_pid].commit_sent ->
       end_transaction(_pid)
     }
  od
}

/* --- Workers ----------------------------------------------------------------------------------- */

#define W (_pid - SESSIONS)

inline forget() {
  loaded[W] = false;
  knows_scheduled[W] = false;
  knows_simple[W] = false;
  knows_row[W] = None
}

inline lose() {                          /* the lease; handlers that run go on */
  held[W] = 0;
  forget()
}

/* Leaves its transaction to the server, in another place of the array. */
inline leave_session() {
  if
  :: session[W].phase == Begun || session[W].phase == Leased || session[W].phase == Inserted ->
     if
     :: session[W].commit_sent
     :: !session[W].commit_sent -> session[W].commit_sent = true
     :: !session[W].commit_sent
     fi;
     d_step {
       e = WORKERS;
       do
       :: session[e].phase != Idle -> e++
       :: else -> break
       od;
       session[e].phase = session[W].phase;
       session[e].orphan = true;
       session[e].commit_sent = session[W].commit_sent;
       session[e].under = session[W].under;
       if
       :: inserting == W -> inserting = e
       :: else
       fi;
       e = 0
     }
  :: else
  fi;
  d_step { clear(W) }
}

/* Around a batch: it is committed under the epoch or refused, or its outcome is unknown. */
#ifdef NO_EPOCH_CHECK
#define FENCE true
#else
#define FENCE (held[W] == epoch)
#endif
#ifdef DAMAGE_ONLY
#define WRITES skip
#else
#define WRITES writer_is_the_owner = (held[W] == epoch); assert(writer_is_the_owner)
#endif
#define HAS loaded[W] && !stopped[W] && held[W] != 0
#define UNKNOWN_AFTER(writes) faults > 0 -> faults--; \
  if :: FENCE -> if :: writes :: true fi :: else fi; \
  if :: held[W] == epoch -> expired = true :: else fi; lose()

inline record_schedule() { WRITES; scheduled = true }

inline record_simple() {
  WRITES;
  result_is_recorded_once = (ran && !simple_recorded);
  assert(result_is_recorded_once);
  simple_recorded = true
}

/* What becomes of the database action is in its row first; the history follows. */
inline record_database(outcome) {
  WRITES;
  result_is_recorded_once = (database_recorded == None);
  assert(result_is_recorded_once);
#ifdef RESULT_APART
  row = outcome;
#endif
  database_recorded = outcome;
  history_follows_row = (database_recorded == row);
  assert(history_follows_row)
}

/* It ran out of time, or its execution ends: whoever says so inserts the row too. */
inline record_given_up() {
#ifndef GIVE_UP_WITHOUT_ROW
  row = GivenUp;
#endif
  WRITES;
  database_recorded = GivenUp
}

inline run_simple() {
  action_runs_behind_its_record = scheduled;
  assert(action_runs_behind_its_record);
  ran = true;
  attempt[W] = Running;
  attempt_under[W] = held[W]
}

#ifdef RESULT_APART
#define OUTCOME Done
#else
#define OUTCOME row
#endif
#ifdef GIVE_UP_WITHOUT_ROW
#define GIVES_UP_BLINDLY true
#else
#define GIVES_UP_BLINDLY false
#endif

#define MAY_GIVE_UP (database_recorded == None && (row == None || GIVES_UP_BLINDLY))
#define MAY_RECORD_SIMPLE (HAS && attempt[W] == Returned && attempt_under[W] == held[W] && !knows_simple[W])

active [WORKERS] proctype Worker() {
end:
  do
  /* The lease. */
  :: d_step {
       !stopped[W] && held[W] == 0 && expired && locks == 0 && (W == 0 || epoch > 0 || stopped[0]) ->
       epoch++;
       expired = false;
       held[W] = epoch
     }
  :: d_step { OWNS(W) && expired -> expired = false }
  :: d_step { !stopped[W] && held[W] != 0 && held[W] != epoch -> lose() }
  :: d_step {
       !stopped[W] && held[W] != 0 && !loaded[W] ->
       loaded[W] = true;
       knows_scheduled[W] = scheduled;
       knows_simple[W] = simple_recorded;
       knows_row[W] = row
     }

  /* Both actions are scheduled: they may begin when that is committed. */
  :: atomic {
       HAS && !knows_scheduled[W] ->
#ifdef START_BEFORE_COMMIT
       run_simple();
#endif
       if
       :: FENCE -> record_schedule(); knows_scheduled[W] = true
       :: !FENCE -> lose()
       :: UNKNOWN_AFTER(record_schedule())
       fi
     }

  /* The simple action: it runs in the world, and returns whenever it likes. */
  :: atomic {
       HAS && knows_scheduled[W] && !knows_simple[W] &&
       (attempt[W] == None || attempt_under[W] != held[W]) ->
       run_simple()
     }
  :: d_step { !stopped[W] && attempt[W] == Running -> attempt[W] = Returned }
  :: atomic {
       MAY_RECORD_SIMPLE ->
       if
       :: FENCE -> record_simple(); knows_simple[W] = true; attempt[W] = None; attempt_under[W] = 0
       :: !FENCE -> lose()
       :: UNKNOWN_AFTER(record_simple())
       fi
     }

  /* The database action. */
  :: d_step {
       HAS && knows_scheduled[W] && knows_row[W] == None && session[W].phase == Idle ->
       session[W].under = held[W];
       session[W].phase = Begun
     }
  :: d_step {
       !stopped[W] && session[W].phase == Inserted && !session[W].commit_sent ->
       session[W].commit_sent = true
     }
  :: d_step {                            /* its outcome is that of the row, if there is one */
       !stopped[W] && session[W].phase == Ended ->
       if
       :: session[W].refused && session[W].under == held[W] -> lose()
       :: !session[W].refused && session[W].under == held[W] && loaded[W] && knows_row[W] == None ->
          knows_row[W] = OUTCOME
       :: else
       fi;
       clear(W)
     }
  :: atomic {
       HAS && knows_row[W] != None && database_recorded == None ->
       if
       :: FENCE -> record_database(knows_row[W])
       :: !FENCE -> lose()
       :: UNKNOWN_AFTER(record_database(knows_row[W]))
       fi
     }
  /* The owner gives it up. What it has under way there it breaks off, for what that is worth. A row
     that is there refuses this; one that is not committed yet makes it wait. */
  :: atomic {
       HAS && !gave_up && knows_scheduled[W] && knows_row[W] == None && database_recorded == None ->
       gave_up = true;
       leave_session()
     };
     atomic {
       inserting == 255 || GIVES_UP_BLINDLY || stopped[W] ->
       if
       :: HAS && FENCE && MAY_GIVE_UP ->
          record_given_up();
          knows_row[W] = GivenUp
       :: HAS && FENCE && MAY_GIVE_UP && faults > 0 ->
          faults--;
          record_given_up();             /* and nobody hears of it */
          expired = true;
          lose()
       :: else -> forget()
       fi
     }

  /* Faults: the connection of the database action is cut; */
  :: atomic {
       !stopped[W] && faults > 0 && session[W].phase != Idle ->
       faults--;
       leave_session()
     }
  /* a crash; */
  :: atomic {
       !stopped[W] && faults > 0 && held[W] != 0 ->
       faults--;
       lose();
       attempt[W] = None;
       attempt_under[W] = 0;
       leave_session()
     }
  /* an end for ever; */
  :: atomic {
       !stopped[W] && faults > 0 && !stopped[1 - W] ->
       faults--;
       stopped[W] = true;
       leave_session()
     }
  od
}

/* and a lease that runs out where its owner is late. Where there is none, it just does. */
active proctype Clock() {
end:
  do
  :: d_step { !expired && !OWNS(0) && !OWNS(1) -> expired = true }
  :: d_step { !expired && faults > 0 && (OWNS(0) || OWNS(1)) -> faults--; expired = true }
  od
}

active proctype Verdict() {
end:
  timeout ->
  every_outcome_is_recorded = ALL_RECORDED;
  assert(every_outcome_is_recorded);
  effect_and_history_agree = (effects == (database_recorded == Done));
  assert(effect_and_history_agree)
}

/* The same as Verdict, of all that may go on for ever. Faults are finite, and nobody has to be fair. */
ltl recorded { <> ALL_RECORDED }
