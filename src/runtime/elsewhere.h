#pragma once

// Calls for executions that other workers own: each is a row in the inbox, and the answer comes back by the bus, or is
// read from the row.
//
//   asked --row is durable--> waiting --hint, or a look at the row--> answered
//                             waiting --its caller's time is up--> answered (the row stays)

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "base/clock.h"
#include "core/hint_bus.h"
#include "core/shard.h"
#include "core/store.h"

namespace pawl {

class Elsewhere final : public HintSink {
 public:
  struct Ways {
    std::function<void(Reply)> answer;
    // There may be something in the inbox of what is owned here.
    std::function<void()> look_for_mail;
    std::function<void(std::vector<HintReceived>)> take_hints;
  };
  Elsewhere(Store& store, HintBus& bus, Clock& clock, Ways ways);
  ~Elsewhere() override { close(); }

  // Any thread.
  void take(CallElsewhere call);
  void close();

  void hints_arrived(std::vector<HintReceived> hints) override;
  void answers_arrived(std::vector<AnswerHint> answers) override;
  void hints_missed() override;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;
  enum class Kind : std::uint8_t { event, start, control };
  // For the answer to a row.
  struct Waiting {
    RequestId request = 0;
    Kind kind = Kind::event;
    std::string tenant;
    std::string execution_id;
    std::string event_id;
    std::optional<Timestamp> deadline;
    SteadyTime since;
    std::chrono::milliseconds pause{50};
    SteadyTime look_at;
  };
  // For the end of an execution.
  struct EndAwaited {
    RequestId request = 0;
    std::string tenant;
    std::string execution_id;
    std::optional<Timestamp> deadline;
    SteadyTime look_at;
    std::chrono::milliseconds pause{10};
  };

  void send(EventSubmitted call);
  void send(const StartRequested& call);
  void send(CompletionAwaited call);
  void send(const ControlRequested& call);
  void send(const ForkPrepared& call);
  void send(ActionCompletionGiven call);
  // What begins an execution, unless there is one: the same, which `digest` tells, or another one.
  void put_beginning(MailRequest mail, Waiting waiting, std::string digest, Error clash);
  void put(MailRequest mail, Waiting waiting, std::function<bool(const MailPut&)> settled);
  void await(InboxId row, Waiting waiting);
  void tell(const Waiting& waiting, const std::string& answer);

  void run();
  void look_at_rows(SteadyTime now);
  void look_at_ends(SteadyTime now);
  void end_waits();
  std::optional<ExecutionRecord> find(const std::string& tenant, const std::string& id);

  Store& store_;
  HintBus& bus_;
  Clock& clock_;
  const Ways ways_;
  const std::string worker_;
  const int partitions_;

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::map<InboxId, Waiting> waiting_;
  std::map<InboxId, std::string>
      early_;  // answers that came before it was known that the row is there
  std::vector<EndAwaited> ends_;
  std::vector<ActionCompletionGiven>
      completions_;     // to be sent, once it is known for whom they are
  bool asked_ = false;  // something is to be looked at that was not there before
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace pawl
