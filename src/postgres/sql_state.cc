#include "postgres/sql_state.h"

#include <algorithm>
#include <array>
#include <utility>

namespace pawl {

namespace {

using Known = std::pair<std::string_view, FailureClass>;

constexpr std::array kByState{
    Known{"25006", FailureClass::external},     // read-only: another server is the primary now
    Known{"25P03", FailureClass::timeout},      // idle in transaction for too long
    Known{"40002", FailureClass::consistency},  // integrity constraint violation
    Known{"55006", FailureClass::contention},   // object in use
    Known{"55P03", FailureClass::contention},   // lock not available
    Known{"57014", FailureClass::timeout},      // query cancelled: statement_timeout
    Known{"57P04", FailureClass::permanent},    // database dropped
};

// By the first two characters; what is not here is transient.
constexpr std::array kByClass{
    Known{"08", FailureClass::external},     // connection exception
    Known{"0A", FailureClass::permanent},    // feature not supported
    Known{"21", FailureClass::permanent},    // cardinality violation
    Known{"22", FailureClass::permanent},    // data exception
    Known{"23", FailureClass::consistency},  // integrity constraint violation
    Known{"25", FailureClass::permanent},    // invalid transaction state
    Known{"26", FailureClass::permanent},    // invalid statement name
    Known{"28", FailureClass::permanent},    // invalid authorization
    Known{"2B", FailureClass::consistency},  // dependent privilege descriptors exist
    Known{"2D", FailureClass::permanent},    // invalid transaction termination
    Known{"34", FailureClass::permanent},    // invalid cursor name
    Known{"3D", FailureClass::permanent},    // invalid catalog name
    Known{"3F", FailureClass::permanent},    // invalid schema name
    Known{"40", FailureClass::contention},   // transaction rollback
    Known{"42", FailureClass::permanent},    // syntax error or access rule violation
    Known{"44", FailureClass::consistency},  // with check option violation
    Known{"53", FailureClass::external},     // insufficient resources
    Known{"54", FailureClass::permanent},    // program limit exceeded
    Known{"55", FailureClass::permanent},    // object not in prerequisite state
    Known{"57", FailureClass::external},     // operator intervention
    Known{"58", FailureClass::external},     // system error
    Known{"P0", FailureClass::permanent},    // raised by a function
};

template <std::size_t N>
const Known* find(const std::array<Known, N>& among, const std::string_view key) {
  const auto found = std::find_if(among.begin(), among.end(),
                                  [key](const Known& known) { return known.first == key; });
  return found == among.end() ? nullptr : &*found;
}

}  // namespace

FailureClass class_of_sql_state(const std::string_view state) {
  if (const Known* const known = find(kByState, state)) return known->second;
  if (const Known* const known = find(kByClass, state.substr(0, 2))) return known->second;
  return FailureClass::transient;
}

bool is_conflict_state(const std::string_view state) {
  return state == "40001" || state == "40P01";
}

bool refuses_commit(const std::string_view state) {
  return state.starts_with("23") || state.starts_with("P0") || state == "40002" ||
         is_conflict_state(state);
}

}  // namespace pawl
