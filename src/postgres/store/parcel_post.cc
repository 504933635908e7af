#include "postgres/store/parcel_post.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <tuple>
#include <utility>

#include "base/digest.h"
#include "postgres/store/columns.h"

namespace pawl {
namespace {

using namespace std::chrono_literals;

constexpr auto kAnswerMax = 5s;
constexpr auto kPauseAfterFailure = 200ms;
constexpr auto kCloseMax = 500ms;
// What no NOTIFY told of is looked for.
constexpr auto kLookAfter = 1s;
constexpr int kEmptyAfterLast = 3;
constexpr std::size_t kSentAtOnce = 512;
constexpr std::size_t kSentBytesAtOnce =
    std::size_t{8} * 1024 * 1024;  // with the parcel that reaches it
constexpr int kFetchedAtOnce = 512;

constexpr PgStatement kSend{
    "send_parcels",
    "INSERT INTO workflow_parcels(recipient, sender, number, body) SELECT u.recipient, $1::text, "
    "u.number, u.body FROM unnest($2::text[], $3::bigint[], $4::bytea[]) AS u(recipient, number, "
    "body) ON CONFLICT DO NOTHING"};
constexpr PgStatement kTell{"tell_recipients",
                            "SELECT pg_notify(channel, '') FROM unnest($1::text[]) AS n(channel)"};
constexpr PgStatement kFetch{
    "fetch_parcels",
    "WITH oldest AS (SELECT sender, number FROM workflow_parcels WHERE recipient = $1::text "
    "ORDER BY sender, number LIMIT $2::bigint) "
    "DELETE FROM workflow_parcels p USING oldest WHERE p.recipient = $1::text AND "
    "p.sender = oldest.sender AND p.number = oldest.number RETURNING p.sender, p.number, p.body"};

std::string channel_of(const std::string& worker) {
  return fmt::format("pawl_parcels_{:016x}", digest64(worker));
}

}  // namespace

ParcelPost::ParcelPost(PostgresParameters parameters, std::string worker)
    : parameters_(std::move(parameters)), worker_(std::move(worker)) {}

void ParcelPost::fetch() {
  const std::lock_guard lock(mutex_);
  if (closing_ || std::exchange(fetching_, true)) return;
  thread_ = std::thread([this] { run(); });
}

void ParcelPost::send(std::vector<Parcel> parcels) {
  {
    const std::lock_guard lock(mutex_);
    for (Parcel& parcel : parcels) {
      Sent& sent = sent_[parcel.worker];
      ++sent.last;
      sent.empty_left = kEmptyAfterLast;
      // The gap tells of it.
      if (queue_.size() >= kParcelsQueuedMax) continue;
      sent_all_ = false;
      queue_.push_back({std::move(parcel.worker), sent.last, std::move(parcel.body)});
    }
  }
  fetch();
  pipeline_.wake();
}

void ParcelPost::close() {
  {
    std::unique_lock lock(mutex_);
    if (closing_) return;
    if (thread_.joinable()) wake_.wait_for(lock, kCloseMax, [this] { return sent_all_; });
    closing_ = true;
    wake_.notify_all();
  }
  pipeline_.give_up();
  if (thread_.joinable()) thread_.join();
}

bool ParcelPost::pause() {
  std::unique_lock lock(mutex_);
  return !wake_.wait_for(lock, kPauseAfterFailure, [this] { return closing_; });
}

void ParcelPost::run() {
  std::vector<Numbered> outgoing;  // kept until it is known that they are there
  std::size_t bytes = 0;           // of them
  for (;;) {
    {
      const std::lock_guard lock(mutex_);
      if (closing_) return;
      if (queue_.empty() && outgoing.empty()) {
        sent_all_ = true;
        wake_.notify_all();
      }
      while (!queue_.empty() && outgoing.size() < kSentAtOnce && bytes < kSentBytesAtOnce) {
        bytes += queue_.front().body.size();
        outgoing.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
    }
    if (!pipeline_.is_connected() &&
        !pipeline_.connect(parameters_,
                           {"SET jit = off", "SET synchronous_commit = off",
                            fmt::format("LISTEN {}", channel_of(worker_))},
                           {kSend, kTell, kFetch}, kAnswerMax)) {
      if (!pause()) return;
      continue;
    }
    const auto exchanged = exchange(outgoing);
    if (!exchanged) {
      pipeline_.close();
      follow_up();
      if (!pause()) return;
      continue;
    }
    outgoing.clear();
    bytes = 0;
    // One may have come behind what was fetched.
    if (*exchanged || !pipeline_.take_notices().empty()) continue;
    {
      const std::lock_guard lock(mutex_);
      if (!queue_.empty()) continue;
    }
    if (!pipeline_.wait_for_notice(kLookAfter)) queue_empty();
  }
}

// Whether there may be more to be fetched.
PgOutcome<bool> ParcelPost::exchange(const std::vector<Numbered>& outgoing) {
  PgColumn recipients(PgType::text);
  PgColumn numbers(PgType::int8);
  PgColumn bodies(PgType::bytes);
  PgColumn channels(PgType::text);
  if (!outgoing.empty()) {
    std::set<std::string> told;
    for (const Numbered& parcel : outgoing) {
      recipients.add(std::string_view(parcel.worker));
      numbers.add(parcel.number);
      bodies.add(std::string_view(parcel.body));
      if (told.insert(parcel.worker).second) {
        channels.add(std::string_view(channel_of(parcel.worker)));
      }
    }
    pipeline_.add(kSend.name, PgParameters()
                                  .add_text(worker_)
                                  .add_array(recipients.bytes())
                                  .add_array(numbers.bytes())
                                  .add_array(bodies.bytes()));
    pipeline_.add(kTell.name, PgParameters().add_array(channels.bytes()));
  }
  pipeline_.add(kFetch.name, PgParameters().add_text(worker_).add(std::int64_t{kFetchedAtOnce}));
  const auto answers = pipeline_.run();
  if (!answers) return answers.error();
  const PGresult* const rows = answers->back().get();
  std::vector<Numbered> fetched;
  for (int row = 0; row < PQntuples(rows); ++row) {
    const PgRow parcel(rows, row);
    fetched.push_back({parcel.text(0), parcel.integer(1), parcel.text(2)});
  }
  const bool more = fetched.size() == kFetchedAtOnce;
  deliver(std::move(fetched));
  return more;
}

void ParcelPost::deliver(std::vector<Numbered> fetched) {
  std::sort(fetched.begin(), fetched.end(), [](const Numbered& one, const Numbered& other) {
    return std::tie(one.worker, one.number) < std::tie(other.worker, other.number);
  });
  std::vector<Parcel> arrived;
  const auto hand_over = [&] {
    if (!arrived.empty()) sink_->parcels_arrived(std::exchange(arrived, {}));
  };
  for (Numbered& parcel : fetched) {
    std::int64_t& last = received_[parcel.worker];
    if (parcel.number <= last) continue;  // sent twice, since it was not known whether it was there
    if (parcel.number != last + 1) {
      hand_over();
      sink_->parcels_lost(parcel.worker);
    }
    last = parcel.number;
    if (!parcel.body.empty()) arrived.push_back({parcel.worker, std::move(parcel.body)});
  }
  hand_over();
}

// What was fetched may be lost with its answer, and what is there with the server: each is to have a successor.
void ParcelPost::follow_up() {
  const std::lock_guard lock(mutex_);
  for (auto& [worker, sent] : sent_) sent.empty_left = kEmptyAfterLast;
}

void ParcelPost::queue_empty() {
  const std::lock_guard lock(mutex_);
  if (!queue_.empty()) return;
  for (auto& [worker, sent] : sent_) {
    if (sent.empty_left == 0) continue;
    --sent.empty_left;
    queue_.push_back({worker, ++sent.last, {}});
  }
}

}  // namespace pawl
