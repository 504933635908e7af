/* How an event gets to its execution, and its answer to whoever waits: rows are the truth, hints are not.

   This is docs/scale/ownership.md as a model for spin; `make model` checks it. It is bounded: one
   execution, two producers who send three events, and FAULTS faults, each of any kind and at any moment.

   That a partition has one writer is shown in ownership.pml, and taken from there: the owner is one
   process here, and another one that takes over is the same process with nothing in memory. */

#ifndef FAULTS
#define FAULTS 2
#endif

/* Events 0 and 1 are sent by one producer, 1 after 0 was acknowledged. Event 2 is sent by another one, who
   waits for its answer. */
/* A world in which hints are all there is, and none is lost: what acknowledging them late is good for. */
#ifdef HINTS_ALONE
#define NO_SWEEP
#define ROWS_TO_LOAD 0
#else
#define ROWS_TO_LOAD open
#endif

#define EVENTS 3
#define ROWS (EVENTS + FAULTS)           /* a fault may use up an id */
#define NOTHING 15
#define BIT(row) (1 << (row))

/* --- The database: the truth ------------------------------------------------------------------- */

/* Rows of the inbox, by id. An id is drawn when the row is inserted, and the row is there when that is
   committed: a smaller id may come later. Sets of rows are bits. */
byte next_id;
byte event_of[ROWS] = NOTHING;
byte uncommitted, open, completed;
byte answer[ROWS];                       /* of those that are completed */
byte recorded[EVENTS];                   /* records of that event in the history */

/* --- Redis: hints, which may be lost, late, doubled and in any order ------------------------------- */

byte hints;                              /* rows that somebody should look at */
byte published;                          /* the answer that the submitter is told of; 0: none */

/* --- The owner's memory ------------------------------------------------------------------------ */

bool loaded;
byte todo;                               /* rows that it knows of and has not completed */
byte seen;                               /* what a look at the inbox found, on its way to the execution */
byte mark;                               /* behind the largest id that it has seen; of one variant */

byte faults = FAULTS;
byte acknowledged;                       /* events */
byte told;                               /* what the submitter was told; 0: nothing yet */

/* --- What must hold. Spin names what does not. --------------------------------------------------- */

hidden byte event_is_recorded_once;
hidden byte events_are_recorded_in_order;    /* of one sender, who waits for each to be acknowledged */
hidden byte answer_told_is_that_of_the_row;
hidden byte every_event_is_recorded;         /* by the time when nothing more can happen */
hidden byte submitter_is_told;
#define ALL_DONE (acknowledged == 7 && completed != 0 && open == 0 && told != 0)

/* --- Producers --------------------------------------------------------------------------------- */

hidden byte i, n;                        /* of no meaning between two steps */

inline find(event, among) {              /* the row of that event, or NOTHING */
  n = NOTHING;
  i = 0;
  do
  :: i < next_id ->
     if
     :: event_of[i] == event && ((among) & BIT(i)) -> n = i
     :: else
     fi;
     i++
  :: else -> break
  od;
  i = 0
}

#ifdef HINTS_ALONE
#define HINT(row) hints = hints | BIT(row)
#else
#define HINT(row) if :: hints = hints | BIT(row) :: true fi
#endif

/* One transaction inserts the row, with a unique key. Its producer repeats it until it has the answer,
   under the same key: that waits for a row of this key that is not committed yet, and finds one that
   is. When he was told of the commit, he publishes a hint. */
inline enqueue(event) {
  do
  :: d_step {
       next_id < ROWS ->
#ifndef NO_KEY
       find(event, uncommitted | open | completed);
       if
       :: n == NOTHING ->
#endif
          event_of[next_id] = event;
          uncommitted = uncommitted | BIT(next_id);
          mine = next_id;
          next_id++;
#ifndef NO_KEY
       :: else -> mine = n
       fi;
#endif
       n = 0
     };
     if
     :: atomic {                         /* COMMIT, or it was there */
          uncommitted = uncommitted & ~BIT(mine);
          if
          :: !(completed & BIT(mine)) -> open = open | BIT(mine)
          :: else
          fi;
          HINT(mine);
          acknowledged = acknowledged | BIT(event)
        };
        break
     :: atomic {                         /* COMMIT, and the answer is lost */
          faults > 0 ->
          faults--;
          uncommitted = uncommitted & ~BIT(mine);
          if
          :: !(completed & BIT(mine)) -> open = open | BIT(mine)
          :: else
          fi
        }
     :: atomic {                         /* rolled back: the id is used up */
          faults > 0 && (uncommitted & BIT(mine)) ->
          faults--;
          uncommitted = uncommitted & ~BIT(mine)
        }
     fi
  od
}

active proctype Producer() {
  byte mine;
  enqueue(0);
  enqueue(1)
}

/* He is told by what is published, which may be lost, and looks at the row now and then. */
active proctype Submitter() {
  byte mine;
  enqueue(2);
end:
  if
  :: d_step { published != 0 -> told = published }
#ifndef NO_POLL
  :: d_step { completed & BIT(mine) -> told = answer[mine] }
#endif
  fi;
  d_step {
    answer_told_is_that_of_the_row = ((completed & BIT(mine)) && told == answer[mine]);
    assert(answer_told_is_that_of_the_row)
  }
}

/* --- The owner --------------------------------------------------------------------------------- */

#if defined(SWEEP_BY_ID)                 /* what has come behind the last id that was seen */
#define READ (open & ~(BIT(mark) - 1))
inline note_mark(rows) {
  do
  :: (rows) >= BIT(mark) -> mark++
  :: else -> break
  od;
  i = 0
}
#else                                    /* all rows that are open */
#define READ open
#define note_mark(rows) skip
#endif


inline forget() {
  loaded = false; todo = 0; seen = 0; mark = 0
}

inline commit() {
  i = event_of[row];
  recorded[i]++;
  event_is_recorded_once = (recorded[i] == 1);
  assert(event_is_recorded_once);
  events_are_recorded_in_order = (i != 1 || recorded[0] == 1);
  assert(events_are_recorded_in_order);
  i = 0;
  open = open & ~BIT(row);
  completed = completed | BIT(row);
  answer[row] = its_answer
}

#define PUBLISH(row) if :: event_of[row] == 2 -> if :: published = its_answer :: true fi :: else fi

active proctype Owner() {
  byte row = NOTHING, its_answer;
end:
  do
  :: d_step { !loaded -> loaded = true; todo = ROWS_TO_LOAD; note_mark(open) }

  /* A look at the inbox, of two steps: by the time when the shard hears of it, it may be out of date.
     A hint leads to it, */
  :: d_step {
       loaded && seen == 0 && (hints & open & ~todo) ->
#ifdef HINT_NAMES_ROW
       seen = hints & open & ~todo;
#else
       seen = READ;
#endif
       note_mark(seen);
#ifdef ACK_BEFORE_COMMIT
       hints = 0
#endif
     }
#ifndef NO_SWEEP
  /* and so does the sweep, from time to time. */
  :: d_step { loaded && seen == 0 && (READ & ~todo) -> seen = READ; note_mark(seen) }
#endif
  :: d_step { seen != 0 -> todo = todo | seen; seen = 0 }

  /* A hint of a row that is completed is done with. */
  :: d_step { hints & completed -> hints = hints & ~completed }

  /* The oldest row that it knows of is decided, committed, and answered. */
  :: atomic {
       todo != 0 ->
       row = 0;
       do
       :: !(todo & BIT(row)) -> row++
       :: else -> break
       od;
       its_answer = 1 + FAULTS - faults; /* after a fault it may well be another one */
#ifdef ANSWER_BEFORE_COMMIT
       PUBLISH(row);
#endif
     };
     if
     :: atomic {
          if
#ifndef COMPLETE_BLINDLY
          :: !(open & BIT(row)) -> forget() /* the row is not as expected: nothing is written */
#endif
          :: else -> commit();
#ifndef ANSWER_BEFORE_COMMIT
             PUBLISH(row);
#endif
             todo = todo & ~BIT(row)
          fi
        }
     /* Unknown outcome, or a crash or a new owner around the commit: it was committed, or not. */
     :: atomic {
          faults > 0 ->
          faults--;
          if
          :: open & BIT(row) -> commit()
          :: true
          fi;
          forget()
        }
     fi;
     d_step { row = NOTHING; its_answer = 0 }

  /* A crash, or a new owner, at any other moment. */
  :: d_step { faults > 0 && loaded -> faults--; forget() }
  od
}

active proctype Verdict() {
end:
  timeout ->
  every_event_is_recorded = (acknowledged == 7 && open == 0 && recorded[0] && recorded[1] && recorded[2]);
  assert(every_event_is_recorded);
  submitter_is_told = (told != 0);
  assert(submitter_is_told)
}

/* The same as Verdict, of all that may go on for ever. Faults are finite, and nobody has to be fair. */
ltl delivered { <> ALL_DONE }
