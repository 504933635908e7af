#include "redis/hint_reader.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>

namespace pawl {
namespace {

// Entries that are claimed with one call, over all partitions.
constexpr std::size_t kClaimedMax = 16'384;

// Of [name, value, name, value …].
RedisValue field(const RedisValue& fields, const std::string_view name) {
  for (std::size_t at = 0; at + 1 < fields.size(); at += 2) {
    if (fields[at].text() == name) return fields[at + 1];
  }
  return {};
}

}  // namespace

HintReader::HintReader(std::shared_ptr<RedisDialer> dialer, RedisKeys keys, std::string worker,
                       Receipts& receipts, HintWriter& writer, BusState& state)
    : dialer_(std::move(dialer)),
      keys_(std::move(keys)),
      worker_(std::move(worker)),
      receipts_(receipts),
      writer_(writer),
      state_(state) {}

HintReader::~HintReader() { close(); }

void HintReader::start(HintSink& sink) {
  sink_ = &sink;
  thread_ = std::thread([this] { run(); });
}

void HintReader::serve(const std::vector<int>& partitions) {
  {
    const std::lock_guard lock(mutex_);
    std::set<int> wanted(partitions.begin(), partitions.end());
    if (wanted == served_) return;
    for (const int partition : served_) {
      if (!wanted.contains(partition)) removed_.insert(partition);
    }
    served_ = std::move(wanted);
    news_ = true;
    changed_.notify_all();
  }
  writer_.interrupt();
}

void HintReader::acknowledged() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

std::int64_t HintReader::interrupted() const {
  const std::lock_guard lock(mutex_);
  return news_ ? waiting_ : 0;
}

void HintReader::close() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    changed_.notify_all();
  }
  connection_.give_up();
  if (thread_.joinable()) thread_.join();
}

// ---- the thread

void HintReader::run() {
  while (wait_for_partitions()) {
    if (!connection_.is_connected() && !connect()) {
      missed_ = true;
      connection_.pause(backoff_.next());
      continue;
    }
    if (auto done = step(); !done) {
      state_.set_trouble(BusPart::reader, done.error().message);
      connection_.close();
      missed_ = true;
      connection_.pause(backoff_.next());
      continue;
    }
    backoff_.reset();
    state_.set_trouble(BusPart::reader, {});
  }
}

// A process that serves nothing needs no connection. False: it closes.
bool HintReader::wait_for_partitions() {
  std::unique_lock lock(mutex_);
  if (served_.empty() && !closing_) {
    receipts_.forget(std::exchange(removed_, {}));
    reading_.clear();
    connection_.close();
    connected_once_ = false;
    missed_ = false;
    changed_.wait(lock, [this] { return closing_ || !served_.empty(); });
  }
  return !closing_;
}

// True: there is room for more hints, and nothing new to take up first.
bool HintReader::wait_for_room() {
  if (receipts_.taken() < kHintsTakenMax) return true;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return closing_ || news_ || receipts_.taken() < kHintsTakenMax; });
  return !closing_ && !news_;
}

bool HintReader::connect() {
  reading_.clear();
  if (auto connected = dialer_->dial(connection_); !connected) {
    state_.set_trouble(BusPart::reader, connected.error().message);
    return false;
  }
  if (std::exchange(connected_once_, true)) ++state_.reconnects;
  return true;
}

RedisOutcome<void> HintReader::step() {
  const std::set<int> served = take_up_served();
  std::set<int> added;
  std::set_difference(served.begin(), served.end(), reading_.begin(), reading_.end(),
                      std::inserter(added, added.end()));
  if (!added.empty()) {
    if (auto made = make_groups(added); !made) return made;
    const auto claimed = claim(added);
    if (!claimed) return claimed.error();
    if (!*claimed) return {};
    if (auto removed = remove_consumers(added); !removed) return removed;
  }
  if (!added.empty() || reading_ != served) {
    reading_ = served;
    partition_of_key_.clear();
    std::vector<std::string> command{"XREADGROUP",
                                     "GROUP",
                                     std::string(RedisKeys::kGroup),
                                     worker_,
                                     "COUNT",
                                     std::to_string(kHintsPerReadMax),
                                     "BLOCK",
                                     std::to_string(kReadMax.count()),
                                     "STREAMS"};
    for (const int partition : reading_) {
      command.push_back(keys_.hints(partition));
      partition_of_key_.emplace(command.back(), partition);
    }
    command.insert(command.end(), reading_.size(), ">");
    read_.clear();
    read_.add(command);
  }
  if (std::exchange(missed_, false)) sink_->hints_missed();
  if (reading_.empty() || !wait_for_room()) return {};
  return read();
}

std::set<int> HintReader::take_up_served() {
  const std::lock_guard lock(mutex_);
  news_ = false;
  // What was removed and added again meanwhile is new.
  for (const int partition : removed_) reading_.erase(partition);
  receipts_.forget(std::exchange(removed_, {}));
  return served_;
}

// Behind a flush, or where nobody ever served a partition. A new group begins with the first entry: nothing that
// was published before is passed over.
RedisOutcome<void> HintReader::make_groups(const std::set<int>& partitions) {
  RedisCommands commands;
  for (const int partition : partitions) {
    commands.add({"XGROUP", "CREATE", keys_.hints(partition), RedisKeys::kGroup, "0", "MKSTREAM"});
  }
  const auto answers = connection_.run(commands);
  if (!answers) return answers.error();
  std::set<int> made;
  std::size_t at = 0;
  for (const int partition : partitions) {
    const RedisValue answer = (*answers)[at++];
    if (!answer.is_error()) made.insert(partition);
    if (answer.is_error() && !answer.is_error("BUSYGROUP")) {
      return RedisFailure{std::string(answer.text())};
    }
  }
  // Of another stream under the same name: what is done there says nothing of this one.
  receipts_.forget(made);
  return {};
}

// All that is pending, before anything new is read, whoever has it: former owners, or this worker by a connection that was lost. Of its own, what
// it knows is left out. False: there is something else to do first, and then it is to be done again.
RedisOutcome<bool> HintReader::claim(const std::set<int>& partitions) {
  const std::string count =
      std::to_string(std::clamp<std::size_t>(kClaimedMax / partitions.size(), 16, 1'024));
  std::map<int, std::string> cursors;
  for (const int partition : partitions) cursors.emplace(partition, "0-0");
  while (!cursors.empty()) {
    RedisCommands commands;
    for (const auto& [partition, cursor] : cursors) {
      commands.add({"XAUTOCLAIM", keys_.hints(partition), RedisKeys::kGroup, worker_, "0", cursor,
                    "COUNT", count});
    }
    const auto answers = connection_.run(commands);
    if (!answers) return answers.error();
    Entries claimed;
    std::size_t at = 0;
    for (auto one = cursors.begin(); one != cursors.end(); ++at) {
      const RedisValue answer = (*answers)[at];
      if (answer.is_error()) return RedisFailure{std::string(answer.text())};
      if (answer[1].size() > 0) claimed.emplace_back(one->first, answer[1]);
      one->second = answer[0].text();
      one = one->second.empty() || one->second == "0-0" ? cursors.erase(one) : std::next(one);
    }
    Hints hints;
    for (const auto& [partition, entries] : claimed) {
      take_entries(partition, entries, hints);
    }
    hand_over(std::move(hints));
    if (!cursors.empty() && !wait_for_room()) return false;
  }
  return true;
}

// Each worker is a consumer under a name that never comes again; those that are gone would add up.
RedisOutcome<void> HintReader::remove_consumers(const std::set<int>& partitions) {
  RedisCommands questions;
  for (const int partition : partitions) {
    questions.add({"XINFO", "CONSUMERS", keys_.hints(partition), RedisKeys::kGroup});
  }
  const auto answers = connection_.run(questions);
  if (!answers) return answers.error();
  RedisCommands commands;
  std::size_t at = 0;
  for (const int partition : partitions) {
    const RedisValue consumers = (*answers)[at++];
    for (std::size_t one = 0; one < consumers.size(); ++one) {
      const std::string_view name = field(consumers[one], "name").text();
      const std::chrono::milliseconds idle(field(consumers[one], "idle").integer());
      if (name == worker_ || idle < kConsumerIdleMax ||
          field(consumers[one], "pending").integer() != 0) {
        continue;
      }
      commands.add({"XGROUP", "DELCONSUMER", keys_.hints(partition), RedisKeys::kGroup, name});
    }
  }
  if (commands.count() == 0) return {};
  if (const auto removed = connection_.run(commands); !removed) return removed.error();
  return {};
}

RedisOutcome<void> HintReader::read() {
  {
    const std::lock_guard lock(mutex_);
    if (news_ || closing_) return {};
    waiting_ = connection_.client();
  }
  const auto answers = connection_.run(read_, kReadMax + kRedisAnswerMax);
  {
    const std::lock_guard lock(mutex_);
    waiting_ = 0;
  }
  if (!answers) return answers.error();
  const RedisValue answer = answers->front();
  if (answer.is_error("NOGROUP")) {
    // Redis was emptied.
    reading_.clear();
    missed_ = true;
    return {};
  }
  if (answer.is_error()) return RedisFailure{std::string(answer.text())};
  Hints hints;
  for (std::size_t at = 0; at < answer.size(); ++at) {
    const auto partition = partition_of_key_.find(answer[at][0].text());
    if (partition != partition_of_key_.end()) {
      take_entries(partition->second, answer[at][1], hints);
    }
  }
  hand_over(std::move(hints));
  return {};
}

void HintReader::take_entries(const int partition, const RedisValue& entries, Hints& hints) {
  bool served = false;
  {
    const std::lock_guard lock(mutex_);
    served = served_.contains(partition) && !removed_.contains(partition);
  }
  std::vector<Hint> given_back;
  DoneByPartition done;
  for (std::size_t at = 0; at < entries.size(); ++at) {
    const RedisValue fields = entries[at][1];
    StreamEntry entry{partition, {}};
    if (!parse_stream_id(entries[at][0].text(), entry.id)) continue;
    Hint hint{partition, std::string(field(fields, "t").text()),
              std::string(field(fields, "e").text())};
    if (hint.execution_id.empty()) {
      // None of ours: nobody would ever acknowledge it.
      done[partition].ids.push_back(entry.id);
      continue;
    }
    if (!served) {
      // It is with this worker now, where the next owner does not see it: he may have claimed already.
      done[partition].ids.push_back(entry.id);
      given_back.push_back(std::move(hint));
      continue;
    }
    const HintReceipt receipt = receipts_.take(entry);
    if (receipt == 0) continue;
    hints.push_back({std::move(hint), receipt});
  }
  if (!given_back.empty()) writer_.publish(std::move(given_back));
  writer_.acknowledge(done);
}

void HintReader::hand_over(Hints hints) {
  if (hints.empty()) return;
  state_.received += hints.size();
  sink_->hints_arrived(std::move(hints));
}

}  // namespace pawl
