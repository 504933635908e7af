#include "runtime/history_pages.h"

#include <algorithm>
#include <utility>

namespace pawl {
namespace {

// What nobody has asked for after so many others were asked for is not waited for any more.
constexpr std::uint64_t kAskedUntilForgotten = 64;

// After which record it goes on; none: that was all, or it can't be told.
std::optional<std::int64_t> next_after(const Result<std::vector<HistoryEvent>>& records,
                                       const HistoryBounds page) {
  if (!records || records->empty()) return std::nullopt;
  const bool full = records->size() >= static_cast<std::size_t>(page.records) ||
                    size_in_bytes(*records) >= page.bytes;
  if (!full) return std::nullopt;
  return records->back().sequence;
}

}  // namespace

HistoryPages::HistoryPages(HistorySource& source, Take take)
    : source_(source), take_(std::move(take)) {}

std::list<HistoryPages::Ahead>::iterator HistoryPages::find(const ExecutionRef ref,
                                                            const std::int64_t after) {
  return std::find_if(ahead_.begin(), ahead_.end(),
                      [&](const Ahead& one) { return one.ref == ref && one.after == after; });
}

bool HistoryPages::make_room() {
  if (ahead_.size() < kPagesAheadMax) return true;
  const auto forgotten = std::find_if(ahead_.begin(), ahead_.end(), [this](const Ahead& one) {
    return one.records && asked_ - one.begun > kAskedUntilForgotten;
  });
  if (forgotten == ahead_.end()) return false;
  ahead_.erase(forgotten);
  return true;
}

// True if somebody reads it just now, who answers then; else it may be here already.
bool HistoryPages::wait_or_take(const LoadPage& wanted, std::optional<Records>& records) {
  const std::lock_guard lock(mutex_);
  ++asked_;
  const auto ahead = find(wanted.ref, wanted.after);
  if (ahead == ahead_.end()) return false;
  if (!ahead->records) {
    // Whoever asked before has given it up: it asks for each page once.
    ahead->awaited_for = wanted;
    return true;
  }
  records = std::move(ahead->records);
  ahead_.erase(ahead);
  return false;
}

// Who waits for it; none: it is kept.
std::optional<LoadPage> HistoryPages::keep(const std::list<Ahead>::iterator ahead,
                                           Records& records) {
  const std::lock_guard lock(mutex_);
  std::optional<LoadPage> awaited_for = std::move(ahead->awaited_for);
  if (awaited_for || !records || records->empty()) {
    ahead_.erase(ahead);
  } else {
    ahead->records = std::move(records);
  }
  return awaited_for;
}

void HistoryPages::read(const LoadPage& wanted) {
  std::optional<Records> records;
  if (wait_or_take(wanted, records)) return;
  if (!records) records = source_.read_history(wanted.ref, wanted.after, wanted.page);
  const auto next = next_after(*records, wanted.page);
  take_(PageLoaded{wanted, std::move(*records)});
  if (next) read_ahead(wanted.ref, *next, wanted.page);
}

void HistoryPages::read_ahead(const ExecutionRef ref, const std::int64_t after,
                              const HistoryBounds page) {
  for (std::optional<std::int64_t> from = after; from;) {
    std::list<Ahead>::iterator ahead;
    {
      const std::lock_guard lock(mutex_);
      if (find(ref, *from) != ahead_.end() || !make_room()) return;
      ahead = ahead_.insert(ahead_.end(), Ahead{ref, *from, asked_, std::nullopt, std::nullopt});
    }
    Records records = source_.read_history(ref, *from, page);
    from = next_after(records, page);
    const auto awaited_for = keep(ahead, records);
    if (!awaited_for) return;
    take_(PageLoaded{*awaited_for, std::move(records)});
  }
}

}  // namespace pawl
