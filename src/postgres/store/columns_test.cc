#include "postgres/store/columns.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace pawl {
namespace {

using namespace std::string_literals;

TEST(PgColumn, IsAnArrayInBinaryForm) {
  PgColumn numbers(PgType::int4);
  numbers.add(std::int32_t{-2});
  numbers.add_null();
  EXPECT_EQ(numbers.bytes(),
            "\0\0\0\1"          // dimensions
            "\0\0\0\1"          // there are NULLs
            "\0\0\0\x17"        // of int4
            "\0\0\0\2\0\0\0\1"  // two, from 1 on
            "\0\0\0\4\xff\xff\xff\xfe"
            "\xff\xff\xff\xff"s);
  EXPECT_EQ(numbers.size(), 2);
}

TEST(PgColumn, WithoutRowsHasNoDimension) {
  PgColumn texts(PgType::text);
  EXPECT_EQ(texts.bytes(), "\0\0\0\0\0\0\0\0\0\0\0\x19"s);
  texts.add(std::string_view("é"));
  EXPECT_EQ(texts.size(), 1);
  texts.clear();
  EXPECT_EQ(texts.bytes(), "\0\0\0\0\0\0\0\0\0\0\0\x19"s);
}

TEST(PgColumn, KeepsWhatIsEmptyApartFromWhatIsNot) {
  PgColumn texts(PgType::text);
  texts.add(std::string_view(""));
  texts.add_optional("");
  EXPECT_EQ(texts.bytes().substr(20), "\0\0\0\0\xff\xff\xff\xff"s);
}

TEST(PgTime, IsInMicrosecondsSince2000) {
  EXPECT_EQ(to_pg_time(946'684'800'000), 0);
  EXPECT_EQ(to_pg_time(0), -946'684'800'000'000);
  for (const Timestamp time :
       {Timestamp{0}, Timestamp{1}, Timestamp{-1}, Timestamp{1'732'752'000'123}}) {
    EXPECT_EQ(from_pg_time(to_pg_time(time)), time);
  }
  EXPECT_EQ(from_pg_time(-1), 946'684'799'999) << "downwards";
}

TEST(PgTime, EndsWithTheServersOwn) {
  // 294276-12-31 23:59:59.999
  EXPECT_EQ(to_pg_time(std::numeric_limits<Timestamp>::max()), 9'223'371'331'199'999'000);
}

TEST(PgNumbers, AreReadWithTheirSign) {
  for (const std::int64_t value :
       {std::int64_t{0}, std::int64_t{-1}, std::int64_t{32'767}, std::int64_t{-32'768}}) {
    for (const int bytes : {2, 4, 8}) {
      std::string text;
      append_big_endian(text, static_cast<std::uint64_t>(value), bytes);
      EXPECT_EQ(read_big_endian(text.data(), bytes), value) << bytes;
    }
  }
}

}  // namespace
}  // namespace pawl
