#include "call_sites.h"

#include <deque>
#include <mutex>
#include <string>

namespace pawl::node {

namespace {

struct Table {
  std::mutex mutex;
  std::deque<std::string> texts;  // what was handed out stays where it is
};

// Leaked on purpose: environments may end after the statics of the process.
Table& table() {
  static auto* const only = new Table;
  return *only;
}

}  // namespace

std::int64_t define_call_site(const std::string_view site) {
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  if (all.texts.size() >= kCallSitesMax) return 0;
  all.texts.emplace_back(site.substr(0, kCallSiteBytesMax));
  return static_cast<std::int64_t>(all.texts.size());
}

CallSite call_site(const std::int64_t number) {
  if (number <= 0) return {};
  Table& all = table();
  const std::lock_guard lock(all.mutex);
  if (number > static_cast<std::int64_t>(all.texts.size())) return {};
  return all.texts[static_cast<std::size_t>(number) - 1];
}

}  // namespace pawl::node
