#include "postgres/store/columns.h"

#include <algorithm>

namespace pawl {
namespace {

// Of the array's head: dimensions, whether there are NULLs, the element type, how many, the first index.
constexpr int kHeadBytes = 20;
constexpr std::int64_t kEpochDifferenceMs = 946'684'800'000;  // 2000-01-01 after 1970-01-01
// The last that the server knows: in the year 294276.
constexpr std::int64_t kTimeMaxMs = 9'224'318'015'999'999;
constexpr std::int64_t kMicrosecondsPerMs = 1'000;

}  // namespace

void append_big_endian(std::string& bytes, const std::uint64_t value, const int count) {
  for (int byte = count - 1; byte >= 0; --byte) {
    bytes.push_back(static_cast<char>((value >> (8 * byte)) & 0xff));
  }
}

std::int64_t read_big_endian(const char* const bytes, const int count) {
  std::uint64_t value = 0;
  for (int byte = 0; byte < count; ++byte) {
    value = (value << 8) | static_cast<unsigned char>(bytes[byte]);
  }
  // The sign of what is narrower.
  const int unused = 64 - 8 * count;
  return static_cast<std::int64_t>(value << unused) >> unused;
}

std::int64_t to_pg_time(const Timestamp time) {
  return (std::min<std::int64_t>(time, kTimeMaxMs) - kEpochDifferenceMs) * kMicrosecondsPerMs;
}

Timestamp from_pg_time(const std::int64_t microseconds) {
  // Downwards, also before 2000.
  std::int64_t ms = microseconds / kMicrosecondsPerMs;
  if (microseconds % kMicrosecondsPerMs < 0) --ms;
  return ms + kEpochDifferenceMs;
}

PgColumn::PgColumn(const PgType element) : element_(element) { clear(); }

void PgColumn::clear() {
  size_ = 0;
  has_null_ = false;
  bytes_.assign(kHeadBytes, '\0');
}

void PgColumn::add_null() {
  has_null_ = true;
  ++size_;
  append_big_endian(bytes_, ~std::uint64_t{0}, 4);
}

void PgColumn::add(const bool value) {
  ++size_;
  append_big_endian(bytes_, 1, 4);
  bytes_.push_back(value ? '\1' : '\0');
}

void PgColumn::add(const std::int16_t value) {
  ++size_;
  append_big_endian(bytes_, 2, 4);
  append_big_endian(bytes_, static_cast<std::uint16_t>(value), 2);
}

void PgColumn::add(const std::int32_t value) {
  ++size_;
  append_big_endian(bytes_, 4, 4);
  append_big_endian(bytes_, static_cast<std::uint32_t>(value), 4);
}

void PgColumn::add(const std::int64_t value) {
  ++size_;
  append_big_endian(bytes_, 8, 4);
  append_big_endian(bytes_, static_cast<std::uint64_t>(value), 8);
}

void PgColumn::add(const std::string_view value) {
  ++size_;
  append_big_endian(bytes_, value.size(), 4);
  bytes_ += value;
}

void PgColumn::add_time(const Timestamp value) { add(to_pg_time(value)); }

void PgColumn::add_optional(const std::string_view value) {
  if (value.empty()) {
    add_null();
  } else {
    add(value);
  }
}

std::string_view PgColumn::bytes() {
  std::string head;
  append_big_endian(head, size_ == 0 ? 0 : 1, 4);
  append_big_endian(head, has_null_ ? 1 : 0, 4);
  append_big_endian(head, static_cast<unsigned>(element_), 4);
  append_big_endian(head, static_cast<std::uint32_t>(size_), 4);
  append_big_endian(head, 1, 4);
  std::copy(head.begin(), head.end(), bytes_.begin());
  // An empty array has no dimension.
  constexpr std::size_t kHeadOfEmpty = 12;
  return size_ == 0 ? std::string_view(bytes_).substr(0, kHeadOfEmpty) : std::string_view(bytes_);
}

void add_payload(PgColumn& bytes, PgColumn& encoding, const Payload& payload) {
  if (payload.is_none()) {
    bytes.add_null();
    encoding.add_null();
    return;
  }
  bytes.add(std::string_view(payload.bytes));
  encoding.add(static_cast<std::int16_t>(payload.encoding));
}

}  // namespace pawl
