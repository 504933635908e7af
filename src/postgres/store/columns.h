#pragma once

// Rows for one statement, a column at a time: each column is a PostgreSQL array in the binary form of the
// protocol, for `unnest`.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pawl/payload.h"
#include "pawl/time.h"

namespace pawl {

// Element types, of the server's catalogue (pg_type).
enum class PgType : unsigned {
  boolean = 16,
  bytes = 17,
  int8 = 20,
  int2 = 21,
  int4 = 23,
  text = 25,
  time = 1184,  // timestamp with time zone
};

class PgColumn {
 public:
  explicit PgColumn(PgType element);

  void add_null();
  void add(bool value);
  void add(std::int16_t value);
  void add(std::int32_t value);
  void add(std::int64_t value);
  void add(std::string_view value);  // of text and bytes
  void add_time(Timestamp value);
  // NULL where it is empty.
  void add_optional(std::string_view value);

  std::int32_t size() const { return size_; }
  // The array as it is sent; valid until something is added.
  std::string_view bytes();
  void clear();

 private:
  PgType element_;
  std::int32_t size_ = 0;
  bool has_null_ = false;
  std::string bytes_;
};

// A payload's two columns: its bytes and their encoding, or NULL and NULL.
void add_payload(PgColumn& bytes, PgColumn& encoding, const Payload& payload);

// Microseconds since 2000-01-01, as the server counts. What it can't tell apart from infinity is cut off there.
std::int64_t to_pg_time(Timestamp time);
Timestamp from_pg_time(std::int64_t microseconds);

// Numbers as the protocol has them, most significant byte first.
void append_big_endian(std::string& bytes, std::uint64_t value, int count);
std::int64_t read_big_endian(const char* bytes, int count);

}  // namespace pawl
