// Waits with a filter: their events are offered to the workflow's code before they are delivered. What
// was taken is in the history, so that a replay asks nothing; what a filter says no to is asked again
// only after the execution was put away in between.

#include "core/shard.h"
#include "core/shard_execution.h"
#include "model/attributes.h"

namespace pawl {

void Shard::ask(Execution& execution, std::vector<EventOffer> offers) {
  execution.offers = offers;
  if (!execution.hosted && !rebuild(execution)) return;
  execution.phase = Execution::Phase::activating;
  execution.wants_code = false;
  Activation question;
  question.execution = execution.fold.ref();
  question.now = activation_time(execution);
  question.sequence = execution.fold.last_sequence();
  question.offers = std::move(offers);
  send_activation(execution, std::move(question));
}

void Shard::take_answer(Execution& execution, const ActivationResult& result) {
  if (result.violation) return get_stuck(execution, *result.violation);
  const std::vector<EventOffer> offers = std::exchange(execution.offers, {});
  execution.phase = Execution::Phase::idle;
  const EventOffer* const taken =
      result.taken && *result.taken < offers.size() ? &offers[*result.taken] : nullptr;
  if (execution.event) {
    const auto otherwise = std::exchange(execution.otherwise, std::nullopt);
    if (taken != nullptr) {
      receive_event(execution, taken->position);
    } else if (!otherwise && !execution.event_in_inbox &&
               execution.fold.buffer().size() >= options_.limits.events_buffered_max) {
      answer(execution, Reply{execution.event->request, too_many_events(execution)});
      execution.event.reset();
    } else {
      // If nobody takes it, it goes into the buffer, and they have been asked.
      for (const EventOffer& offer : offers) {
        if (!otherwise) execution.fold.refused(offer.position, offer.event.sequence);
      }
      receive_event(execution, otherwise);
    }
  } else if (taken != nullptr) {
    deliver_buffered(execution, taken->event.sequence, taken->position);
  } else {
    for (const EventOffer& offer : offers) {
      execution.fold.refused(offer.position, offer.event.sequence);
    }
    // It moves no more by itself.
    if (execution.row_in_flight != execution.fold.in_flight()) commit(execution);
  }
  proceed(execution);
}

}  // namespace pawl
