#pragma once

// The data of an execution that was followed from the beginning of its run, so that whoever waits for its
// end is told without a look at the store. Tells what StateFold tells.

#include <cstddef>
#include <map>
#include <optional>
#include <string>

#include "model/history_event.h"

namespace pawl {

// Of one execution; one with more is read where it is asked for.
inline constexpr std::size_t kLiveDataBytesMax = 4'096;

// Unknown --the run begins--> Known --more than kLiveDataBytesMax, or it was retried--> Unknown
class LiveData {
 public:
  // The record that was appended.
  void add(const HistoryEvent& event);
  // As a JSON object; none: not known here.
  std::optional<std::string> text() const;

 private:
  void change(const std::string& key, std::optional<std::string> value);
  void forget();

  bool known_ = false;
  std::string input_;                                          // if it is an object
  std::map<std::string, std::optional<std::string>> changes_;  // JSON by key; none: deleted
  std::size_t bytes_ = 0;
};

}  // namespace pawl
