#pragma once

// The port to what wakes other processes. What it carries are hints: the rows of the store are the truth, and a
// sweep finds what no hint told of, only later. So hints may be lost, doubled, late and out of order, and a bus
// that is down costs nothing but time.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "model/execution_record.h"

namespace pawl {

// "There is something in the inbox for this execution." Names no row: whoever owns the execution reads all that
// are open, in their order.
struct Hint {
  int partition = 0;
  std::string tenant;
  std::string execution_id;
};

// By which a hint that has come is acknowledged. 0: it needs none.
using HintReceipt = std::uint64_t;

struct HintReceived {
  Hint hint;
  HintReceipt receipt = 0;
};

// What became of a row, for whoever put it into the inbox and waits. The row has it too.
struct AnswerHint {
  std::string worker;  // that waits
  InboxId row = 0;
  std::string answer;  // as in the row
};

// Of what ended one worker after the other, for people: its row is failed. That row is the truth, see DeadLetter.
struct DeadLetterNote {
  int partition = 0;
  InboxId row = 0;
  std::string tenant;
  std::string execution_id;
  std::string event_name;
  int attempts = 0;
  std::string error;
};

// Called on a thread of the bus; must only post.
class HintSink {
 public:
  virtual ~HintSink() = default;
  virtual void hints_arrived(std::vector<HintReceived> hints) = 0;
  virtual void answers_arrived(std::vector<AnswerHint> answers) = 0;
  // Something may have been missed: the bus was away, or was emptied. Whoever serves partitions looks himself.
  virtual void hints_missed() = 0;
};

// Since the bus was opened.
struct HintBusCounters {
  std::uint64_t published = 0;     // hints that the server has taken
  std::uint64_t dropped = 0;       // hints, answers and dead letters that it has not
  std::uint64_t received = 0;      // hints that were handed to the sink
  std::uint64_t acknowledged = 0;  // hints whose acknowledgement the server has taken
  std::uint64_t reconnects = 0;
  std::string trouble;  // why it does not work now; empty: it does. No password is in it
};

// Hints that wait to be published; more are dropped, and the sweep has their rows.
inline constexpr std::size_t kHintsQueuedMax = 65'536;

// Any thread, and none of it waits for a server.
class HintBus {
 public:
  virtual ~HintBus() = default;

  // Takes the sink for all that comes later. Once.
  virtual void start(HintSink& sink) = 0;
  // Hints of these partitions come here from now on, and of no others: those that this worker owns. What was
  // handed to a former owner and never acknowledged comes too.
  virtual void serve(std::vector<int> partitions) = 0;
  virtual void publish(std::vector<Hint> hints) = 0;
  virtual void publish_answers(std::vector<AnswerHint> answers) = 0;
  virtual void publish_dead(DeadLetterNote letter) = 0;
  // What came of them is committed.
  virtual void acknowledge(std::vector<HintReceipt> receipts) = 0;
  virtual HintBusCounters counters() const { return {}; }
  // Gives what is queued a moment to go out, then stops; the sink is called no more. Idempotent.
  virtual void close() = 0;
};

}  // namespace pawl
