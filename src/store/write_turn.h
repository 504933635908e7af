#pragma once

// Whose turn it is to write to an SQLite file, among the connections of this process: the engine's, which
// commits for everybody, and those that users' transactions run on. SQLite has one writer at a time, and
// its own waiting is a sleep without order.
//
// Users go in the order in which they came. The engine lets those pass that wait when it comes, so that it
// commits for all of them at once, but for kEngineWaits only. Who holds the turn beyond its time is made to
// give it up by the first that waits for it.

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

namespace pawl {

class TurnHolder {
 public:
  virtual ~TurnHolder() = default;
  // Its time is up, and another one waits. Rolls back, and gives the turn back if it still has it. Called
  // on the thread of the one that waits.
  virtual void give_up() = 0;
};

// Any thread.
class WriteTurn {
 public:
  static constexpr std::chrono::milliseconds kEngineWaits{2};

  void take_for_engine();
  // False: another one has it, or waits for it.
  bool try_take_for_engine();
  void take(std::shared_ptr<TurnHolder> holder, std::chrono::milliseconds most);
  void give_back();

 private:
  using Clock = std::chrono::steady_clock;

  // Waits for what may change; may make the holder give up. Under `lock`.
  void wait(std::unique_lock<std::mutex>& lock, Clock::time_point until);
  bool engine_is_next() const;
  bool user_is_next(std::uint64_t ticket) const;

  std::mutex mutex_;
  std::condition_variable changed_;
  // All guarded by mutex_.
  bool held_ = false;
  std::shared_ptr<TurnHolder> holder_;  // none: the engine
  Clock::time_point deadline_ = Clock::time_point::max();
  bool giving_up_ = false;           // somebody sees to it
  std::deque<std::uint64_t> users_;  // that wait, by ticket
  std::uint64_t next_ticket_ = 1;
  bool engine_waits_ = false;
  Clock::time_point engine_came_;
};

}  // namespace pawl
