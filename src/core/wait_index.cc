#include "core/wait_index.h"

#include <algorithm>

namespace pawl {

std::optional<Position> WaitIndex::Name::met() const {
  if (plain.empty() || events.empty()) return std::nullopt;
  return *plain.begin();
}

// Keeps what follows from a name, and forgets one that nothing is left of.
template <class Change>
void WaitIndex::change(const std::string& name, Change change) {
  const auto entry = names_.try_emplace(name).first;
  const auto before = entry->second.met();
  change(entry->second);
  const auto after = entry->second.met();
  if (before != after) {
    if (before) met_.erase({*before, name});
    if (after) met_.emplace(*after, name);
  }
  if (entry->second.is_empty()) names_.erase(entry);
}

void WaitIndex::open(const Position position, const std::vector<std::string>& names,
                     const bool filtered) {
  for (const std::string& name : names) {
    change(name, [&](Name& entry) { (filtered ? entry.filtered : entry.plain).insert(position); });
  }
  if (!filtered) return;
  const Filter& filter = filters_.emplace(position, Filter{names}).first->second;
  if (first_to_ask_about(filter)) to_ask_.insert(position);
}

void WaitIndex::close(const Position position, const std::vector<std::string>& names,
                      const bool filtered) {
  for (const std::string& name : names) {
    change(name, [&](Name& entry) { (filtered ? entry.filtered : entry.plain).erase(position); });
  }
  if (!filtered) return;
  filters_.erase(position);
  to_ask_.erase(position);
}

void WaitIndex::close_all() {
  for (auto& [name, entry] : names_) {
    entry.plain.clear();
    entry.filtered.clear();
  }
  std::erase_if(names_, [](const auto& entry) { return entry.second.is_empty(); });
  filters_.clear();
  met_.clear();
  to_ask_.clear();
}

void WaitIndex::buffer(const std::string& name, const std::int64_t sequence) {
  change(name, [&](Name& entry) {
    entry.events.insert(entry.events.end(), sequence);
    for (const Position position : entry.filtered) {
      if (filters_.at(position).asked_until < sequence) to_ask_.insert(position);
    }
  });
}

void WaitIndex::unbuffer(const std::string& name, const std::int64_t sequence) {
  change(name, [&](Name& entry) {
    entry.events.erase(sequence);
    for (const Position position : entry.filtered) {
      if (!first_to_ask_about(filters_.at(position))) to_ask_.erase(position);
    }
  });
}

void WaitIndex::refused(const Position position, const std::int64_t until) {
  const auto filter = filters_.find(position);
  if (filter == filters_.end()) return;
  filter->second.asked_until = std::max(filter->second.asked_until, until);
  if (!first_to_ask_about(filter->second)) to_ask_.erase(position);
}

Takers WaitIndex::takers_of(const std::string_view name) const {
  Takers takers;
  const auto found = names_.find(name);
  if (found == names_.end()) return takers;
  const Name& entry = found->second;
  if (!entry.plain.empty()) takers.position = *entry.plain.begin();
  for (const Position position : entry.filtered) {
    if (takers.position && position > *takers.position) break;
    takers.to_ask.push_back(position);
  }
  return takers;
}

std::optional<std::int64_t> WaitIndex::first_to_ask_about(const Filter& filter) const {
  std::optional<std::int64_t> first;
  for (const std::string& name : filter.names) {
    const auto entry = names_.find(name);
    if (entry == names_.end()) continue;
    const auto event = entry->second.events.upper_bound(filter.asked_until);
    if (event != entry->second.events.end() && (!first || *event < *first)) first = *event;
  }
  return first;
}

std::optional<Delivery> WaitIndex::next() const {
  const bool ask = !to_ask_.empty() && (met_.empty() || *to_ask_.begin() < met_.begin()->first);
  if (ask) {
    const Position position = *to_ask_.begin();
    return Delivery{*first_to_ask_about(filters_.at(position)), position, true};
  }
  if (met_.empty()) return std::nullopt;
  // It is the first wait of each of its names that have an event, so those are all here.
  const Position position = met_.begin()->first;
  std::optional<std::int64_t> event;
  for (auto met = met_.begin(); met != met_.end() && met->first == position; ++met) {
    const std::int64_t first = *names_.find(met->second)->second.events.begin();
    if (!event || first < *event) event = first;
  }
  return Delivery{*event, position, false};
}

std::vector<std::int64_t> WaitIndex::to_ask_about(const Position position) const {
  std::vector<std::int64_t> events;
  const auto filter = filters_.find(position);
  if (filter == filters_.end()) return events;
  for (const std::string& name : filter->second.names) {
    const auto entry = names_.find(name);
    if (entry == names_.end()) continue;
    const auto& all = entry->second.events;
    events.insert(events.end(), all.upper_bound(filter->second.asked_until), all.end());
  }
  std::sort(events.begin(), events.end());
  events.erase(std::unique(events.begin(), events.end()), events.end());
  return events;
}

}  // namespace pawl
