#include "core/live_data.h"

#include <utility>

#include "core/state_fold.h"
#include "model/json_members.h"

namespace pawl {

void LiveData::add(const HistoryEvent& event) {
  switch (event.type) {
    case EventType::execution_scheduled:
    case EventType::execution_started:
      forget();
      if (event.payload.bytes.size() > kLiveDataBytesMax) return;
      known_ = true;
      // Other values have no keys.
      if (event.payload.bytes.find('{') != std::string::npos) input_ = event.payload.bytes;
      bytes_ = input_.size();
      return;
    case EventType::data_set: return change(event.name, event.payload.bytes);
    case EventType::data_deleted: return change(event.name, std::nullopt);
    case EventType::execution_retried:
    case EventType::execution_forked: return forget();
    default: return;
  }
}

void LiveData::change(const std::string& key, std::optional<std::string> value) {
  if (!known_) return;
  const auto [entry, fresh] = changes_.try_emplace(key);
  if (fresh) bytes_ += key.size();
  if (entry->second) bytes_ -= entry->second->size();
  entry->second = std::move(value);
  if (entry->second) bytes_ += entry->second->size();
  if (bytes_ > kLiveDataBytesMax) forget();
}

void LiveData::forget() { *this = LiveData{}; }

std::optional<std::string> LiveData::text() const {
  if (!known_) return std::nullopt;
  std::map<std::string, std::string> data;
  if (const auto members = json_members(input_); !input_.empty() && members) {
    for (const auto& member : *members) data.insert_or_assign(member.key, member.value);
  }
  for (const auto& [key, value] : changes_) {
    if (value) {
      data.insert_or_assign(key, *value);
    } else {
      data.erase(key);
    }
  }
  return object_text(data);
}

}  // namespace pawl
