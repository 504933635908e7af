#pragma once

// What an iteration costs beside its time: memory that is asked for, and instructions. These hardly vary
// from run to run, so that a loss of a few percent shows where it happens.
//
//   allocs, alloc_bytes    by operator new, which this program replaces, of all threads
//   sqlite_allocs          of SQLite, which has an allocator of its own
//   instructions           retired in user mode by all threads, where the machine lets us count them;
//                          else this counter is left out, and main() says so

#include <benchmark/benchmark.h>

#include <cstdint>

namespace pawl::micro {

// Once, before any thread begins and before SQLite is used.
void begin_counting();
// Why there are no instructions; null: there are.
const char* why_no_instructions();

struct Counts {
  std::uint64_t allocs = 0;
  std::uint64_t alloc_bytes = 0;
  std::uint64_t sqlite_allocs = 0;
  std::uint64_t instructions = 0;
};
// Since the program began.
Counts counts();

// From where it is made, which is directly before the loop, to its end. The counters of the state are per
// iteration.
class Meter {
 public:
  explicit Meter(benchmark::State& state);
  ~Meter();
  Meter(const Meter&) = delete;
  Meter& operator=(const Meter&) = delete;

  // Around what prepares an iteration: neither timed nor counted. It costs about a microsecond.
  void pause();
  void resume();

 private:
  void add();

  benchmark::State& state_;
  Counts begun_;
  Counts sum_;
};

}  // namespace pawl::micro
