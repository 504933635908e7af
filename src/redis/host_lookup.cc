#include "redis/host_lookup.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <mutex>
#include <thread>
#include <utility>

namespace pawl {
namespace {

struct Lookup {
  Lookup() : done(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~Lookup() {
    if (done >= 0) ::close(done);
  }
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  const int done;
  std::mutex mutex;
  // Both under mutex.
  Addresses found;
  int error = 0;
};

int look_up(const RedisHost& host, const int flags, Addresses& found) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV | flags;
  addrinfo* addresses = nullptr;
  const int error =
      getaddrinfo(host.name.c_str(), std::to_string(host.port).c_str(), &wanted, &addresses);
  found.reset(error == 0 ? addresses : nullptr);
  return error;
}

}  // namespace

Addresses find_addresses(const RedisHost& host, const std::function<bool(int)>& wait,
                         std::string& why) {
  Addresses found;
  if (look_up(host, AI_NUMERICHOST, found) == 0) return found;
  const auto lookup = std::make_shared<Lookup>();
  if (lookup->done < 0) {
    why = "no file descriptor is left";
    return nullptr;
  }
  std::thread([lookup, host] {
    Addresses addresses;
    const int error = look_up(host, 0, addresses);
    const std::lock_guard lock(lookup->mutex);
    lookup->found = std::move(addresses);
    lookup->error = error;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(lookup->done, &one, sizeof one);
  }).detach();
  if (!wait(lookup->done)) {
    why = "its name could not be looked up in time";
    return nullptr;
  }
  const std::lock_guard lock(lookup->mutex);
  if (lookup->error != 0) why = gai_strerror(lookup->error);
  return std::move(lookup->found);
}

}  // namespace pawl
