#pragma once

// What workers send each other: rows of a table that is not logged, with a NOTIFY for each recipient. Those between
// two workers are numbered, so that a gap shows; after the last one, a few that are empty follow, so that the last one
// has a successor too.

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/store.h"
#include "postgres/store/pipeline.h"

namespace pawl {

class ParcelPost {
 public:
  ParcelPost(PostgresParameters parameters, std::string worker);
  ~ParcelPost() { close(); }

  // Before the first is sent or fetched; once.
  void start(CommitSink& sink) { sink_ = &sink; }
  // From now on there is a connection, and what is there for this worker is fetched. Any thread; idempotent.
  void fetch();
  // Any thread.
  void send(std::vector<Parcel> parcels);
  // What is queued has a moment to go out. Idempotent.
  void close();

 private:
  struct Numbered {
    std::string worker;
    std::int64_t number = 0;
    std::string body;
  };
  // What was sent to a worker.
  struct Sent {
    std::int64_t last = 0;
    int empty_left = 0;  // that follow the last one
  };

  void run();
  PgOutcome<bool> exchange(const std::vector<Numbered>& outgoing);
  void deliver(std::vector<Numbered> fetched);
  void follow_up();
  void queue_empty();
  bool pause();

  const PostgresParameters parameters_;
  const std::string worker_;
  CommitSink* sink_ = nullptr;
  PgPipeline pipeline_;                           // of thread_
  std::map<std::string, std::int64_t> received_;  // of thread_: the last number, by sender

  std::mutex mutex_;
  std::condition_variable wake_;
  // Under mutex_.
  std::deque<Numbered> queue_;
  std::map<std::string, Sent> sent_;
  bool fetching_ = false;
  bool sent_all_ = true;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace pawl
