#include "model/graph_codec.h"

#include <fmt/format.h>

#include "model/attributes.h"
#include "model/history_event.h"
#include "model/json_object.h"

namespace pawl {
namespace {

Error unreadable(const std::string_view why) {
  return {
      ErrorCode::internal, fmt::format("the graph of a history record can't be read: {}", why), {}};
}

void write_call(ObjectWriter& writer, const std::string& name, const Payload& parameters,
                const ActionOptions& options) {
  writer.text("name", name);
  if (!parameters.is_none()) writer.raw("parameters", parameters.bytes);
  const std::string encoded = encode(ScheduledAttributes{options});
  if (!encoded.empty()) writer.raw("options", encoded);
}

Result<void> read_call(ObjectReader& reader, std::string& name, Payload& parameters,
                       ActionOptions& options) {
  reader.text("name", name);
  parameters = Payload::json(std::string(reader.raw("parameters")));
  if (!reader.has("options")) return {};
  auto decoded = decode<ScheduledAttributes>(reader.raw("options"), kHistoryCodec);
  if (!decoded) return decoded.error();
  options = std::move(decoded->options);
  return {};
}

std::string encode_action(const GraphAction& action) {
  ObjectWriter writer;
  writer.text("id", action.id);
  write_call(writer, action.name, action.parameters, action.options);
  writer.texts("dependsOn", action.depends_on);
  writer.text("group", action.group);
  writer.text("syncPoint", action.sync_point);
  writer.number("onError", static_cast<int>(action.on_error), 0);
  writer.number("retries", action.retries, 0);
  if (!action.compensations.empty()) {
    std::string list;
    for (const Compensation& compensation : action.compensations) {
      ObjectWriter each;
      write_call(each, compensation.name, compensation.parameters, compensation.options);
      list += list.empty() ? '[' : ',';
      list += std::move(each).finish();
    }
    writer.raw("compensations", list + ']');
  }
  return std::move(writer).finish();
}

Result<GraphAction> decode_action(const std::string_view text) {
  auto members = member_views_of_valid(text);
  if (!members) return members.error();
  std::string wrong;
  ObjectReader reader(std::move(*members), wrong);
  GraphAction action;
  reader.text("id", action.id);
  if (auto read = read_call(reader, action.name, action.parameters, action.options); !read) {
    return read.error();
  }
  reader.texts("dependsOn", action.depends_on);
  reader.text("group", action.group);
  reader.text("syncPoint", action.sync_point);
  int on_error = 0;
  reader.number("onError", on_error);
  if (on_error < 0 || on_error > static_cast<int>(ErrorStrategy::compensate)) {
    return unreadable("onError");
  }
  action.on_error = static_cast<ErrorStrategy>(on_error);
  reader.number("retries", action.retries);
  if (reader.has("compensations")) {
    const auto list = elements_of_valid(reader.raw("compensations"));
    if (!list) return list.error();
    for (const std::string_view element : *list) {
      auto each = member_views_of_valid(element);
      if (!each) return each.error();
      ObjectReader call(std::move(*each), wrong);
      Compensation& compensation = action.compensations.emplace_back();
      if (auto read =
              read_call(call, compensation.name, compensation.parameters, compensation.options);
          !read) {
        return read.error();
      }
    }
  }
  if (!wrong.empty()) return unreadable(wrong);
  return action;
}

}  // namespace

std::string encode_graph(const StartGraphCommand& graph) {
  std::string actions;
  for (const GraphAction& action : graph.actions) {
    actions += actions.empty() ? '[' : ',';
    actions += encode_action(action);
  }
  ObjectWriter writer;
  writer.number("concurrencyMax", graph.concurrency_max, 0);
  writer.raw("actions", actions.empty() ? "[]" : actions + ']');
  return std::move(writer).finish();
}

Result<StartGraphCommand> decode_graph(const std::string_view text) {
  auto members = member_views_of_valid(text);
  if (!members) return unreadable(members.error().message);
  std::string wrong;
  ObjectReader reader(std::move(*members), wrong);
  StartGraphCommand graph;
  reader.number("concurrencyMax", graph.concurrency_max);
  if (!wrong.empty()) return unreadable(wrong);
  const auto elements = elements_of_valid(reader.raw("actions"));
  if (!elements) return unreadable(elements.error().message);
  graph.actions.reserve(elements->size());
  for (const std::string_view element : *elements) {
    auto action = decode_action(element);
    if (!action) return unreadable(action.error().message);
    graph.actions.push_back(std::move(*action));
  }
  return graph;
}

Position positions_of(const StartGraphCommand& graph) {
  std::size_t positions = 1 + graph.actions.size();
  for (const GraphAction& action : graph.actions) positions += action.compensations.size();
  return static_cast<Position>(positions);
}

}  // namespace pawl
