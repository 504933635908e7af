#include "core/history_reading.h"

#include <iterator>
#include <utility>

namespace pawl {
namespace {

ExecutionRecord before_its_history(ExecutionRecord record) {
  if (is_terminal(record.status)) record.status = ExecutionStatus::running;
  record.state = "initial";
  return record;
}

}  // namespace

HistoryReading::HistoryReading(StoredExecution stored, const Wanted wanted)
    : stored_(std::move(stored)),
      ended_(is_terminal(stored_.record.status)),
      keeps_all_(ended_ && wanted == Wanted::all),
      folds_(!ended_ || wanted != Wanted::nothing),
      fold_(before_its_history(stored_.record)) {
  replay_.void_records.add(stored_.retries);
}

Result<void> HistoryReading::add(std::vector<HistoryEvent> page) {
  const bool first = last_ == 0;
  if (page.empty()) {
    return history_cut_short(stored_.record, last_, stored_.history_end);
  }
  last_ = page.back().sequence;
  complete_ = !folds_ || last_ >= stored_.history_end;
  if (!folds_) return {};
  if (first) replay_.void_records.add(page);
  for (const HistoryEvent& event : page) {
    if (event.type == EventType::execution_forked) {
      replay_.forks.emplace_back(event.sequence, event.name);
    }
    if (replay_.void_records.contains(event)) {
      fold_.skip(event);
      continue;
    }
    if (event.type == EventType::execution_started) {
      replay_.after = event.sequence - 1;
      replay_.generation = fold_.generation();
      replay_.buffered = fold_.buffer();
    }
    if (auto applied = fold_.apply(event); !applied) return applied;
  }
  if (keeps_all_) {
    history_.insert(history_.end(), std::make_move_iterator(page.begin()),
                    std::make_move_iterator(page.end()));
  } else if (first && complete_ && !ended_) {
    history_ = std::move(page);
  }
  return {};
}

ExecutionFold HistoryReading::take_fold() {
  if (!ended_) {
    fold_.record().status = stored_.record.status;
    return std::move(fold_);
  }
  ExecutionFold told(stored_.record);
  told.set_parent(fold_.parent());
  return told;
}

}  // namespace pawl
