#include "host/call_site.h"

#include <fmt/format.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <mutex>
#include <string>
#include <unordered_map>

namespace pawl {
namespace {

struct Place {
  const char* file;  // a literal of the program: the pointer tells files apart well enough
  std::uint64_t line_and_column;
  bool operator==(const Place&) const = default;
};

struct PlaceHash {
  std::size_t operator()(const Place& place) const {
    return std::hash<const void*>{}(place.file) ^ (place.line_and_column * 0x9E37'79B9'7F4A'7C15U);
  }
};

// Compilers are given absolute paths, or some that depend on the folder of the build: the last parts
// tell enough.
std::string shown(const char* file) {
  constexpr int kPartsShown = 2;
  const std::filesystem::path path(file);
  std::filesystem::path end;
  auto part = path.end();
  for (int count = 0; count < kPartsShown && part != path.begin(); ++count) {
    --part;
    if (*part == path.root_path() || *part == "..") break;
    end = end.empty() ? *part : *part / end;
  }
  return end.generic_string();
}

// Leaked on purpose: a thread may still ask at the end of the process.
std::mutex& texts_mutex() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

CallSite keep(std::string text) {
  static auto* const texts = new std::deque<std::string>;
  const std::lock_guard lock(texts_mutex());
  return texts->emplace_back(std::move(text));
}

}  // namespace

CallSite call_site(const std::source_location place) {
  // Of each thread: nobody waits for anybody, and few threads run workflows.
  thread_local std::unordered_map<Place, CallSite, PlaceHash> known;
  const Place key{place.file_name(),
                  std::uint64_t{place.line()} << 32 | std::uint64_t{place.column()}};
  const auto [found, fresh] = known.try_emplace(key);
  if (fresh) {
    std::string text = fmt::format("{}:{}", shown(place.file_name()), place.line());
    if (place.column() != 0) text += fmt::format(":{}", place.column());
    if (text.size() > kCallSiteBytesMax) text.erase(0, text.size() - kCallSiteBytesMax);
    found->second = keep(std::move(text));
  }
  return found->second;
}

}  // namespace pawl
