#include "redis/receipts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace pawl {

std::string to_string(const StreamId& id) { return fmt::format("{}-{}", id.ms, id.sequence); }

bool parse_stream_id(const std::string_view text, StreamId& id) {
  const char* const end = text.data() + text.size();
  const auto ms = std::from_chars(text.data(), end, id.ms);
  if (ms.ec != std::errc() || ms.ptr == end || *ms.ptr != '-') return false;
  const auto sequence = std::from_chars(ms.ptr + 1, end, id.sequence);
  return sequence.ec == std::errc() && sequence.ptr == end;
}

void add(const DoneByPartition& more, DoneByPartition& all) {
  for (const auto& [partition, done] : more) {
    DoneEntries& sum = all[partition];
    sum.ids.insert(sum.ids.end(), done.ids.begin(), done.ids.end());
    sum.before = std::max(sum.before, done.before);
  }
}

HintReceipt Receipts::take(const StreamEntry& entry) {
  const std::lock_guard lock(mutex_);
  if (!known_.insert(entry).second) return 0;
  taken_.emplace(++last_, entry);
  taken_of_[entry.partition].insert(entry.id);
  return last_;
}

// What is read comes in the order of the stream, and so does what is claimed, before that. So there is nothing that
// is unread before the last one that was taken, and nothing that is open before the first one that still is.
DoneByPartition Receipts::acknowledge(const std::vector<HintReceipt>& receipts) {
  DoneByPartition all;
  const std::lock_guard lock(mutex_);
  for (const HintReceipt receipt : receipts) {
    const auto found = taken_.find(receipt);
    if (found == taken_.end()) continue;
    const auto& [partition, id] = found->second;
    taken_of_[partition].erase(id);
    all[partition].ids.push_back(id);
    taken_.erase(found);
  }
  for (auto& [partition, done] : all) {
    const std::set<StreamId>& open = taken_of_[partition];
    const StreamId last = *std::max_element(done.ids.begin(), done.ids.end());
    done.before = open.empty() ? StreamId{last.ms, last.sequence + 1} : *open.begin();
  }
  return all;
}

void Receipts::confirmed(const int partition, const std::vector<StreamId>& ids) {
  const std::lock_guard lock(mutex_);
  for (const StreamId& id : ids) known_.erase({partition, id});
}

void Receipts::forget(const std::set<int>& partitions) {
  if (partitions.empty()) return;
  const std::lock_guard lock(mutex_);
  for (const int partition : partitions) taken_of_.erase(partition);
  std::erase_if(taken_, [&](const auto& one) {
    if (!partitions.contains(one.second.partition)) return false;
    known_.erase(one.second);
    return true;
  });
}

std::size_t Receipts::taken() const {
  const std::lock_guard lock(mutex_);
  return taken_.size();
}

}  // namespace pawl
