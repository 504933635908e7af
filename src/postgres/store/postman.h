#pragma once

// Puts rows into the inbox for executions that other workers own: what is asked for while one transaction is under
// way goes into the next one.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "core/store.h"
#include "postgres/store/pipeline.h"

namespace pawl {

// Rows that wait to be put there; more are refused as `overloaded`.
inline constexpr std::size_t kMailQueuedMax = 16'384;
inline constexpr std::size_t kMailBatchMax = 512;

class PostgresPostman {
 public:
  using Done = std::function<void(Result<MailPut>)>;

  // For how long it is tried where the server can't be reached.
  PostgresPostman(PostgresParameters parameters, int partitions,
                  std::chrono::milliseconds retry_max)
      : parameters_(std::move(parameters)), partitions_(partitions), retry_max_(retry_max) {}
  ~PostgresPostman() { close(); }

  void start();
  // Any thread.
  void put(MailRequest mail, Done done);
  // What is queued is still put there; later ones answer `closed`. Idempotent.
  void close();

 private:
  struct Letter {
    MailRequest mail;
    Done done;
    bool settled = false;
  };
  using Letters = std::vector<Letter*>;

  void run();
  void deliver(const Letters& letters);
  PgOutcome<void> draw_numbers(const Letters& letters);
  PgOutcome<void> insert(const Letters& letters);
  PgOutcome<void> look_up(const Letters& letters);
  bool pause(std::chrono::milliseconds time);
  static void settle(Letter& letter, Result<MailPut> put);

  const PostgresParameters parameters_;
  const int partitions_;
  const std::chrono::milliseconds retry_max_;
  PgPipeline pipeline_;  // of the thread

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::unique_ptr<Letter>> queue_;  // under mutex_
  bool closing_ = false;                        // under mutex_
  std::thread thread_;
};

}  // namespace pawl
