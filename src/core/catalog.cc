#include "core/catalog.h"

#include <algorithm>

#include "base/name.h"
#include "core/lent_work.h"

namespace pawl {
namespace {

bool is_digit(const char character) { return character >= '0' && character <= '9'; }

// The digits that a text begins with, without leading zeros.
std::string_view number_at(const std::string_view text) {
  std::size_t end = 0;
  while (end < text.size() && is_digit(text[end])) ++end;
  return text.substr(0, end);
}

std::string_view without_zeros(std::string_view digits) {
  while (digits.size() > 1 && digits.front() == '0') digits.remove_prefix(1);
  return digits;
}

}  // namespace

bool version_less(std::string_view left, std::string_view right) {
  while (!left.empty() && !right.empty()) {
    if (is_digit(left.front()) && is_digit(right.front())) {
      const std::string_view left_digits = number_at(left);
      const std::string_view right_digits = number_at(right);
      const std::string_view left_number = without_zeros(left_digits);
      const std::string_view right_number = without_zeros(right_digits);
      if (left_number.size() != right_number.size()) {
        return left_number.size() < right_number.size();
      }
      if (left_number != right_number) return left_number < right_number;
      left.remove_prefix(left_digits.size());
      right.remove_prefix(right_digits.size());
      continue;
    }
    if (left.front() != right.front()) {
      if (left.front() == '-') return true;
      if (right.front() == '-') return false;
      return left.front() < right.front();
    }
    left.remove_prefix(1);
    right.remove_prefix(1);
  }
  if (left.empty() && right.empty()) return false;
  if (left.empty()) return right.front() != '-';
  return left.front() == '-';
}

bool Catalog::add_workflow(const std::string& name, const std::string& version, const HostId host) {
  auto& versions = workflows_[name];
  const auto at = std::lower_bound(versions.begin(), versions.end(), version,
                                   [](const Workflow& known, const std::string& added) {
                                     return version_less(known.version, added);
                                   });
  if (at == versions.end() || at->version != version) {
    versions.insert(at, Workflow{version, host});
    return true;
  }
  if (host == kOtherWorkers && at->host != kOtherWorkers) return false;
  at->host = host;
  return true;
}

bool Catalog::add_action(const std::string& name, const ActionOptions& options, const HostId host) {
  const auto [known, fresh] = actions_.try_emplace(meeting_name(name));
  if (!fresh && host == kOtherWorkers && known->second.host != kOtherWorkers) return false;
  known->second = Action{name, options, host};
  return true;
}

void Catalog::withdraw_workflow(const std::string_view name, const std::string_view version) {
  const auto found = workflows_.find(name);
  if (found == workflows_.end()) return;
  std::erase_if(found->second, [version](const Workflow& known) {
    return known.version == version && known.host == kOtherWorkers;
  });
  if (found->second.empty()) workflows_.erase(found);
}

void Catalog::withdraw_action(const std::string_view name) {
  const auto found = actions_.find(meeting_name(name));
  if (found != actions_.end() && found->second.host == kOtherWorkers) {
    found->second.withdrawn = true;
  }
}

const Catalog::Workflow* Catalog::find_workflow(const std::string_view name,
                                                const std::string_view version) const {
  const auto found = workflows_.find(name);
  if (found == workflows_.end()) return nullptr;
  if (version.empty()) return &found->second.back();
  for (const Workflow& workflow : found->second) {
    if (workflow.version == version) return &workflow;
  }
  return nullptr;
}

const Catalog::Action* Catalog::find_action(const std::string_view name) const {
  const Action* const known = find_known_action(name);
  return known == nullptr || known->withdrawn ? nullptr : known;
}

const Catalog::Action* Catalog::find_known_action(const std::string_view name) const {
  const auto found = actions_.find(meeting_name(name));
  return found == actions_.end() ? nullptr : &found->second;
}

std::vector<std::string> Catalog::workflow_names() const {
  std::vector<std::string> names;
  for (const auto& [name, versions] : workflows_) names.push_back(name);
  return names;
}

std::vector<std::string> Catalog::action_names() const {
  std::vector<std::string> names;
  for (const auto& [meeting, action] : actions_) {
    if (!action.withdrawn) names.push_back(action.name);
  }
  return names;
}

std::vector<std::string> Catalog::versions_of(const std::string_view workflow) const {
  std::vector<std::string> versions;
  const auto found = workflows_.find(workflow);
  if (found == workflows_.end()) return versions;
  for (const Workflow& known : found->second) versions.push_back(known.version);
  return versions;
}

}  // namespace pawl
