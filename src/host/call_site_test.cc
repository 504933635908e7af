#include "host/call_site.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <source_location>
#include <string>
#include <vector>

#include "pawl/pawl.h"
#include "tests/support/coroutine_driver.h"

namespace call_site_shapes {

struct Quiet {
  struct Parameters {
    int amount = 0;
  };
};
PAWL_DESCRIBE(Quiet::Parameters, amount);

}  // namespace call_site_shapes

namespace pawl {
namespace {

using namespace std::chrono_literals;
using call_site_shapes::Quiet;
using testing_support::CoroutineDriver;

std::string line(const unsigned number) {
  return "host/call_site_test.cc:" + std::to_string(number) + ":";
}

// One of each, on lines that follow each other.
constexpr unsigned kFirstLine = std::source_location::current().line() + 2;
Workflow<> asks_for_everything(Context& ctx) {
  const std::string to = "wf-2";  // kFirstLine
  ctx.set_state("one");
  ctx.data().set("key", 1);
  ctx.data().erase("key");
  ctx.emit("Told");
  ctx.emit("Told", 5);
  ctx.emit_to(to, "Told");
  ctx.emit_to(to, "Told", 5);
  if (ctx.patched("change")) ctx.set_state("patched");
  auto child = ctx.start_child("Other");
  auto other = ctx.start_child("Other", 5);
  child.cancel();
  auto first = ctx.run<Quiet>({.amount = 1});
  Quiet::Parameters named{2};
  auto second = ctx.run<Quiet>(named);
  auto third = ctx.run_named("other", named);
  auto wait = ctx.wait_for("A", to);
  auto bounded = ctx.wait_for("B").within(5s);
  auto condition = ctx.condition([] { return false; });
  co_await pawl::any(condition, wait);
  co_await ctx.sleep(5s);
  co_await ctx.continue_as_new(7);
}

TEST(CallSite, EachCommandIsGivenWithTheLineOfItsCall) {
  CoroutineDriver driver(asks_for_everything);
  const auto check = [](const ActivationResult& result, const std::vector<unsigned>& offsets) {
    ASSERT_EQ(result.commands.size(), offsets.size());
    for (std::size_t index = 0; index < offsets.size(); ++index) {
      EXPECT_EQ(std::string(result.sites[index]).find(line(kFirstLine + offsets[index])), 0U)
          << index << ": " << result.sites[index];
    }
  };
  check(driver.start(), {1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18});
  // What any() withdraws has no place of its own.
  const ActivationResult met = driver.deliver({CoroutineDriver::event(6, "A")});
  ASSERT_EQ(met.commands.size(), 2U);
  ASSERT_EQ(met.sites.size(), 2U);
  EXPECT_EQ(met.sites[0], "");
  EXPECT_EQ(std::string(met.sites[1]).find(line(kFirstLine + 20)), 0U) << met.sites[1];
  check(driver.deliver({CoroutineDriver::fired(9)}), {21});
}

TEST(CallSite, NamesTheLastPartsOfThePathAndStaysTheSame) {
  const auto here = std::source_location::current();
  const CallSite site = call_site(here);
  EXPECT_EQ(std::string(site), line(here.line()) + std::to_string(here.column()));
  EXPECT_EQ(call_site(here).data(), site.data());
}

}  // namespace
}  // namespace pawl
