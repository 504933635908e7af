// What the SQLite store keeps when the power fails, the disk errs or is full. The reference is the
// store in memory, which gets exactly what was reported as durable.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "store/memory_store.h"
#include "store/sqlite_connection.h"
#include "store/sqlite_store.h"
#include "tests/support/faulty_disk.h"
#include "tests/support/store_driver.h"
#include "tests/support/temporary_folder.h"

namespace pawl {
namespace {

constexpr ExecutionRef kRefsMax = 60;

void print(std::string& text, const ExecutionRecord& record) {
  for (const auto& part :
       {std::to_string(record.ref), record.tenant, record.execution_id, record.workflow,
        record.version, std::string{to_string(record.status)},
        std::string{to_string(record.condition)}, record.condition_detail, record.state,
        std::to_string(record.in_flight), std::to_string(record.last_sequence), record.result.bytes,
        record.error_json, record.input_digest, std::to_string(record.updated_at)}) {
    text += part + "|";
  }
  text += "\n";
}

// Everything in a store, as text; an error of it fails the test.
std::string dump(Store& store) {
  std::string text;
  for (ExecutionRef ref = 1; ref <= kRefsMax; ++ref) {
    const auto stored = store.load_execution(ref, kWholeHistory);
    if (!stored) {
      return "error: " + stored.error().message;
    }
    if (!*stored) {
      continue;
    }
    print(text, (*stored)->record);
    std::int64_t expected = 1;
    for (const auto& event : (*stored)->history) {
      if (event.sequence != expected++) {
        return "a history with a gap";
      }
      text += "  " + std::to_string(event.sequence) + std::string{to_string(event.type)} +
              event.name + event.payload.bytes + "\n";
    }
    for (const auto& mail : (*stored)->inbox) {
      text += "  mail " + std::to_string(mail.id) + mail.event_id + mail.payload.bytes + "\n";
    }
    const auto results = store.action_results(ref);
    if (!results) {
      return "error: " + results.error().message;
    }
    for (const auto& result : *results) {
      text += "  result " + std::to_string(result.position) + result.result.bytes + "\n";
    }
  }
  const auto timers = store.timers_after({}, 1'000);
  if (!timers) {
    return "error: " + timers.error().message;
  }
  for (const auto& timer : *timers) {
    text += "timer " + std::to_string(timer.fire_at) + "," + std::to_string(timer.execution) + "," +
            std::to_string(timer.position) + "\n";
  }
  const auto resume = store.executions_to_resume(0, 1'000);
  if (!resume) {
    return "error: " + resume.error().message;
  }
  for (const auto ref : *resume) {
    text += "resume " + std::to_string(ref) + "\n";
  }
  return text;
}

// The reference, and what could come next in it.
class Reference {
 public:
  explicit Reference(std::uint64_t seed) : random_{seed} {
    reset(std::make_shared<MemoryStoreData>());
  }

  void apply(const std::vector<Transition>& group) {
    const auto error = driver_.commit_and_wait(group);
    ASSERT_FALSE(error) << error->message;
  }
  // A copy of it to which the group is applied as well.
  std::string dump_with(const std::vector<Transition>& group) const {
    MemoryStore copy{MemoryStore::Mode::automatic,
                     std::make_shared<MemoryStoreData>(*store_->data())};
    StoreDriver driver;
    copy.start(driver);
    driver.attach(copy);
    const auto error = driver.commit_and_wait(group);
    EXPECT_FALSE(error) << error->message;
    return pawl::dump(copy);
  }
  std::string dump() const { return pawl::dump(*store_); }

  // Some transitions that are right after what was applied; together, or one by one.
  std::vector<Transition> next_group() {
    MemoryStore copy{MemoryStore::Mode::automatic,
                     std::make_shared<MemoryStoreData>(*store_->data())};
    StoreDriver driver;
    copy.start(driver);
    driver.attach(copy);
    std::vector<Transition> group;
    const auto size = 1 + random_() % 4;
    while (group.size() < size) {
      group.push_back(next(*copy.data()));
      const auto error = driver.commit_and_wait({group.back()});
      EXPECT_FALSE(error) << error->message;
    }
    return group;
  }

 private:
  void reset(std::shared_ptr<MemoryStoreData> data) {
    store_ = std::make_unique<MemoryStore>(MemoryStore::Mode::automatic, std::move(data));
    store_->start(driver_);
    driver_.attach(*store_);
  }

  std::string text(std::size_t max) {
    return "\"" + std::string(random_() % max, static_cast<char>('a' + random_() % 26)) + "\"";
  }

  Transition next(const MemoryStoreData& data) {
    const auto count = static_cast<ExecutionRef>(data.executions.size());
    if (count == 0 || (count < kRefsMax && random_() % 3 == 0)) {
      const ExecutionRef ref = count + 1;
      auto transition = start_transition(ref, "acme", "wf-" + std::to_string(ref));
      transition.created->in_flight = random_() % 2 == 0;
      transition.records[0].payload = Payload::json(text(2'000));
      return transition;
    }
    const auto ref = static_cast<ExecutionRef>(1 + random_() % static_cast<std::uint64_t>(count));
    const auto& execution = data.executions.at(ref);
    const auto length = static_cast<std::int64_t>(execution.history.size());
    auto transition =
        append_transition(ref, "acme", length + 1, 1 + static_cast<int>(random_() % 3));
    // Now and then one that goes over several pages.
    transition.records[0].payload = Payload::json(text(random_() % 8 == 0 ? 12'000 : 300));
    if (random_() % 2 == 0) {
      transition.changed.emplace();
      transition.changed->state = text(20);
      transition.changed->in_flight = random_() % 2 == 0;
      transition.changed->last_sequence = transition.records.back().sequence;
      transition.changed->at = static_cast<Timestamp>(random_() % 1'000);
      if (random_() % 6 == 0) {
        transition.changed->status = ExecutionStatus::stuck;
      }
    }
    const auto position = static_cast<Position>(length);
    if (random_() % 3 == 0) {
      transition.timers_set.push_back(
          {ref, position, TimerKind::retry, static_cast<Timestamp>(random_() % 10'000)});
    }
    if (random_() % 3 == 0) {
      transition.timers_cleared.push_back(static_cast<Position>(random_() % 5));
    }
    if (random_() % 3 == 0) {
      ActionResultRecord result;
      result.execution = ref;
      result.position = position;
      result.tenant = "acme";
      result.action = "act";
      result.result = Payload::json(text(100));
      transition.results.push_back(std::move(result));
    }
    if (random_() % 4 == 0) {
      InboxRecord mail;
      mail.id = data.inbox.empty() ? 1 : data.inbox.rbegin()->first + 1;
      mail.execution = ref;
      mail.tenant = "acme";
      mail.event_id = "evt";
      mail.event_name = "Go";
      mail.payload = Payload::json(text(200));
      transition.inbox_added.push_back(std::move(mail));
    } else if (!data.inbox.empty() && random_() % 2 == 0) {
      transition.inbox_completed.push_back(
          {data.inbox.begin()->first, InboxStatus::completed, "", ""});
    }
    return transition;
  }

  std::mt19937_64 random_;
  StoreDriver driver_;
  std::unique_ptr<MemoryStore> store_;
};

// One machine: a disk with a file on it, engines one after the other, and the reference.
class Machine {
 public:
  Machine(const TemporaryFolder& folder, std::uint64_t seed, SqliteSynchronous synchronous)
      : disk_{seed}, reference_{seed}, synchronous_{synchronous}, path_{folder.file("pawl.db")} {}

  FaultyDisk& disk() { return disk_; }

  std::optional<Error> open() {
    // A log of 12 pages, so that there are checkpoints; a cache of a few pages, so that a large
    // transaction spills into the log before its end.
    auto opened = open_sqlite_store({.path = path_,
                                     .synchronous = synchronous_,
                                     .checkpoint_pages = 12,
                                     .writer_cache_bytes = 16 * 4096,
                                     .readers_max = 1,
                                     .busy_ms = 0,
                                     .vfs = disk_.vfs()});
    if (!opened) {
      return opened.error();
    }
    store_ = std::move(*opened);
    driver_ = std::make_unique<StoreDriver>();
    store_->start(*driver_);
    driver_->attach(*store_);
    return std::nullopt;
  }
  void close() { store_.reset(); }
  bool is_open() const { return store_ != nullptr; }

  // Commits one group more, as one; remembers what came of it.
  std::optional<Error> commit_group() {
    auto group = reference_.next_group();
    auto error = driver_->commit_and_wait(group);
    if (!error) {
      // It was built upon what the engine sees, so what was in doubt has not happened.
      doubtful_.clear();
      reference_.apply(group);
    } else if (error->code == ErrorCode::outcome_unknown) {
      doubtful_ = std::move(group);
    }
    return error;
  }

  // What is wrong with the store, empty if it has what was reported: all of that, and of what was
  // not nothing, or a group in doubt as a whole.
  std::string verdict() {
    const auto found = dump(*store_);
    if (found == reference_.dump()) {
      return check_integrity();
    }
    if (!doubtful_.empty() && found == reference_.dump_with(doubtful_)) {
      reference_.apply(doubtful_);
      doubtful_.clear();
      return check_integrity();
    }
    return "expected\n" + reference_.dump() + "found\n" + found;
  }

 private:
  std::string check_integrity() {
    auto connection =
        SqliteConnection::open(path_, SqliteConnection::Mode::read_only, disk_.vfs(), 0);
    if (!connection) {
      return connection.error().message;
    }
    const auto check = connection->query_text("PRAGMA integrity_check");
    if (!check) {
      return check.error().message;
    }
    return *check == "ok" ? "" : *check;
  }

  FaultyDisk disk_;
  Reference reference_;
  const SqliteSynchronous synchronous_;
  const std::string path_;
  std::vector<Transition> doubtful_;
  std::unique_ptr<StoreDriver> driver_;
  std::unique_ptr<Store> store_;
};

constexpr int kGroups = 14;

// Opens, commits, closes; stops at the first failure. What a machine does with its life.
void live(Machine& machine) {
  if (machine.open()) {
    return;
  }
  for (int group = 0; group < kGroups && !machine.commit_group(); ++group) {
  }
  machine.close();
}

// Loses power at one operation, starts again, looks. Empty, or what was lost. `over`: there was no
// such operation any more.
std::string lose_power_at(Machine& machine, std::uint64_t operation, bool& over) {
  machine.disk().lose_power_at(operation);
  live(machine);
  machine.close();
  over = !machine.disk().struck() && machine.disk().operations() < operation;
  machine.disk().restart();
  if (const auto error = machine.open()) {
    return "it does not open any more: " + error->message;
  }
  if (auto wrong = machine.verdict(); !wrong.empty()) {
    return wrong;
  }
  // It is not only readable: it goes on, and the next loss of power finds that as well.
  if (const auto error = machine.commit_group()) {
    return "it takes no more commits: " + error->message;
  }
  machine.disk().lose_power_at(machine.disk().operations() + 1);
  machine.close();
  machine.disk().restart();
  if (const auto error = machine.open()) {
    return "it does not open a second time: " + error->message;
  }
  return machine.verdict();
}

struct Tally {
  std::uint64_t points = 0;
  std::uint64_t losses = 0;
  std::string first;
};

Tally lose_power_everywhere(std::uint64_t seed, SqliteSynchronous synchronous, bool lying,
                            std::uint64_t stride) {
  const auto folder = TemporaryFolder::in_memory();
  Tally tally;
  bool over = false;
  for (std::uint64_t operation = 1; !over; operation += stride) {
    Machine machine{folder, seed * 1'000'003 + operation, synchronous};
    if (lying) {
      machine.disk().lie_about_syncs();
    }
    const auto wrong = lose_power_at(machine, operation, over);
    machine.close();
    ++tally.points;
    if (!wrong.empty()) {
      ++tally.losses;
      if (tally.first.empty()) {
        tally.first = "seed " + std::to_string(seed) + ", operation " + std::to_string(operation) +
                      ": " + wrong;
      }
    }
  }
  return tally;
}

void expect_no_loss_of_power(std::uint64_t first_seed, std::uint64_t last_seed) {
  for (auto seed = first_seed; seed <= last_seed; ++seed) {
    const auto tally = lose_power_everywhere(seed, SqliteSynchronous::full, false, 1);
    EXPECT_EQ(tally.losses, 0u) << tally.first;
    EXPECT_GT(tally.points, 150u) << "the workload is too short to mean something";
  }
}

// rule: 1
TEST(StoreFaults, NothingReportedIsLostWhenPowerFailsAtAnyPoint) { expect_no_loss_of_power(1, 1); }

TEST(StoreFaultsLong, NothingReportedIsLostWhenPowerFailsAtAnyPoint) {
  expect_no_loss_of_power(2, 8);
}

// The test above would find a store that forgets to sync, and a disk that does.
TEST(StoreFaults, TheTestNoticesAMissingSync) {
  EXPECT_GT(lose_power_everywhere(1, SqliteSynchronous::off, false, 7).losses, 0u);
  EXPECT_GT(lose_power_everywhere(1, SqliteSynchronous::normal, false, 7).losses, 0u);
  EXPECT_GT(lose_power_everywhere(1, SqliteSynchronous::full, true, 7).losses, 0u);
}

// With one fault of the disk at one operation: the engine goes on, or is opened again where it says
// that it has to be; in the end the power fails.
std::string err_at(Machine& machine, std::uint64_t operation, FaultyDisk::Fault fault, bool lasting,
                   bool& over) {
  auto& disk = machine.disk();
  disk.fail_at(operation, fault, lasting);
  int failures = 0;
  for (int group = 0; group < kGroups; ++group) {
    if (!machine.is_open()) {
      if (const auto error = machine.open()) {
        if (error->code != ErrorCode::store_unavailable) {
          return "opening: " + error->message;
        }
        disk.heal();
        if (const auto again = machine.open()) {
          return "opening again: " + again->message;
        }
      }
      if (auto wrong = machine.verdict(); !wrong.empty()) {
        return wrong;
      }
    }
    const auto error = machine.commit_group();
    if (!error) {
      continue;
    }
    if (!disk.struck()) {
      return "without a fault: " + error->message;
    }
    if (error->code != ErrorCode::store_unavailable && error->code != ErrorCode::outcome_unknown) {
      return "not an error of the disk: " + error->message;
    }
    if (lasting && fault == FaultyDisk::Fault::full &&
        error->message.find("full") == std::string::npos) {
      return "it does not say that the disk is full: " + error->message;
    }
    if (++failures == 2) {
      disk.heal();
      // A store that a failed sync stopped says so until it is opened again.
      if (const auto still = machine.commit_group()) {
        if (still->message.find("opened again") == std::string::npos) {
          return "healed, and yet: " + still->message;
        }
        machine.close();
      }
    }
  }
  over = disk.operations() < operation;
  // Not after a clean end, which writes everything anew.
  disk.lose_power_at(disk.operations() + 1);
  machine.close();
  disk.restart();
  if (const auto error = machine.open()) {
    return "it does not open after all: " + error->message;
  }
  return machine.verdict();
}

// The first operation is the seed, so that short runs with different ones see different points.
void err_everywhere(FaultyDisk::Fault fault, bool lasting, std::uint64_t seed,
                    std::uint64_t stride) {
  const auto folder = TemporaryFolder::in_memory();
  bool over = false;
  for (auto operation = seed; !over; operation += stride) {
    Machine machine{folder, seed * 1'000'003 + operation, SqliteSynchronous::full};
    const auto wrong = err_at(machine, operation, fault, lasting, over);
    machine.close();
    ASSERT_EQ(wrong, "") << "seed " << seed << ", operation " << operation;
  }
}

TEST(StoreFaults, OneErrorOfTheDiskLosesNothing) {
  err_everywhere(FaultyDisk::Fault::io_error, false, 1, 4);
}

TEST(StoreFaults, ADiskThatErrsFromSomePointOnLosesNothing) {
  err_everywhere(FaultyDisk::Fault::io_error, true, 2, 6);
}

TEST(StoreFaults, AFullDiskLosesNothingAndSaysSo) {
  err_everywhere(FaultyDisk::Fault::full, true, 3, 6);
}

TEST(StoreFaults, AMomentWithoutSpaceLosesNothing) {
  err_everywhere(FaultyDisk::Fault::full, false, 4, 6);
}

// A second sync after a failed one would succeed and prove nothing.
TEST(StoreFaults, AFailedSyncStopsTheStoreUntilItIsOpenedAgain) {
  const auto folder = TemporaryFolder::in_memory();
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    Machine machine{folder, seed, SqliteSynchronous::full};
    auto& disk = machine.disk();
    ASSERT_FALSE(machine.open());
    for (std::uint64_t group = 0; group < seed % 4; ++group) {
      ASSERT_FALSE(machine.commit_group());
    }
    disk.fail_at(disk.operations() + 1, FaultyDisk::Fault::sync_error, true);
    auto error = machine.commit_group();
    while (!error) {  // a commit without a fault: what failed was its checkpoint
      error = machine.commit_group();
    }
    disk.heal();
    EXPECT_TRUE(disk.struck());
    if (error->code != ErrorCode::outcome_unknown) {
      EXPECT_EQ(error->code, ErrorCode::store_unavailable) << error->message;
    }
    for (int again = 0; again < 2; ++again) {
      error = machine.commit_group();
      ASSERT_TRUE(error);
      EXPECT_EQ(error->code, ErrorCode::store_unavailable);
      EXPECT_NE(error->message.find("opened again"), std::string::npos) << error->message;
    }
    machine.close();
    ASSERT_FALSE(machine.open());
    EXPECT_EQ(machine.verdict(), "");
    EXPECT_FALSE(machine.commit_group());
    disk.lose_power_at(disk.operations() + 1);
    machine.close();
    disk.restart();
    ASSERT_FALSE(machine.open());
    EXPECT_EQ(machine.verdict(), "");
  }
}

TEST(StoreFaultsLong, NoFaultOfTheDiskAtAnyPointLosesAnything) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    for (const auto fault : {FaultyDisk::Fault::io_error, FaultyDisk::Fault::full}) {
      for (const bool lasting : {false, true}) {
        err_everywhere(fault, lasting, seed, 1);
      }
    }
  }
}

}  // namespace
}  // namespace pawl
