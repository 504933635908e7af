#pragma once

// Named places where a process may be made to die, so that tests can ask what survives. A name says
// where it stands: "store.before_commit".
//
// Armed by the environment: PAWL_CRASH_POINT="name" or "name:n" makes the process kill itself
// (SIGKILL) at the nth pass of that place, "name:n:stop" stop itself (SIGSTOP); or by a test, with a
// handler. Otherwise a pass costs one relaxed load.

#include <atomic>
#include <functional>
#include <string_view>

namespace pawl {

namespace detail {
extern std::atomic<bool> crash_points_armed;
void pass_crash_point(std::string_view name);
}  // namespace detail

// Any thread.
inline void crash_point(const std::string_view name) {
  if (detail::crash_points_armed.load(std::memory_order_relaxed)) [[unlikely]] {
    detail::pass_crash_point(name);
  }
}

// While it lives, every pass of a crash point calls the handler, on the thread that passes, one call
// at a time. One at a time in a process.
class CrashPointHandler {
 public:
  explicit CrashPointHandler(std::function<void(std::string_view name)> handler);
  ~CrashPointHandler();
  CrashPointHandler(const CrashPointHandler&) = delete;
  CrashPointHandler& operator=(const CrashPointHandler&) = delete;
};

}  // namespace pawl
