#pragma once

// Connections of a store that read: opened as they are needed, up to a bound, and kept.

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "pawl/error.h"

namespace pawl {

// Any thread.
template <class Reader>
class ConnectionPool {
 public:
  using Open = std::function<Result<std::unique_ptr<Reader>>()>;

  // `what` is closed, says who comes late: "the store pawl.db".
  ConnectionPool(Open open, const int most, std::string what)
      : open_(std::move(open)), most_(most), what_(std::move(what)) {}

  // Runs `read` on a reader that is free, opening one if there may be more, else waiting.
  template <class Read>
  auto with(Read read) -> decltype(read(std::declval<Reader&>())) {
    auto reader = take();
    if (!reader) return reader.error();
    auto result = read(**reader);
    give_back(std::move(*reader));
    return result;
  }

  // Waits for reads under way, and closes the connections; later reads answer `closed`.
  void close() {
    std::unique_lock lock(mutex_);
    closed_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return static_cast<int>(free_.size()) == opened_; });
    free_.clear();
    opened_ = 0;
  }

 private:
  Result<std::unique_ptr<Reader>> take() {
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return closed_ || !free_.empty() || opened_ < most_; });
      if (closed_) return Error{ErrorCode::closed, what_ + " is closed", {}};
      if (!free_.empty()) {
        auto reader = std::move(free_.back());
        free_.pop_back();
        return reader;
      }
      ++opened_;
    }
    auto reader = open_();
    if (!reader) {
      const std::lock_guard lock(mutex_);
      --opened_;
      changed_.notify_all();
    }
    return reader;
  }

  void give_back(std::unique_ptr<Reader> reader) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(reader));
    changed_.notify_all();
  }

  const Open open_;
  const int most_;
  const std::string what_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_.
  std::vector<std::unique_ptr<Reader>> free_;
  int opened_ = 0;
  bool closed_ = false;
};

}  // namespace pawl
