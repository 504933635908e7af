#pragma once

// Which entries of streams are with this worker, and under which receipts.

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/random.h"
#include "core/hint_bus.h"

namespace pawl {

// An entry's id in its stream: milliseconds, and a number within them.
struct StreamId {
  std::uint64_t ms = 0;
  std::uint64_t sequence = 0;

  friend auto operator<=>(const StreamId&, const StreamId&) = default;
};

std::string to_string(const StreamId& id);
// False: it is none.
bool parse_stream_id(std::string_view text, StreamId& id);

struct StreamEntry {
  int partition = 0;
  StreamId id;

  friend bool operator==(const StreamEntry&, const StreamEntry&) = default;
};

// Entries of a partition that are done with.
struct DoneEntries {
  std::vector<StreamId> ids;
  // Whatever stands before it in the stream is done with too.
  StreamId before;
};
using DoneByPartition = std::map<int, DoneEntries>;

void add(const DoneByPartition& more, DoneByPartition& all);

// taken --acknowledge--> acknowledged --confirmed--> forgotten
// taken --forget-------> forgotten
//
// An entry stays known until the server has taken its acknowledgement: whoever reads again what is pending there,
// behind a lost connection, does not take it for something new. Any thread.
class Receipts {
 public:
  // 0: the entry is known.
  HintReceipt take(const StreamEntry& entry);
  // Those of them that are taken, and that the server is to be told of.
  DoneByPartition acknowledge(const std::vector<HintReceipt>& receipts);
  void confirmed(int partition, const std::vector<StreamId>& ids);
  // What is taken of these partitions is somebody else's. Its receipts mean nothing any more.
  void forget(const std::set<int>& partitions);
  // How many are taken.
  std::size_t taken() const;

 private:
  struct Hash {
    std::size_t operator()(const StreamEntry& entry) const {
      return mix_bits(entry.id.ms ^
                      mix_bits(entry.id.sequence ^ (std::uint64_t(entry.partition) << 32)));
    }
  };

  mutable std::mutex mutex_;
  // All guarded by mutex_.
  HintReceipt last_ = 0;
  std::unordered_map<HintReceipt, StreamEntry> taken_;
  std::map<int, std::set<StreamId>> taken_of_;  // the same, by partition
  std::unordered_set<StreamEntry, Hash> known_;
};

}  // namespace pawl
