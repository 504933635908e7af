#pragma once

#include <netdb.h>

#include <functional>
#include <memory>
#include <string>

#include "redis/redis_address.h"

namespace pawl {

struct AddressesDelete {
  void operator()(addrinfo* addresses) const { freeaddrinfo(addresses); }
};
using Addresses = std::unique_ptr<addrinfo, AddressesDelete>;

// The addresses of a host; null: none is known, with `why`. A resolver that hangs can't be broken off, so it has a
// thread of its own, which nobody waits for any more when `wait` says so: it is given a descriptor, and returns
// true when that can be read.
Addresses find_addresses(const RedisHost& host, const std::function<bool(int descriptor)>& wait,
                         std::string& why);

}  // namespace pawl
