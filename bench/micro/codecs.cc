// What is written into a history and read from it: attributes, failures, graphs, payloads.

#include <fmt/format.h>
#include <pawl/describe.h>
#include <pawl/json.h>

#include <string>
#include <vector>

#include "counting.h"
#include "model/attributes.h"
#include "model/failure_codec.h"
#include "model/graph_codec.h"
#include "model/history_event.h"
#include "suite.h"

namespace pawl::micro {

namespace {

template <class T>
void keep(const Result<T>& result) {
  if (!result) std::abort();
  benchmark::DoNotOptimize(*result);
}

template <class Attributes>
void add_attributes(Suite& suite, const std::string& name, const Attributes& attributes) {
  suite.add("codec/" + name + "/encode", [attributes](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) benchmark::DoNotOptimize(encode(attributes));
  });
  suite.add("codec/" + name + "/decode", [text = encode(attributes)](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) keep(decode<Attributes>(text, kHistoryCodec));
  });
}

StartedAttributes started() {
  StartedAttributes attributes;
  attributes.version = "1.0.0";
  attributes.user_id = "ann";
  attributes.correlation_id = "018c2f5e-7000-8000-9000-00000000cafe";
  attributes.seed = 0x9e3779b97f4a7c15;
  attributes.rules = 3;
  return attributes;
}

ScheduledAttributes scheduled() {
  ScheduledAttributes attributes;
  attributes.options.retry = RetryPolicy{.max_attempts = 7, .non_retryable = {"CardDeclined"}};
  attributes.options.timeout = 30'000;
  return attributes;
}

WaitAttributes wait() {
  WaitAttributes attributes;
  attributes.names = {"Approve", "Reject"};
  attributes.timeout = 86'400'000;
  return attributes;
}

Failure failure() {
  Failure inner;
  inner.name = "Error";
  inner.message = "connect ECONNREFUSED 127.0.0.1:5432";
  inner.stack =
      "Error: connect ECONNREFUSED\n    at TCPConnectWrap.afterConnect (node:net:1595:16)";
  inner.code = "ECONNREFUSED";
  Failure outer;
  outer.name = "DatabaseError";
  outer.message = "the order could not be saved";
  outer.details_json = R"({"order":"o-1","attempt":3})";
  outer.causes.push_back(inner);
  return outer;
}

StartGraphCommand graph() {
  StartGraphCommand command;
  command.position = 1;
  for (int i = 0; i < 100; ++i) {
    GraphAction action;
    action.id = fmt::format("step-{}", i);
    action.name = "DoWork";
    action.parameters = Payload::json(fmt::format(R"({{"number":{}}})", i));
    if (i > 0) action.depends_on = {fmt::format("step-{}", i / 2)};
    command.actions.push_back(std::move(action));
  }
  return command;
}

struct Line {
  std::string article;
  int quantity = 0;
  double price = 0;
};
PAWL_DESCRIBE(Line, article, quantity, price);

struct Order {
  std::string id;
  std::string customer;
  std::vector<Line> lines;
};
PAWL_DESCRIBE(Order, id, customer, lines);

// Its JSON has about that many bytes.
Order order(const std::size_t bytes) {
  Order made{"o-4711", "Blumenhaus Müller", {}};
  for (std::size_t i = 0; i * 57 < bytes; ++i) {
    made.lines.push_back({fmt::format("article {:06}", i), static_cast<int>(i % 9), 12.25});
  }
  return made;
}

void add_payloads(Suite& suite, const std::string& size, const std::size_t bytes) {
  const Order made = order(bytes);
  const Payload payload = to_payload(made).value();
  suite.add("json/write/" + size, [made](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) keep(to_payload(made));
  });
  suite.add("json/read/" + size, [payload](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) keep(from_payload<Order>(payload));
  });
  suite.add("json/parse/" + size, [payload](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) keep(Json::parse(payload.bytes));
  });
  suite.add("json/dump/" + size,
            [json = Json::parse(payload.bytes).value()](benchmark::State& state) {
              Meter meter(state);
              while (state.KeepRunning()) keep(json.dump());
            });
}

}  // namespace

void add_codecs(Suite& suite) {
  add_attributes(suite, "started", started());
  add_attributes(suite, "received", ReceivedAttributes{"018c2f5e-7000", "bob", 1'700'000'000'000});
  add_attributes(suite, "scheduled", scheduled());
  add_attributes(suite, "wait", wait());
  suite.add("codec/failure/encode", [made = failure()](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) benchmark::DoNotOptimize(encode_failure(made));
  });
  suite.add("codec/failure/decode", [text = encode_failure(failure())](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) benchmark::DoNotOptimize(decode_failure(text));
  });
  suite.add("codec/graph_of_100/encode", [made = graph()](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) benchmark::DoNotOptimize(encode_graph(made));
  });
  suite.add("codec/graph_of_100/decode", [text = encode_graph(graph())](benchmark::State& state) {
    Meter meter(state);
    while (state.KeepRunning()) keep(decode_graph(text));
  });
  add_payloads(suite, "128B", 1);
  add_payloads(suite, "4KiB", 4'096);
  add_payloads(suite, "256KiB", 262'144);
}

}  // namespace pawl::micro
