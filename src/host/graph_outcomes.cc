#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "model/failure_codec.h"
#include "model/json_object.h"
#include "pawl/graph.h"

namespace pawl {
namespace {

struct Ended {
  bool succeeded = false;
  Payload result;
  std::optional<Failure> error;
  int attempts = 0;
};

Ended read_end(ObjectReader& reader) {
  Ended ended;
  ended.succeeded = reader.raw("success") == "true";
  ended.result = Payload::json(std::string(reader.raw("result")));
  if (reader.has("error")) ended.error = decode_failure(reader.raw("error"));
  reader.number("attempts", ended.attempts);
  return ended;
}

Result<ObjectReader> reader_of(const std::string_view text, std::string& wrong) {
  auto members = member_views_of_valid(text);
  if (!members) return members.error();
  return ObjectReader(std::move(*members), wrong);
}

}  // namespace

Result<GraphOutcomes> GraphOutcomes::read(const Payload& payload) {
  const auto elements = elements_of_valid(payload.bytes);
  if (!elements) return elements.error();
  std::vector<GraphOutcome> all;
  all.reserve(elements->size());
  std::string wrong;
  for (const std::string_view element : *elements) {
    auto reader = reader_of(element, wrong);
    if (!reader) return reader.error();
    GraphOutcome& outcome = all.emplace_back();
    reader->text("actionId", outcome.id);
    reader->text("actionName", outcome.action);
    Ended ended = read_end(*reader);
    outcome.succeeded = ended.succeeded;
    outcome.result = std::move(ended.result);
    outcome.error = std::move(ended.error);
    outcome.attempts = ended.attempts;
    if (!reader->has("compensations")) continue;
    const auto compensations = elements_of_valid(reader->raw("compensations"));
    if (!compensations) return compensations.error();
    for (const std::string_view each : *compensations) {
      auto undone = reader_of(each, wrong);
      if (!undone) return undone.error();
      CompensationOutcome& compensation = outcome.compensations.emplace_back();
      undone->text("actionName", compensation.action);
      Ended end = read_end(*undone);
      compensation.succeeded = end.succeeded;
      compensation.error = std::move(end.error);
      compensation.attempts = end.attempts;
    }
  }
  if (!wrong.empty()) {
    return Error{
        ErrorCode::payload_refused, "outcomes of a graph: '" + wrong + "' is missing or wrong", {}};
  }
  return GraphOutcomes(std::move(all));
}

const GraphOutcome& GraphOutcomes::at(const std::string_view id) const {
  const auto found = std::find_if(all_.begin(), all_.end(),
                                  [id](const auto& outcome) { return outcome.id == id; });
  if (found == all_.end()) {
    throw std::out_of_range("there is no action '" + std::string(id) + "' in the graph");
  }
  return *found;
}

bool GraphOutcomes::succeeded() const {
  return std::all_of(all_.begin(), all_.end(),
                     [](const GraphOutcome& outcome) { return outcome.succeeded; });
}

}  // namespace pawl
