#include "postgres/store/notify_bus.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "postgres/store/columns.h"
#include "postgres/store/pipeline.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 5s;
constexpr auto kListenMax = 1s;
constexpr auto kPauseAfterFailure = 200ms;
constexpr auto kCloseMax = 500ms;
// What a notice may carry is 8,000 bytes; a longer answer is read from its row.
constexpr std::size_t kAnswerBytesMax = 7'000;

constexpr PgStatement kNotify{
    "notify",
    "SELECT pg_notify(n.channel, n.payload) FROM unnest($1::text[], $2::text[]) "
    "AS n(channel, payload)"};

std::string channel_of(const int partition) { return fmt::format("pawl_partition_{}", partition); }
std::string channel_of(const std::string& worker) {
  return fmt::format("pawl_worker_{:016x}", digest64(worker));
}

class NotifyBus final : public HintBus {
 public:
  NotifyBus(PostgresParameters parameters, std::string worker)
      : parameters_(std::move(parameters)), own_channel_(channel_of(worker)) {}
  ~NotifyBus() override { close(); }

  void start(HintSink& sink) override {
    sink_ = &sink;
    listener_ = std::thread([this] { listen(); });
    sender_ = std::thread([this] { send(); });
  }

  void serve(std::vector<int> partitions) override {
    const std::lock_guard lock(mutex_);
    served_ = std::set<int>(partitions.begin(), partitions.end());
    served_changed_ = true;
    listening_.wake();
  }

  void publish(std::vector<Hint> hints) override {
    const std::lock_guard lock(mutex_);
    for (const Hint& hint : hints) {
      if (partitions_.size() < kHintsQueuedMax) partitions_.insert(hint.partition);
    }
    wake_.notify_all();
  }

  void publish_answers(std::vector<AnswerHint> answers) override {
    const std::lock_guard lock(mutex_);
    for (AnswerHint& answer : answers) {
      if (answers_.size() < kHintsQueuedMax) answers_.push_back(std::move(answer));
    }
    wake_.notify_all();
  }

  // Its row is all there is.
  void publish_dead(DeadLetterNote) override {}
  void acknowledge(std::vector<HintReceipt>) override {}

  void close() override {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      closing_ = true;
      wake_.notify_all();
    }
    listening_.give_up();
    if (listener_.joinable()) listener_.join();
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, kCloseMax, [this] { return sent_all_; });
    }
    sending_.give_up();
    if (sender_.joinable()) sender_.join();
  }

 private:
  bool is_closing() {
    const std::lock_guard lock(mutex_);
    return closing_;
  }
  void pause() {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, kPauseAfterFailure, [this] { return closing_; });
  }

  void listen() {
    std::set<int> heard;
    while (!is_closing()) {
      if (!listening_.is_connected()) {
        heard.clear();
        const std::string own = fmt::format("LISTEN {}", own_channel_);
        if (!listening_.connect(parameters_, {own}, {}, kAnswerMax)) {
          pause();
          continue;
        }
        listen_to_served(heard);
        // What was told meanwhile was told to nobody.
        if (!is_closing()) sink_->hints_missed();
      }
      listen_to_served(heard);
      listening_.wait_for_notice(kListenMax);
      take(listening_.take_notices());
    }
  }

  void listen_to_served(std::set<int>& heard) {
    std::set<int> wanted;
    {
      const std::lock_guard lock(mutex_);
      if (!std::exchange(served_changed_, false) && !heard.empty()) return;
      wanted = served_;
    }
    std::vector<std::string> changes;
    for (const int partition : wanted) {
      if (!heard.contains(partition)) changes.push_back("LISTEN " + channel_of(partition));
    }
    for (const int partition : heard) {
      if (!wanted.contains(partition)) changes.push_back("UNLISTEN " + channel_of(partition));
    }
    if (changes.empty()) return;
    for (const std::string& change : changes) listening_.add_sql(change.c_str());
    if (listening_.run()) heard = wanted;
    // Between taking a partition and hearing of it, something may have come.
    if (!is_closing()) sink_->hints_missed();
  }

  void take(const std::vector<PgNotice>& notices) {
    if (is_closing()) return;
    std::set<int> partitions;
    std::vector<AnswerHint> answers;
    for (const PgNotice& notice : notices) {
      const char* const end = notice.payload.data() + notice.payload.size();
      if (notice.channel == own_channel_) {
        AnswerHint answer;
        const auto [rest, bad] = std::from_chars(notice.payload.data(), end, answer.row);
        if (bad != std::errc{}) continue;
        if (rest != end) answer.answer.assign(rest + 1, end);
        answers.push_back(std::move(answer));
      } else {
        int partition = 0;
        if (std::from_chars(notice.payload.data(), end, partition).ec == std::errc{}) {
          partitions.insert(partition);
        }
      }
    }
    if (!answers.empty()) sink_->answers_arrived(std::move(answers));
    if (partitions.empty()) return;
    std::vector<HintReceived> hints;
    for (const int partition : partitions) hints.push_back({{partition, {}, {}}, 0});
    sink_->hints_arrived(std::move(hints));
  }

  void send() {
    for (;;) {
      std::set<int> partitions;
      std::vector<AnswerHint> answers;
      {
        std::unique_lock lock(mutex_);
        sent_all_ = partitions_.empty() && answers_.empty();
        if (sent_all_) wake_.notify_all();
        wake_.wait(lock, [this] { return closing_ || !partitions_.empty() || !answers_.empty(); });
        partitions.swap(partitions_);
        answers.swap(answers_);
        if (partitions.empty() && answers.empty()) break;
      }
      if (!sending_.is_connected() &&
          !sending_.connect(parameters_, {"SET jit = off", "SET synchronous_commit = off"},
                            {kNotify}, kAnswerMax)) {
        if (is_closing()) break;
        pause();  // these are lost; the sweep has their rows
        continue;
      }
      PgColumn channels(PgType::text);
      PgColumn payloads(PgType::text);
      for (const int partition : partitions) {
        channels.add(std::string_view(channel_of(partition)));
        payloads.add(std::string_view(std::to_string(partition)));
      }
      for (const AnswerHint& answer : answers) {
        std::string payload = std::to_string(answer.row);
        if (answer.answer.size() <= kAnswerBytesMax) payload += ' ' + answer.answer;
        channels.add(std::string_view(channel_of(answer.worker)));
        payloads.add(std::string_view(payload));
      }
      sending_.add(kNotify.name,
                   PgParameters().add_array(channels.bytes()).add_array(payloads.bytes()));
      if (!sending_.run()) sending_.close();
    }
    const std::lock_guard lock(mutex_);
    sent_all_ = true;
    wake_.notify_all();
  }

  const PostgresParameters parameters_;
  const std::string own_channel_;
  HintSink* sink_ = nullptr;
  PgPipeline listening_;  // of listener_
  PgPipeline sending_;    // of sender_

  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_.
  std::set<int> served_;
  bool served_changed_ = false;
  std::set<int> partitions_;  // to be told
  std::vector<AnswerHint> answers_;
  bool sent_all_ = true;
  bool closing_ = false;

  std::thread listener_;
  std::thread sender_;
};

}  // namespace

std::unique_ptr<HintBus> make_notify_bus(PostgresParameters parameters, std::string worker) {
  return std::make_unique<NotifyBus>(std::move(parameters), std::move(worker));
}

}  // namespace pawl
