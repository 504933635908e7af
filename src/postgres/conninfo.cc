#include "postgres/conninfo.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>
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

}  // namespace

Result<PostgresParameters> parameters_of(const std::string& conninfo,
                                         const std::vector<std::string>& settings) {
  char* why = nullptr;
  const std::unique_ptr<PQconninfoOption, ConninfoDelete> parsed(
      PQconninfoParse(conninfo.c_str(), &why));
  if (parsed == nullptr) {
    Error error{ErrorCode::invalid_argument,
                fmt::format("what the database was opened with is not understood: {}",
                            why == nullptr ? "" : why),
                {}};
    PQfreemem(why);
    return error;
  }
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
