#include "base/crash_point.h"

#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

namespace pawl {
namespace {

struct Armed {
  std::mutex mutex;
  std::string name;          // empty: the environment arms none
  std::uint64_t passes = 0;  // left before it kills
  int signal = SIGKILL;
  std::function<void(std::string_view)> handler;

  Armed() {
    const char* text = std::getenv("PAWL_CRASH_POINT");
    if (text == nullptr || *text == '\0') {
      return;
    }
    std::string_view spec{text};
    constexpr std::string_view kStop = ":stop";
    if (spec.ends_with(kStop)) {
      spec.remove_suffix(kStop.size());
      signal = SIGSTOP;
    }
    passes = 1;
    if (const auto colon = spec.rfind(':'); colon != std::string_view::npos) {
      const auto count = spec.substr(colon + 1);
      std::uint64_t n = 0;
      const auto [end, error] = std::from_chars(count.data(), count.data() + count.size(), n);
      if (error == std::errc{} && end == count.data() + count.size() && n > 0) {
        passes = n;
        spec = spec.substr(0, colon);
      }
    }
    name = spec;
  }
};

// Never destroyed: threads may still pass while the process exits.
Armed& armed() {
  static auto* const instance = new Armed;
  return *instance;
}

}  // namespace

namespace detail {

std::atomic<bool> crash_points_armed{!armed().name.empty()};

void pass_crash_point(const std::string_view name) {
  auto& state = armed();
  const std::lock_guard lock{state.mutex};
  if (state.handler) {
    state.handler(name);
  }
  if (name == state.name && --state.passes == 0) {
    std::raise(state.signal);
  }
}

}  // namespace detail

CrashPointHandler::CrashPointHandler(std::function<void(std::string_view)> handler) {
  auto& state = armed();
  const std::lock_guard lock{state.mutex};
  state.handler = std::move(handler);
  detail::crash_points_armed = true;
}

CrashPointHandler::~CrashPointHandler() {
  auto& state = armed();
  const std::lock_guard lock{state.mutex};
  state.handler = nullptr;
  detail::crash_points_armed = !state.name.empty();
}

}  // namespace pawl
