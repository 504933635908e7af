#pragma once

// Which requests of a stream still count, and what to tell the stream. Shared by the stores.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "core/store.h"

namespace pawl {

// After a failure, what carries the same (or an older) generation builds upon what was lost.
// Confined to the thread that commits.
class StreamGate {
 public:
  // What to answer instead of committing, if the stream failed in this generation.
  std::optional<Error> refusal(const CommitRequest& request) const;
  void fail(const CommitRequest& request, const Error& error);

 private:
  struct Failed {
    std::uint64_t generation;
    Error error;
  };
  std::unordered_map<std::uint32_t, Failed> failed_;
};

// Gathers outcomes of single requests, given in the order of the stream, into as few as say the same.
class OutcomeList {
 public:
  void add(const CommitRequest& request, const std::optional<Error>& error);
  const std::vector<CommitOutcome>& outcomes() const { return outcomes_; }

 private:
  std::vector<CommitOutcome> outcomes_;
  std::unordered_map<std::uint32_t, std::size_t> last_;  // of a stream, by index
};

// What a transition must be in itself, whatever is stored; what breaks it is an error of ours.
std::optional<Error> malformed(const Transition& transition);

// Of what its records, results and mail carry.
std::size_t size_in_bytes(const Transition& transition);

}  // namespace pawl
