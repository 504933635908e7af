#include "action/record_actions.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "action/nearest.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "pawl/builtin_actions.h"
#include "pawl/database.h"

namespace pawl {

namespace {

using namespace actions;

constexpr std::string_view kBytes = "$bytes";

// Caught where the action ends, as a failure of class validation.
[[noreturn]] void refuse(std::string message) {
  throw FailureException(detail::validation_failure(std::move(message)));
}

template <class T>
T value_of(SqlResult<T> result) {
  if (!result) throw FailureException(result.error());
  return std::move(*result);
}

std::string lower_case(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return text;
}

// Tables of Pawl's, and of databases themselves.
bool is_of_others(const std::string& name) {
  constexpr std::array<std::string_view, 4> kPrefixes{"workflow_", "pawl_", "sqlite_", "pg_"};
  const std::string lower = lower_case(name);
  return lower == "information_schema" ||
         std::any_of(kPrefixes.begin(), kPrefixes.end(),
                     [&lower](const std::string_view prefix) { return lower.starts_with(prefix); });
}

std::string quoted(const std::string_view identifier) {
  std::string text = "\"";
  for (const char c : identifier) {
    if (c == '"') text += '"';
    text += c;
  }
  return text + '"';
}

// {"$bytes": base64} as a blob.
std::optional<Blob> blob_of(const Json& value) {
  if (!value.is_object() || value.as_object().size() != 1) return std::nullopt;
  const Json* const text = value.find(kBytes);
  if (text == nullptr || !text->is_string()) return std::nullopt;
  const auto bytes = from_base64(text->as_string());
  if (!bytes) return std::nullopt;
  Blob blob(bytes->size());
  if (!bytes->empty()) std::memcpy(blob.data(), bytes->data(), bytes->size());
  return blob;
}

// Objects and lists are JSON in a column.
SqlValue stored(const Json& value) {
  if (value.is_null()) return std::monostate{};
  if (value.is_bool()) return std::int64_t{value.as_bool() ? 1 : 0};
  if (value.is_integer()) return value.as_integer();
  if (value.is_number()) return value.as_double();
  if (value.is_string()) return value.as_string();
  if (auto blob = blob_of(value)) return std::move(*blob);
  return value.dump().value();
}

Json bytes_of(const std::string_view bytes) {
  return Json::object({{std::string(kBytes), to_base64(bytes)}});
}

// As JSON carries it.
Json json_of(const SqlValue& value) {
  if (const auto* const integer = std::get_if<std::int64_t>(&value)) {
    if (*integer > kJsonIntegerMax || *integer < -kJsonIntegerMax) return std::to_string(*integer);
    return *integer;
  }
  if (const auto* const real = std::get_if<double>(&value)) return *real;
  if (const auto* const text = std::get_if<std::string>(&value)) {
    if (find_invalid_utf8(*text) == std::string_view::npos) return *text;
    return bytes_of(*text);
  }
  if (const auto* const blob = std::get_if<Blob>(&value)) {
    return bytes_of({reinterpret_cast<const char*>(blob->data()), blob->size()});
  }
  return nullptr;
}

// A statement as it grows, with the values that its parameters have.
struct Statement {
  std::string text;
  std::vector<SqlValue> values;

  // What stands for the value.
  std::string bind(SqlValue value) {
    values.push_back(std::move(value));
    return fmt::format("${}", values.size());
  }
};

// A table of the application's that is there, and its columns.
class Table {
 public:
  Table(Transaction& sql, std::string name) : sql_(sql), name_(std::move(name)) {
    check_name();
    columns_ = value_of(sql_.query<std::string>("SELECT name FROM pragma_table_info($1)", name_));
    if (!columns_.empty()) return;
    refuse(fmt::format("There is no table '{}'{}", name_, did_you_mean(name_, names())));
  }

  std::string quoted_name() const { return quoted(name_); }

  // Refuses what is not a column of it, or none at all. `parameter` says where they were given.
  void check(const std::string_view parameter, const Columns& given) const {
    if (given.empty()) refuse(fmt::format("{} has no column: say which", parameter));
    for (const auto& [column, value] : given) {
      if (std::find(columns_.begin(), columns_.end(), column) != columns_.end()) continue;
      refuse(fmt::format("{}: the table '{}' has no column '{}'{}", parameter, name_, column,
                         did_you_mean(column, columns_)));
    }
  }

  // " WHERE …", after a check.
  void add_where(Statement& statement, const Columns& where) const {
    check("where", where);
    std::string_view between = " WHERE ";
    for (const auto& [column, value] : where) {
      statement.text += between;
      statement.text += condition(statement, quoted(column), value);
      between = " AND ";
    }
  }

  SqlRows run(const Statement& statement) const {
    return value_of(sql_.run(statement.text, statement.values));
  }

 private:
  void check_name() const {
    const std::size_t point = name_.find('.');
    const std::string last = point == std::string::npos ? name_ : name_.substr(point + 1);
    if (point == 0 || last.empty() || last.find('.') != std::string::npos) {
      refuse(fmt::format("'{}' is no name of a table: it is written 'table' or 'schema.table'",
                         name_));
    }
    if (is_of_others(last) || is_of_others(name_.substr(0, point))) {
      refuse(fmt::format(
          "The table '{}' is none of the application's: records of it are not for actions", name_));
    }
    if (point != std::string::npos) {
      refuse(fmt::format("There is no table '{}': SQLite has no schemas. Name the table alone",
                         name_));
    }
  }

  std::vector<std::string> names() const {
    auto all = value_of(
        sql_.query<std::string>("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')"));
    std::erase_if(all, is_of_others);
    return all;
  }

  static std::string condition(Statement& statement, const std::string& column, const Json& value) {
    if (value.is_null()) return column + " IS NULL";
    if (!value.is_array()) return column + " = " + statement.bind(stored(value));
    if (value.as_array().empty()) return "1 = 0";
    std::vector<std::string> places;
    for (const Json& one : value.as_array()) places.push_back(statement.bind(stored(one)));
    return fmt::format("{} IN ({})", column, fmt::join(places, ", "));
  }

  Transaction& sql_;
  std::string name_;
  std::vector<std::string> columns_;
};

CreateDatabaseRecord::Result create_record(const CreateDatabaseRecord::Parameters& p,
                                           Transaction& sql) {
  const Table table(sql, p.table);
  table.check("record", p.record);
  Statement insert;
  std::vector<std::string> columns;
  std::vector<std::string> places;
  for (const auto& [column, value] : p.record) {
    columns.push_back(quoted(column));
    places.push_back(insert.bind(stored(value)));
  }
  insert.text = fmt::format("INSERT INTO {} ({}) VALUES ({}) RETURNING *", table.quoted_name(),
                            fmt::join(columns, ", "), fmt::join(places, ", "));
  const SqlRows created = table.run(insert);
  CreateDatabaseRecord::Result result;
  if (created.rows.empty()) return result;  // a trigger kept it out
  for (std::size_t at = 0; at < created.columns.size(); ++at) {
    result.record.emplace(created.columns[at], json_of(created.rows.front()[at]));
  }
  return result;
}

UpdateDatabaseRecord::Result update_records(const UpdateDatabaseRecord::Parameters& p,
                                            Transaction& sql) {
  const Table table(sql, p.table);
  table.check("changes", p.changes);
  Statement update;
  std::vector<std::string> changes;
  for (const auto& [column, value] : p.changes) {
    changes.push_back(fmt::format("{} = {}", quoted(column), update.bind(stored(value))));
  }
  update.text = fmt::format("UPDATE {} SET {}", table.quoted_name(), fmt::join(changes, ", "));
  table.add_where(update, p.where);
  return {.count = table.run(update).changed};
}

DeleteDatabaseRecord::Result delete_records(const DeleteDatabaseRecord::Parameters& p,
                                            Transaction& sql) {
  const Table table(sql, p.table);
  Statement remove{.text = fmt::format("DELETE FROM {}", table.quoted_name()), .values = {}};
  table.add_where(remove, p.where);
  return {.count = table.run(remove).changed};
}

}  // namespace

void add_record_actions(detail::BuiltinRegistration& builtins) {
  builtins.add_to_database<CreateDatabaseRecord>(create_record);
  builtins.add_to_database<UpdateDatabaseRecord>(update_records);
  builtins.add_to_database<DeleteDatabaseRecord>(delete_records);
}

}  // namespace pawl
