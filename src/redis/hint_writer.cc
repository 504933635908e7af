#include "redis/hint_writer.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "redis/dead_letter_fields.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

// A reader that is asked to stop waiting, and does not wait yet.
constexpr auto kInterruptAgain = 2ms;
constexpr int kTriesMax = 2;

template <class T>
std::vector<T> take_first(std::deque<T>& queue, const std::size_t most) {
  const auto end = queue.begin() + static_cast<std::ptrdiff_t>(std::min(most, queue.size()));
  std::vector<T> taken(std::make_move_iterator(queue.begin()), std::make_move_iterator(end));
  queue.erase(queue.begin(), end);
  return taken;
}

// How many there was no room for.
template <class T>
std::size_t put(std::deque<T>& queue, std::vector<T>&& items, const std::size_t most) {
  const std::size_t taken = std::min(items.size(), most - std::min(most, queue.size()));
  const auto end = items.begin() + static_cast<std::ptrdiff_t>(taken);
  queue.insert(queue.end(), std::make_move_iterator(items.begin()), std::make_move_iterator(end));
  return items.size() - taken;
}

}  // namespace

HintWriter::HintWriter(std::shared_ptr<RedisDialer> dialer, RedisKeys keys, Receipts& receipts,
                       BusState& state, std::function<std::int64_t()> interrupted)
    : dialer_(std::move(dialer)),
      keys_(std::move(keys)),
      receipts_(receipts),
      state_(state),
      interrupted_(std::move(interrupted)) {}

HintWriter::~HintWriter() { close(0ms); }

void HintWriter::start() {
  thread_ = std::thread([this] { run(); });
}

void HintWriter::publish(std::vector<Hint> hints) {
  const std::lock_guard lock(mutex_);
  state_.dropped += closing_ ? hints.size() : put(hints_, std::move(hints), kHintsQueuedMax);
  changed_.notify_all();
}

void HintWriter::publish_answers(std::vector<AnswerHint> answers) {
  const std::lock_guard lock(mutex_);
  state_.dropped +=
      closing_ ? answers.size() : put(answers_, std::move(answers), kAnswersQueuedMax);
  changed_.notify_all();
}

void HintWriter::publish_dead(DeadLetterNote letter) {
  const std::lock_guard lock(mutex_);
  std::vector<DeadLetterNote> one;
  one.push_back(std::move(letter));
  state_.dropped += closing_ ? 1 : put(dead_, std::move(one), kDeadQueuedMax);
  changed_.notify_all();
}

void HintWriter::acknowledge(const DoneByPartition& done) {
  if (done.empty()) return;
  const std::lock_guard lock(mutex_);
  add(done, acknowledged_);
  changed_.notify_all();
}

void HintWriter::interrupt() {
  const std::lock_guard lock(mutex_);
  interrupt_ = true;
  changed_.notify_all();
}

void HintWriter::close(const std::chrono::milliseconds most) {
  {
    std::unique_lock lock(mutex_);
    closing_ = true;
    changed_.notify_all();
    if (thread_.joinable()) changed_.wait_for(lock, most, [this] { return ended_; });
  }
  connection_.give_up();
  if (thread_.joinable()) thread_.join();
}

// ---- the thread

bool HintWriter::has_work() const {
  return !hints_.empty() || !answers_.empty() || !dead_.empty() || !acknowledged_.empty();
}

void HintWriter::run() {
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      // Connected also where there is nothing to do: what is wrong shows early.
      changed_.wait(lock, [this] {
        return closing_ || interrupt_ || !connection_.is_connected() || !batch_.is_empty() ||
               has_work();
      });
      if (connection_.is_given_up() || (closing_ && batch_.is_empty() && !has_work())) break;
    }
    if (!connection_.is_connected()) {
      if (!connect()) connection_.pause(backoff_.next());
      continue;
    }
    if (batch_.is_empty()) take_batch();
    if (auto sent = send_batch(); !sent) {
      state_.set_trouble(BusPart::writer, sent.error().message);
      connection_.close();
      // What was sent and not answered may have been done. Twice is no harm; for ever would be.
      if (batch_.tries >= kTriesMax) drop_messages();
      connection_.pause(backoff_.next());
      continue;
    }
    backoff_.reset();
    state_.set_trouble(BusPart::writer, refusal_);
    batch_ = {};
  }
  drop_messages();
  const std::lock_guard lock(mutex_);
  state_.dropped += hints_.size() + answers_.size() + dead_.size();
  ended_ = true;
  changed_.notify_all();
}

bool HintWriter::connect() {
  if (auto connected = dialer_->dial(connection_); !connected) {
    state_.set_trouble(BusPart::writer, connected.error().message);
    return false;
  }
  state_.set_trouble(BusPart::writer, {});
  if (std::exchange(connected_once_, true)) ++state_.reconnects;
  return true;
}

void HintWriter::take_batch() {
  const std::lock_guard lock(mutex_);
  batch_.hints = take_first(hints_, kHintsPerBatchMax);
  batch_.answers = take_first(answers_, kHintsPerBatchMax);
  batch_.dead = take_first(dead_, kHintsPerBatchMax);
  // Bounded by what was read and not acknowledged.
  batch_.acknowledged = std::exchange(acknowledged_, {});
}

void HintWriter::drop_messages() {
  state_.dropped += batch_.messages();
  batch_.hints.clear();
  batch_.answers.clear();
  batch_.dead.clear();
}

bool HintWriter::has_room(const int partition) {
  Fill& fill = fills_[partition];
  const SteadyTime now = std::chrono::steady_clock::now();
  const bool look =
      fill.full ? now - fill.looked >= kFullLookEvery : ++fill.sent > kHintsBetweenLooks;
  if (look) {
    fill.sent = 0;
    fill.looked = now;
    commands_.add({"XLEN", keys_.hints(partition)});
    slots_.push_back({Sent::length, partition});
  }
  return !fill.full;
}

void HintWriter::encode_hints() {
  for (const Hint& hint : batch_.hints) {
    if (!has_room(hint.partition)) {
      ++refused_;
      continue;
    }
    commands_.add(
        {"XADD", keys_.hints(hint.partition), "*", "t", hint.tenant, "e", hint.execution_id});
    slots_.push_back({Sent::hint, hint.partition});
  }
}

// Removed first: what is removed and still pending is cleared up by whoever claims it, and what is acknowledged
// and not removed would stay for ever. So a stream has what is unread or pending and nothing else. What is done with
// from the beginning on is trimmed at once, which is much cheaper than to delete one by one.
void HintWriter::encode_acknowledged() {
  for (const auto& [partition, done] : batch_.acknowledged) {
    const std::string key = keys_.hints(partition);
    std::vector<std::string> removal{"XDEL", key};
    std::vector<std::string> acknowledgement{"XACK", key, std::string(RedisKeys::kGroup)};
    for (const StreamId& id : done.ids) {
      acknowledgement.push_back(to_string(id));
      if (id >= done.before) removal.push_back(acknowledgement.back());
    }
    if (done.before != StreamId{}) {
      commands_.add({"XTRIM", key, "MINID", "=", to_string(done.before)});
      slots_.push_back({Sent::removal, partition});
    }
    if (removal.size() > 2) {
      commands_.add(removal);
      slots_.push_back({Sent::removal, partition});
    }
    commands_.add(acknowledgement);
    slots_.push_back({Sent::acknowledgement, partition});
  }
}

void HintWriter::encode_rest() {
  for (const AnswerHint& answer : batch_.answers) {
    commands_.add({"PUBLISH", keys_.answers(answer.worker),
                   std::to_string(answer.row) + " " + answer.answer});
    slots_.push_back({Sent::answer, 0});
  }
  for (const DeadLetterNote& letter : batch_.dead) {
    std::vector<std::string> command{
        "XADD", keys_.dead(), "MAXLEN", "~", std::to_string(kDeadLettersMax), "*"};
    add_fields(letter, command);
    commands_.add(command);
    slots_.push_back({Sent::dead, 0});
  }
}

void HintWriter::encode_interruption() {
  {
    // Before the look: who interrupts behind it sets it again.
    const std::lock_guard lock(mutex_);
    interrupt_ = false;
  }
  const std::int64_t client = interrupted_();
  if (client == 0) return;
  commands_.add({"CLIENT", "UNBLOCK", std::to_string(client)});
  slots_.push_back({Sent::interruption, 0});
  // Until it has taken notice.
  interrupt();
}

void HintWriter::look_at(const Slot& slot, const RedisValue& answer) {
  if (answer.is_error()) {
    if (slot.what == Sent::hint || slot.what == Sent::answer || slot.what == Sent::dead) ++refused_;
    if (slot.what != Sent::interruption) refusal_ = answer.text();
  }
  switch (slot.what) {
    case Sent::hint: state_.published += answer.is_error() ? 0 : 1; break;
    case Sent::length: fills_[slot.partition].full = answer.integer() >= kStreamHintsMax; break;
    case Sent::acknowledgement: {
      const std::vector<StreamId>& ids = batch_.acknowledged.at(slot.partition).ids;
      if (!answer.is_error()) state_.acknowledged += ids.size();
      receipts_.confirmed(slot.partition, ids);
      break;
    }
    case Sent::answer:
    case Sent::dead:
    case Sent::removal:
    case Sent::interruption: break;
  }
}

RedisOutcome<void> HintWriter::send_batch() {
  commands_.clear();
  slots_.clear();
  refused_ = 0;
  refusal_.clear();
  encode_hints();
  encode_rest();
  encode_acknowledged();
  encode_interruption();
  const auto answers = connection_.run(commands_);
  ++batch_.tries;
  if (!answers) return answers.error();
  for (const RedisReply& answer : *answers) {
    if (!asks_to_come_again(answer)) continue;
    // Nothing was done.
    --batch_.tries;
    return RedisFailure{std::string(answer.text())};
  }
  for (std::size_t at = 0; at < slots_.size(); ++at) look_at(slots_[at], (*answers)[at]);
  state_.dropped += refused_;
  if (!slots_.empty() && slots_.back().what == Sent::interruption &&
      answers->back().integer() == 0) {
    connection_.pause(kInterruptAgain);
  }
  return {};
}

}  // namespace pawl
