#include "counting.h"

#include <linux/perf_event.h>
#include <sqlite3.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_TOGGLE_COLLECT
#define CALLGRIND_ZERO_STATS
#define CALLGRIND_DUMP_STATS
#endif

namespace pawl::micro {

namespace {

// Each thread counts in a place of its own, which outlives it, so that counting takes no locked instruction.
struct Place {
  std::atomic<std::uint64_t> allocs{0};
  std::atomic<std::uint64_t> bytes{0};
};
constexpr std::size_t kPlaces = 256;  // threads beyond share the last one, and may be lost
constinit std::array<Place, kPlaces> places;
constinit std::atomic<std::size_t> places_taken{0};
constinit thread_local Place* own_place = nullptr;

constinit std::atomic<std::uint64_t> sqlite_allocs{0};
sqlite3_mem_methods sqlite_memory;

int instructions_file = -1;
int instructions_error = 0;

void note(const std::size_t bytes) {
  if (own_place == nullptr) {
    own_place = &places[std::min(places_taken.fetch_add(1), kPlaces - 1)];
  }
  own_place->allocs.store(own_place->allocs.load(std::memory_order_relaxed) + 1,
                          std::memory_order_relaxed);
  own_place->bytes.store(own_place->bytes.load(std::memory_order_relaxed) + bytes,
                         std::memory_order_relaxed);
}

void* sqlite_malloc(const int bytes) {
  sqlite_allocs.fetch_add(1, std::memory_order_relaxed);
  return sqlite_memory.xMalloc(bytes);
}

void* sqlite_realloc(void* const memory, const int bytes) {
  sqlite_allocs.fetch_add(1, std::memory_order_relaxed);
  return sqlite_memory.xRealloc(memory, bytes);
}

void count_sqlite() {
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory);
  static sqlite3_mem_methods counted;
  counted = sqlite_memory;
  counted.xMalloc = &sqlite_malloc;
  counted.xRealloc = &sqlite_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &counted);
}

void count_instructions() {
  perf_event_attr wanted{};
  wanted.size = sizeof wanted;
  wanted.type = PERF_TYPE_HARDWARE;
  wanted.config = PERF_COUNT_HW_INSTRUCTIONS;
  wanted.exclude_kernel = 1;
  wanted.exclude_hv = 1;
  wanted.inherit = 1;  // of threads that begin later
  instructions_file = static_cast<int>(syscall(SYS_perf_event_open, &wanted, 0, -1, -1, 0));
  instructions_error = errno;
}

std::uint64_t instructions() {
  std::uint64_t value = 0;
  if (instructions_file < 0 || read(instructions_file, &value, sizeof value) != sizeof value) {
    return 0;
  }
  return value;
}

}  // namespace

void begin_counting() {
  count_sqlite();
  count_instructions();
}

const char* why_no_instructions() {
  return instructions_file < 0 ? std::strerror(instructions_error) : nullptr;
}

Counts counts() {
  Counts sum;
  for (const Place& place : places) {
    sum.allocs += place.allocs.load(std::memory_order_relaxed);
    sum.alloc_bytes += place.bytes.load(std::memory_order_relaxed);
  }
  sum.sqlite_allocs = sqlite_allocs.load(std::memory_order_relaxed);
  sum.instructions = instructions();
  return sum;
}

Meter::Meter(benchmark::State& state) : state_(state), begun_(counts()) {
  CALLGRIND_START_INSTRUMENTATION;
  CALLGRIND_ZERO_STATS;
}

Meter::~Meter() {
  add();
  CALLGRIND_DUMP_STATS;
  const auto give = [this](const char* const name, const std::uint64_t value) {
    state_.counters[name] =
        benchmark::Counter(static_cast<double>(value), benchmark::Counter::kAvgIterations);
  };
  give("allocs", sum_.allocs);
  give("alloc_bytes", sum_.alloc_bytes);
  if (sum_.sqlite_allocs > 0) give("sqlite_allocs", sum_.sqlite_allocs);
  if (instructions_file >= 0) give("instructions", sum_.instructions);
}

void Meter::pause() {
  state_.PauseTiming();
  CALLGRIND_TOGGLE_COLLECT;
  add();
}

void Meter::resume() {
  begun_ = counts();
  CALLGRIND_TOGGLE_COLLECT;
  state_.ResumeTiming();
}

void Meter::add() {
  const Counts now = counts();
  sum_.allocs += now.allocs - begun_.allocs;
  sum_.alloc_bytes += now.alloc_bytes - begun_.alloc_bytes;
  sum_.sqlite_allocs += now.sqlite_allocs - begun_.sqlite_allocs;
  sum_.instructions += now.instructions - begun_.instructions;
}

namespace {

void* allocate(const std::size_t bytes) {
  note(bytes);
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* allocate(const std::size_t bytes, const std::align_val_t alignment) {
  note(bytes);
  const auto boundary = static_cast<std::size_t>(alignment);
  void* const memory = std::aligned_alloc(boundary, (bytes + boundary - 1) / boundary * boundary);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

}  // namespace pawl::micro

// The others, for arrays and those that don't throw, call these.
void* operator new(const std::size_t bytes) { return pawl::micro::allocate(bytes); }
void* operator new(const std::size_t bytes, const std::align_val_t alignment) {
  return pawl::micro::allocate(bytes, alignment);
}
void operator delete(void* const memory) noexcept { std::free(memory); }
void operator delete(void* const memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* const memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* const memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}
