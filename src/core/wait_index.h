#pragma once

// Where waits and buffered events of an execution meet: who may take an event, and what a wait may
// take, found by name. What it costs does not grow with how many are open; only waits with a filter
// are looked at one by one, as they are asked one by one.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pawl/host.h"

namespace pawl {

// Who may take an event that has just come.
struct Takers {
  std::vector<Position> to_ask;      // in this order: waits with a filter
  std::optional<Position> position;  // then this one, without asking
};

// A buffered event and the wait that is to get it.
struct Delivery {
  std::int64_t event = 0;  // its sequence
  Position position = 0;
  bool ask = false;  // if its filter says so; there may be others in the buffer
};

class WaitIndex {
 public:
  // Of a wait that was not open before; of one that is.
  void open(Position position, const std::vector<std::string>& names, bool filtered);
  void close(Position position, const std::vector<std::string>& names, bool filtered);
  void close_all();

  // Sequences of events rise.
  void buffer(const std::string& name, std::int64_t sequence);
  void unbuffer(const std::string& name, std::int64_t sequence);

  // The filter of that wait said no to all it was asked about, up to that sequence. For good.
  void refused(Position position, std::int64_t until);

  // The waits that are offered an event of that name, the oldest first.
  Takers takers_of(std::string_view name) const;
  // The oldest wait for which something is buffered, with the oldest such event.
  std::optional<Delivery> next() const;
  // What the filter of that wait was not asked about yet, the oldest first.
  std::vector<std::int64_t> to_ask_about(Position position) const;

 private:
  struct Name {
    std::set<Position> plain;  // open waits without a filter
    std::set<Position> filtered;
    std::set<std::int64_t> events;  // in the buffer

    bool is_empty() const { return plain.empty() && filtered.empty() && events.empty(); }
    // The wait that one of the events is for, without asking.
    std::optional<Position> met() const;
  };
  struct Filter {
    std::vector<std::string> names;
    std::int64_t asked_until = 0;
  };

  template <class Change>
  void change(const std::string& name, Change change);
  std::optional<std::int64_t> first_to_ask_about(const Filter& filter) const;

  std::map<std::string, Name, std::less<>> names_;
  std::map<Position, Filter> filters_;  // of open waits
  // Name::met() of each name that has one.
  std::set<std::pair<Position, std::string>> met_;
  std::set<Position> to_ask_;  // waits whose filter has something to be asked about
};

}  // namespace pawl
