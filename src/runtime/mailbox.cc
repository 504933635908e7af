#include "runtime/mailbox.h"

#include <utility>

namespace pawl {

void Mailbox::post(Input input) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    was_empty = inputs_.empty();
    inputs_.push_back(std::move(input));
  }
  if (was_empty) wake_.notify_one();
}

void Mailbox::activations_completed(std::vector<ActivationResult> results) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    was_empty = inputs_.empty();
    for (ActivationResult& result : results) inputs_.emplace_back(std::move(result));
  }
  if (was_empty) wake_.notify_one();
}

void Mailbox::actions_finished(std::vector<ActionOutcome> outcomes) {
  bool was_empty = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    was_empty = inputs_.empty();
    for (ActionOutcome& outcome : outcomes) inputs_.emplace_back(std::move(outcome));
  }
  if (was_empty) wake_.notify_one();
}

bool Mailbox::take(std::vector<Input>& inputs,
                   const std::optional<std::chrono::milliseconds> at_most) {
  inputs.clear();
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return closed_ || !inputs_.empty(); };
  if (at_most) {
    wake_.wait_for(lock, *at_most, ready);
  } else {
    wake_.wait(lock, ready);
  }
  inputs.swap(inputs_);
  return !closed_ || !inputs.empty();
}

bool Mailbox::is_empty() const {
  const std::lock_guard lock(mutex_);
  return inputs_.empty();
}

void Mailbox::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  wake_.notify_one();
}

}  // namespace pawl
