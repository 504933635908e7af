#pragma once

// Pages of histories, which the shard asks for one after the other: while it works on one, the next is read.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <vector>

#include "core/shard.h"
#include "core/store.h"

namespace pawl {

// Pages that were read and nobody has asked for yet, each of kHistoryPageBytesMax at most.
inline constexpr std::size_t kPagesAheadMax = 4;

// Any thread. Its calls read from the store on the thread that makes them.
class HistoryPages {
 public:
  using Take = std::function<void(PageLoaded)>;

  // `take` is given each page that was asked for, on the thread that has read it.
  HistoryPages(HistorySource& source, Take take);

  // Answers, before or after it returns, and reads the page behind that one.
  void read(const LoadPage& wanted);
  // It will probably be asked for next.
  void read_ahead(ExecutionRef ref, std::int64_t after, HistoryBounds page);

 private:
  using Records = Result<std::vector<HistoryEvent>>;

  // Reading --> Read --asked for--> (gone)
  // Reading --asked for--> Awaited --read--> (gone)
  struct Ahead {
    ExecutionRef ref = 0;
    std::int64_t after = 0;
    std::uint64_t begun = 0;              // how many had been asked for then
    std::optional<Records> records;       // once it is read
    std::optional<LoadPage> awaited_for;  // by whoever asked before that
  };

  std::list<Ahead>::iterator find(ExecutionRef ref, std::int64_t after);
  bool make_room();
  bool wait_or_take(const LoadPage& wanted, std::optional<Records>& records);
  std::optional<LoadPage> keep(std::list<Ahead>::iterator ahead, Records& records);

  HistorySource& source_;
  const Take take_;
  std::mutex mutex_;
  std::list<Ahead> ahead_;   // under mutex_; the oldest first
  std::uint64_t asked_ = 0;  // under mutex_
};

}  // namespace pawl
