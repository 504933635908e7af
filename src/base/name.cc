#include "base/name.h"

#include <algorithm>
#include <utility>

namespace pawl {

namespace {

// Names come from outside; the cost of a comparison grows with the product of both lengths.
constexpr std::size_t kCompared = 64;

// Insertions, deletions, substitutions and swaps of neighbours that turn a into b (optimal string
// alignment distance), over three rolling rows.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> above(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substituted = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

std::string meeting_name(std::string_view name) {
  std::string met;
  met.reserve(name.size());
  for (const char c : name) {
    if (c == '_' || c == '-') continue;
    met += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return met;
}

std::vector<std::string> nearest_names(std::string_view wanted,
                                       const std::vector<std::string>& known, std::size_t max) {
  const std::string from = meeting_name(wanted).substr(0, kCompared);
  std::vector<std::pair<std::size_t, const std::string*>> near;
  for (const std::string& name : known) {
    const std::string to = meeting_name(name).substr(0, kCompared);
    const std::size_t longer = std::max(from.size(), to.size());
    // A third of the letters may differ, two in short names; but not every letter.
    const std::size_t tolerated =
        std::min(std::max<std::size_t>(2, longer / 3), longer - (longer > 0));
    const bool begins = from.size() >= 3 && to.starts_with(from);
    const std::size_t distance = edit_distance(from, to);
    if (distance <= tolerated || begins) near.emplace_back(distance, &name);
  }
  std::sort(near.begin(), near.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : *a.second < *b.second;
  });
  if (near.size() > max) near.resize(max);
  std::vector<std::string> names;
  names.reserve(near.size());
  for (const auto& [distance, name] : near) names.push_back(*name);
  return names;
}

}  // namespace pawl
