#include "postgres/conninfo.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <regex>
#include <utility>

namespace pawl {
namespace {

// What a peer that has vanished is noticed by; libpq's own would be hours.
constexpr std::pair<const char*, const char*> kDefaults[] = {{"fallback_application_name", "pawl"},
                                                             {"keepalives_idle", "15"},
                                                             {"keepalives_interval", "5"},
                                                             {"keepalives_count", "3"},
                                                             {"tcp_user_timeout", "30000"}};

struct ConninfoDelete {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};

using Conninfo = std::unique_ptr<PQconninfoOption, ConninfoDelete>;

// libpq tells what it does not understand in its own words, and these have the password where that is in it.
Error refusal_of(const std::string& conninfo) {
  static const std::regex user(R"(^(\w+://[^:@]*:).*@)");
  static const std::regex parameter(R"((password\s*=\s*)('[^']*'|[^&\s]*))", std::regex::icase);
  const std::string without =
      std::regex_replace(std::regex_replace(conninfo, user, "$1-@"), parameter, "$1-");
  char* said = nullptr;
  const Conninfo parsed(PQconninfoParse(without.c_str(), &said));
  std::string why = "its password has to be written as in a URL, with %25 for %";
  if (said != nullptr) why = said;
  PQfreemem(said);
  while (why.ends_with('\n')) why.pop_back();
  return {ErrorCode::invalid_argument,
          fmt::format("what the database was opened with is not understood: {}", why),
          {}};
}

}  // namespace

Result<PostgresParameters> parameters_of(const std::string& conninfo,
                                         const std::vector<std::string>& settings) {
  const Conninfo parsed(PQconninfoParse(conninfo.c_str(), nullptr));
  if (parsed == nullptr) return refusal_of(conninfo);
  PostgresParameters parameters;
  const auto set = [&parameters](std::string key, std::string value) {
    parameters.keys.push_back(std::move(key));
    parameters.values.push_back(std::move(value));
  };
  for (const auto& [key, value] : kDefaults) set(key, value);
  std::string options;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val == nullptr) continue;
    if (std::strcmp(option->keyword, "options") == 0) {
      options = option->val;
    } else {
      set(option->keyword, option->val);
    }
  }
  for (const std::string& setting : settings) options += " -c " + setting;
  if (!options.empty()) set("options", options);
  set("client_encoding", "UTF8");
  return parameters;
}

}  // namespace pawl
