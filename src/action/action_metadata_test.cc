#include "pawl/action_metadata.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "pawl/pawl.h"
#include "tests/support/temporary_folder.h"

namespace described {

struct Line {
  std::string item;
};
PAWL_DESCRIBE(Line, item);

enum class Speed { slow, fast };
BOOST_DESCRIBE_ENUM(Speed, slow, fast)

struct ShipOrder {
  struct Parameters {
    std::string order_id;
    std::int64_t cents = 0;
    bool gift = false;
    std::vector<Line> lines;
    Line first;
    std::map<std::string, double> weights;
    Speed speed = Speed::slow;
    pawl::Json note;
    std::optional<std::int32_t> floor;
    std::optional<pawl::Json> extra;
  };
  struct Result {
    std::string parcel;
    std::optional<std::string> tracking;
  };
  static constexpr std::string_view name = "ship_order";
  static constexpr std::string_view description = "Hands an order to the courier";
  static constexpr std::string_view category = "shipping";
};
PAWL_DESCRIBE(ShipOrder::Parameters, order_id, cents, gift, lines, first, weights, speed, note,
              floor, extra);
PAWL_DESCRIBE(ShipOrder::Result, parcel, tracking);

struct CountParcels {
  struct Parameters {};
  using Result = std::vector<int>;
};
PAWL_DESCRIBE(CountParcels::Parameters);

struct Note {
  struct Parameters {
    std::string text;
    pawl::OtherMembers more;
    std::optional<int> level;
  };
};
PAWL_DESCRIBE(Note::Parameters, text, more, level);

}  // namespace described

namespace pawl {
namespace {

using described::CountParcels;
using described::Note;
using described::ShipOrder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ActionMetadataTest : public testing::Test {
 protected:
  TemporaryFolder folder_;
  WorkflowRuntime runtime_ =
      WorkflowRuntime::open({.store = "sqlite:" + folder_.file("store.db"), .log = [](auto&) {}})
          .value();
};

TEST_F(ActionMetadataTest, AnActionIsDescribedByItsTypes) {
  runtime_
      .register_action<ShipOrder>([](const ShipOrder::Parameters&) { return ShipOrder::Result{}; },
                                  {.retry = {.max_attempts = 2},
                                   .timeout = std::chrono::seconds(3),
                                   .concurrency_max = 4,
                                   .rate_limit = RateLimit{.max = 5, .per = 1'000}})
      .value();
  const auto metadata = runtime_.action_metadata("SHIP-Order");
  ASSERT_TRUE(metadata);
  EXPECT_EQ(metadata->name, "ship_order");
  EXPECT_EQ(metadata->description, "Hands an order to the courier");
  EXPECT_EQ(metadata->category, "shipping");
  EXPECT_THAT(
      metadata->parameters,
      ElementsAre(ActionMember{"order_id", "string", true}, ActionMember{"cents", "number", true},
                  ActionMember{"gift", "boolean", true}, ActionMember{"lines", "array", true},
                  ActionMember{"first", "object", true}, ActionMember{"weights", "object", true},
                  ActionMember{"speed", "string", true}, ActionMember{"note", "any", true},
                  ActionMember{"floor", "number", false}, ActionMember{"extra", "any", false}));
  EXPECT_FALSE(metadata->other_parameters);
  EXPECT_EQ(metadata->result_type, "object");
  EXPECT_THAT(metadata->result, ElementsAre(ActionMember{"parcel", "string", true},
                                            ActionMember{"tracking", "string", false}));
  EXPECT_EQ(metadata->isolation, std::nullopt);
  EXPECT_EQ(metadata->options.retry->max_attempts, 2);
  EXPECT_EQ(metadata->options.timeout, 3'000);
  EXPECT_EQ(metadata->options.concurrency_max, 4);
  EXPECT_EQ(metadata->options.rate_limit->max, 5);
  EXPECT_FALSE(metadata->built_in);
}

TEST_F(ActionMetadataTest, AllAreListedOrThoseOfACategory) {
  EXPECT_THAT(runtime_.actions(), IsEmpty());
  EXPECT_EQ(runtime_.action_metadata("ship_order"), std::nullopt);
  runtime_
      .register_action<ShipOrder>([](const ShipOrder::Parameters&) { return ShipOrder::Result{}; })
      .value();
  runtime_
      .register_database_action<CountParcels>(
          [](const CountParcels::Parameters&, Transaction&) { return std::vector<int>{}; })
      .value();
  runtime_.register_action<Note>([](const Note::Parameters&) {}).value();

  const auto names = [](const std::vector<ActionMetadata>& actions) {
    std::vector<std::string> all;
    for (const ActionMetadata& action : actions) all.push_back(action.name);
    return all;
  };
  EXPECT_THAT(names(runtime_.actions()), ElementsAre("CountParcels", "Note", "ship_order"));
  EXPECT_THAT(names(runtime_.actions("shipping")), ElementsAre("ship_order"));
  EXPECT_THAT(names(runtime_.actions("ship")), IsEmpty());
  EXPECT_THAT(names(runtime_.actions("")), ElementsAre("CountParcels", "Note"));

  const auto counted = runtime_.action_metadata("count_parcels");
  EXPECT_EQ(counted->isolation, IsolationLevel::serializable);
  EXPECT_EQ(counted->result_type, "array");
  EXPECT_THAT(counted->result, IsEmpty());
  EXPECT_THAT(counted->parameters, IsEmpty());
  const auto note = runtime_.action_metadata("note");
  EXPECT_EQ(note->result_type, "");
  EXPECT_TRUE(note->other_parameters);
  EXPECT_THAT(note->parameters, ElementsAre(ActionMember{"text", "string", true},
                                            ActionMember{"level", "number", false}));
}

TEST_F(ActionMetadataTest, AReplacementIsDescribedInPlaceOfWhatItReplaces) {
  const auto handler = [](const Note::Parameters&) {};
  runtime_.register_action<Note>(handler).value();
  EXPECT_EQ(
      runtime_.register_action<Note>(handler, {.timeout = std::chrono::seconds(1)}).error().code,
      ErrorCode::already_exists);
  EXPECT_EQ(runtime_.action_metadata("note")->options.timeout, std::nullopt);
  runtime_.register_action<Note>(handler, {.timeout = std::chrono::seconds(1)}, true).value();
  EXPECT_EQ(runtime_.action_metadata("note")->options.timeout, 1'000);
}

TEST(OtherMembersTest, KeepWhatIsNotDeclared) {
  const auto read = from_payload<Note::Parameters>(
      Payload::json(R"({"who":"ann","text":"hi","n":[1,2]})"), UnknownMembers::refuse);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->text, "hi");
  EXPECT_EQ(read->level, std::nullopt);
  ASSERT_EQ(read->more.members.size(), 2U);
  EXPECT_EQ(to_payload(*read).value().bytes, R"({"text":"hi","who":"ann","n":[1,2]})");
  EXPECT_THAT(from_payload<Note::Parameters>(Payload::json("{}")).error().message,
              HasSubstr("$.text: is required and missing"));

  Note::Parameters clash;
  clash.more.members = {{"level", 3}};
  EXPECT_THAT(to_payload(clash).error().message, HasSubstr("$.level: is declared"));
}

TEST_F(ActionMetadataTest, AHandlerLogs) {
  std::vector<LogLine> lines;
  {
    auto runtime =
        WorkflowRuntime::open({.store = "sqlite:" + folder_.file("logs.db"),
                               .log = [&lines](const LogLine& line) { lines.push_back(line); }})
            .value();
    runtime
        .register_action<Note>([](const Note::Parameters& p, const ActionContext& context) {
          context.log(LogLevel::info, p.text);
          context.log(LogLevel::warn, "more", p.more.members.size());
        })
        .value();
    Note::Parameters parameters;
    parameters.text = "hello";
    runtime
        .execute_action<Note>(parameters,
                              {.tenant = "acme", .idempotency_key = "k", .execution_id = "order-1"})
        .value();
  }
  ASSERT_GE(lines.size(), 2U);
  EXPECT_EQ(lines[0].message, "hello");
  EXPECT_EQ(lines[0].tenant, "acme");
  EXPECT_EQ(lines[0].execution_id, "order-1");
  EXPECT_TRUE(lines[0].details.is_none());
  EXPECT_EQ(lines[1].level, LogLevel::warn);
  EXPECT_EQ(lines[1].details.bytes, "[0]");
}

}  // namespace
}  // namespace pawl
