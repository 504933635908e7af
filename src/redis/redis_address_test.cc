#include "redis/redis_address.h"

#include <gtest/gtest.h>

#include "redis/receipts.h"
#include "redis/redis_keys.h"

namespace pawl {
namespace {

TEST(RedisAddress, what_is_left_out_is_as_the_server_has_it) {
  const RedisAddress address = parse_redis_address("redis://db.example").value();
  EXPECT_EQ(address.hosts, (std::vector<RedisHost>{{"db.example", 6379}}));
  EXPECT_EQ(address.database, 0);
  EXPECT_EQ(address.prefix, "pawl");
  EXPECT_FALSE(address.tls);
  EXPECT_TRUE(address.master.empty());
  EXPECT_EQ(shown(address), "redis://db.example:6379/0");
}

TEST(RedisAddress, has_a_user_a_password_and_a_database) {
  const RedisAddress address =
      parse_redis_address("redis://ann:p%40ss%2Fw%3F@[::1]:7000/3?prefix=shop").value();
  EXPECT_EQ(address.user, "ann");
  EXPECT_EQ(address.password, "p@ss/w?");
  EXPECT_EQ(address.hosts, (std::vector<RedisHost>{{"::1", 7000}}));
  EXPECT_EQ(address.database, 3);
  EXPECT_EQ(address.prefix, "shop");
  EXPECT_EQ(shown(address), "redis://[::1]:7000/3");
  EXPECT_EQ(parse_redis_address("redis://:secret@h").value().password, "secret");
}

TEST(RedisAddress, verifies_certificates_unless_told_otherwise) {
  EXPECT_TRUE(parse_redis_address("rediss://h").value().verify);
  EXPECT_TRUE(parse_redis_address("rediss://h?verify=yes&ca=/a/ca.pem").value().verify);
  EXPECT_FALSE(parse_redis_address("rediss://h?verify=no").value().verify);
  EXPECT_EQ(parse_redis_address("rediss://h?ca=/a%20b/ca.pem").value().ca_file, "/a b/ca.pem");
}

TEST(RedisAddress, names_sentinels_and_their_master) {
  const RedisAddress address =
      parse_redis_address("rediss+sentinel://u:p@a,b:27000,[::1]/orders/2?sentinel_password=q")
          .value();
  EXPECT_EQ(address.hosts, (std::vector<RedisHost>{{"a", 26379}, {"b", 27000}, {"::1", 26379}}));
  EXPECT_EQ(address.master, "orders");
  EXPECT_EQ(address.database, 2);
  EXPECT_EQ(address.sentinel_password, "q");
  EXPECT_TRUE(address.tls);
  EXPECT_EQ(shown(address), "rediss+sentinel://a:26379,b:27000,[::1]:26379/orders/2");
}

TEST(RedisAddress, what_is_wrong_is_said_without_a_password) {
  for (const char* const text : {"redis:secret",
                                 "http://u:secret@h",
                                 "redis://",
                                 "redis://u:secret@",
                                 "redis://u:secret@h:0",
                                 "redis://u:secret@h:70000",
                                 "redis://u:secret@h:port",
                                 "redis://u:secret@h/db",
                                 "redis://u:secret@h/-1",
                                 "redis://u:secret/w@h",
                                 "redis://u:secret?w@h",
                                 "redis://u:secret#w@h:x",
                                 "redis://u:secret%4@h",
                                 "redis://secret@h",
                                 "redis://u:@h",
                                 "redis://u:secret@h?secret=1",
                                 "redis://u:secret@h?ca",
                                 "redis://u:secret@h?ca=",
                                 "redis://u:secret@h?verify=no",
                                 "rediss://u:secret@h?verify=secret",
                                 "rediss://u:secret@h?cert=a",
                                 "redis://u:secret@h,i",
                                 "redis://u:secret@h?sentinel_password=secret",
                                 "redis+sentinel://u:secret@h,i",
                                 "redis+sentinel://u:secret@h/m/db",
                                 "redis+sentinel://h/m?sentinel_user=secret",
                                 "redis://u:secret@[::1",
                                 "redis+sentinel://u:12/secret@h/m",
                                 "redis://u:12/34?secret@h"}) {
    const auto address = parse_redis_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(address.error().message.find("secret"), std::string::npos)
        << text << " -> " << address.error().message;
    EXPECT_TRUE(address.error().subject.empty());
  }
}

TEST(RedisKeys, those_of_a_store_are_in_one_slot) {
  const RedisKeys keys("pawl", "shop");
  EXPECT_EQ(keys.hints(7), "pawl:{shop}:hints:7");
  EXPECT_EQ(keys.dead(), "pawl:{shop}:dead");
  EXPECT_EQ(keys.answers("w1"), "pawl:{shop}:answers:w1");
  EXPECT_EQ(RedisKeys("a{b", "c}:d").dead(), "a%7Bb:{c%7D%3Ad}:dead");
}

TEST(Receipts, an_entry_is_known_until_its_acknowledgement_is_confirmed) {
  Receipts receipts;
  const StreamEntry entry{3, {1'000, 1}};
  const HintReceipt receipt = receipts.take(entry);
  EXPECT_NE(receipt, 0u);
  EXPECT_EQ(receipts.take(entry), 0u);
  EXPECT_NE(receipts.take({4, {1'000, 1}}), 0u);
  EXPECT_EQ(receipts.acknowledge({receipt, 99}).at(3).ids, (std::vector<StreamId>{entry.id}));
  EXPECT_TRUE(receipts.acknowledge({receipt}).empty());
  EXPECT_EQ(receipts.taken(), 1u);
  EXPECT_EQ(receipts.take(entry), 0u);
  receipts.confirmed(3, {entry.id});
  EXPECT_NE(receipts.take(entry), 0u);
}

TEST(Receipts, what_is_before_all_that_is_open_is_done_with) {
  Receipts receipts;
  std::vector<HintReceipt> taken;
  for (const std::uint64_t sequence : {1, 2, 3, 4})
    taken.push_back(receipts.take({3, {7, sequence}}));
  receipts.take({4, {6, 0}});
  const auto done_before = [&](const HintReceipt receipt) {
    return receipts.acknowledge({receipt}).at(3).before;
  };
  EXPECT_EQ(done_before(taken[1]), (StreamId{7, 1}));
  EXPECT_EQ(done_before(taken[0]), (StreamId{7, 3}));
  EXPECT_EQ(done_before(taken[3]), (StreamId{7, 3}));
  EXPECT_EQ(done_before(taken[2]), (StreamId{7, 4}));

  DoneByPartition all{{3, {{{7, 2}}, {7, 1}}}};
  add({{3, {{{7, 1}}, {7, 3}}}, {4, {{{6, 0}}, {}}}}, all);
  EXPECT_EQ(all.at(3).ids.size(), 2u);
  EXPECT_EQ(all.at(3).before, (StreamId{7, 3}));
  EXPECT_EQ(all.at(4).before, StreamId{});
}

TEST(Receipts, those_of_a_partition_that_was_lost_mean_nothing) {
  Receipts receipts;
  const HintReceipt lost = receipts.take({3, {1'000, 1}});
  const HintReceipt kept = receipts.take({4, {1'000, 1}});
  receipts.forget({3});
  EXPECT_TRUE(receipts.acknowledge({lost}).empty());
  EXPECT_EQ(receipts.acknowledge({kept}).size(), 1u);
  EXPECT_NE(receipts.take({3, {1'000, 1}}), 0u);
}

}  // namespace
}  // namespace pawl
