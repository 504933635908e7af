#include "store/integrity_check.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/execution_fold.h"
#include "core/history_cut.h"
#include "core/state_fold.h"
#include "model/attributes.h"
#include "pawl/json.h"
#include "store/sqlite_reader.h"
#include "store/sqlite_schema.h"
#include "store/store_file.h"

namespace pawl {
namespace {

constexpr int kExecutionsAtOnce = 1'000;
constexpr int kRecordsAtOnce = 512;
constexpr int kFindingsMax = 10'000;

// Ends a check early. Thrown by the check, caught by who began it.
struct Enough {};
struct Impossible {
  Error error;
};

std::string shown(const std::string_view text) {
  constexpr std::size_t kShownBytes = 100;
  return text.size() <= kShownBytes ? std::string{text}
                                    : fmt::format("{}…", text.substr(0, kShownBytes));
}

class IntegrityCheck {
 public:
  IntegrityCheck(SqliteReader& reader, const IntegrityOptions& options,
                 const std::atomic<bool>& stop)
      : reader_{reader}, options_{options}, stop_{stop} {}

  IntegrityReport run() {
    try {
      check_pages();
      check_executions();
      check_strays();
    } catch (const Enough&) {
      report_.more = true;
    }
    return std::move(report_);
  }

 private:
  // --- reading ---------------------------------------------------------------------------------

  template <class T>
  T must(Result<T> result) {
    if (!result) {
      throw Impossible{result.error()};
    }
    return std::move(*result);
  }

  void look_around() const {
    if (stop_.load(std::memory_order_relaxed)) {
      throw Impossible{
          Error{ErrorCode::closed, "the check was given up: the runtime is being closed"}};
    }
  }

  // The rows of a statement with numbers for its parameters. `row` must not run the same again.
  template <class Row>
  void each(const std::string& sql, const std::vector<std::int64_t>& parameters, Row row) {
    SqliteConnection& connection = reader_.connection();
    SqliteStatement& statement = statements_[sql];
    if (!statement) {
      statement = must(connection.prepare(sql));
    }
    const SqliteReset reset{statement};
    int number = 0;
    for (const std::int64_t parameter : parameters) {
      statement.bind(++number, parameter);
    }
    while (true) {
      const int code = statement.step();
      if (code == SQLITE_DONE) {
        return;
      }
      if (code != SQLITE_ROW) {
        const Error error = connection.error(code, "reading");
        if (error.code != ErrorCode::store_invalid) {
          throw Impossible{error};
        }
        // The pages of this table are damaged; others may tell more.
        return find(error.message);
      }
      row(statement);
    }
  }

  // --- findings --------------------------------------------------------------------------------

  void find(std::string what, const std::int64_t sequence = 0) {
    if (static_cast<int>(report_.findings.size()) == options_.findings_max) {
      throw Enough{};
    }
    report_.findings.push_back({about_.tenant, about_.execution_id, sequence, std::move(what)});
  }

  // Reports what could not be read as a finding; what has nothing to do with the file ends the check.
  void find_unreadable(const Error& error, const std::int64_t sequence = 0) {
    if (error.code != ErrorCode::store_invalid) {
      throw Impossible{error};
    }
    find(error.message, sequence);
  }

  // --- the database ----------------------------------------------------------------------------

  void check_pages() {
    look_around();
    // It stops by itself after so many.
    each(fmt::format("PRAGMA integrity_check({})", options_.findings_max), {},
         [this](const SqliteStatement& row) {
           if (row.column_view(0) != "ok") {
             find(fmt::format("the database: {}", row.column_view(0)));
           }
         });
  }

  // --- executions ------------------------------------------------------------------------------

  void check_executions() {
    ExecutionRef after = 0;
    while (true) {
      std::vector<ExecutionRecord> page;
      each(
          "SELECT execution, tenant, execution_id FROM workflow_executions WHERE execution > ?1 "
          "ORDER BY execution LIMIT ?2",
          {after, kExecutionsAtOnce}, [&page](const SqliteStatement& row) {
            auto& record = page.emplace_back();
            record.ref = row.column_int(0);
            record.tenant = row.column_text(1);
            record.execution_id = row.column_text(2);
          });
      if (page.empty()) {
        about_ = {};
        return;
      }
      after = page.back().ref;
      for (ExecutionRecord& record : page) {
        look_around();
        about_ = std::move(record);
        check_execution();
        ++report_.executions;
      }
    }
  }

  // One moment for its row and all that belongs to it.
  void check_execution() {
    const SqliteReader::Moment moment{reader_};
    if (!moment.begun()) {
      throw Impossible{moment.begun().error()};
    }
    auto stored = reader_.load_execution(about_.ref, kNoHistory);
    if (!stored) {
      return find_unreadable(stored.error());
    }
    if (!*stored) {
      return;
    }
    const ExecutionRecord& row = (*stored)->record;
    ExecutionRecord blank = row;
    blank.status = ExecutionStatus::running;
    blank.state = "initial";
    blank.result = {};
    blank.error_json.clear();
    fold_ = ExecutionFold{std::move(blank)};
    states_ = StateFold{};
    outcomes_.clear();
    generations_.clear();
    list_snapshots();
    if (!fold_all((*stored)->history_end)) {
      return;
    }
    check_row(row);
    check_results();
    check_timers();
    for (const std::int64_t sequence : snapshots_) {
      find("there is a snapshot for it, but its history does not go so far", sequence);
    }
  }

  // False if the history is such that nothing can be compared with it.
  bool fold_all(const std::int64_t end) {
    const VoidRecords no_more{retries()};
    std::int64_t last = 0;
    while (last < end) {
      look_around();
      auto page = reader_.read_history(about_.ref, last, {kRecordsAtOnce});
      if (!page) {
        locate_unreadable(last);
        return false;
      }
      if (page->empty()) {
        find(fmt::format("its history can't be read beyond {}, and should go to {}", last, end),
             last);
        return false;
      }
      for (const HistoryEvent& event : *page) {
        if (event.sequence != last + 1) {
          find(event.sequence == last + 2
                   ? fmt::format("record {} is missing from its history", last + 1)
                   : fmt::format("records {} to {} are missing from its history", last + 1,
                                 event.sequence - 1),
               last + 1);
          return false;
        }
        last = event.sequence;
        ++report_.records;
        check_payload(event);
        if (!fold_one(event, no_more.contains(event))) {
          return false;
        }
      }
    }
    if (end == 0) {
      find("it has no history");
    }
    return end != 0;
  }

  // Retries say which records before them no longer count.
  std::vector<HistoryEvent> retries() {
    std::vector<HistoryEvent> retries;
    each(
        "SELECT sequence, codec, attributes FROM workflow_events WHERE execution = ?1 AND "
        "event_type = 'ExecutionRetried' ORDER BY sequence",
        {about_.ref}, [&retries](const SqliteStatement& row) {
          HistoryEvent event;
          event.type = EventType::execution_retried;
          event.sequence = row.column_int(0);
          event.codec = static_cast<int>(row.column_int(1));
          event.attributes = row.column_text(2);
          retries.push_back(std::move(event));
        });
    return retries;
  }

  // Of a page that can't be read: which record it is.
  void locate_unreadable(std::int64_t last) {
    while (true) {
      auto one = reader_.read_history(about_.ref, last, {1});
      if (!one) {
        return find_unreadable(one.error(), last + 1);
      }
      if (one->empty()) {
        return find("its history can't be read", last);
      }
      last = one->back().sequence;
    }
  }

  void check_payload(const HistoryEvent& event) {
    if (event.payload.is_none() || event.payload.encoding != Encoding::json) {
      return;
    }
    if (const auto parsed = Json::parse(event.payload.bytes); !parsed) {
      find(fmt::format("its payload is no JSON: {}", parsed.error().message), event.sequence);
    }
  }

  bool fold_one(const HistoryEvent& event, const bool is_void) {
    note_outcome(event, is_void);
    if (is_void) {
      fold_.skip(event);
    } else if (const auto applied = fold_.apply(event); !applied) {
      find(applied.error().message, event.sequence);
      return false;
    }
    if (const auto told = states_.add(event); !told) {
      find(told.error().message, event.sequence);
      return false;
    }
    check_snapshot(event.sequence);
    return true;
  }

  // --- snapshots -------------------------------------------------------------------------------

  void list_snapshots() {
    snapshots_.clear();
    each(
        "SELECT sequence FROM workflow_state_snapshots WHERE execution = ?1 AND codec = ?2 "
        "ORDER BY sequence DESC",
        {about_.ref, kSnapshotCodec},
        [this](const SqliteStatement& row) { snapshots_.push_back(row.column_int(0)); });
  }

  void check_snapshot(const std::int64_t sequence) {
    if (snapshots_.empty() || snapshots_.back() != sequence) {
      return;
    }
    snapshots_.pop_back();
    if (states_.sequence() != sequence) {
      return find("there is a snapshot for it, which is not the end of an activation", sequence);
    }
    const auto kept = reader_.find_snapshot(about_.ref, sequence);
    if (!kept) {
      return find_unreadable(kept.error(), sequence);
    }
    if (!states_.may_be_kept()) {
      find("there is a snapshot for it, where the execution had ended", sequence);
    } else if (!*kept || **kept != states_.snapshot(about_)) {
      find("its snapshot is not what the records up to it add up to", sequence);
    }
  }

  // --- the row ---------------------------------------------------------------------------------

  void check_row(const ExecutionRecord& row) {
    const ExecutionRecord& folded = fold_.record();
    const std::int64_t end = fold_.last_sequence();
    if (row.last_sequence > end) {
      find(fmt::format("its history ends at {}, but its row was written at {}", end,
                       row.last_sequence),
           end);
    }
    if (row.status == ExecutionStatus::stuck) {
      if (fold_.ended()) {
        find(fmt::format("its row says stuck, its history {}", to_string(folded.status)), end);
      }
    } else if (row.status != folded.status) {
      find(fmt::format("its row says {}, its history {}", to_string(row.status),
                       to_string(folded.status)),
           end);
    }
    if (row.state != folded.state) {
      find(fmt::format("its row has the state '{}', its history '{}'", shown(row.state),
                       shown(folded.state)),
           end);
    }
    if (row.result != folded.result) {
      find(fmt::format("its row has the result {}, its history {}", shown(row.result.bytes),
                       shown(folded.result.bytes)),
           end);
    }
    if (row.status != ExecutionStatus::stuck && row.error_json != folded.error_json) {
      find(fmt::format("its row has the error {}, its history {}", shown(row.error_json),
                       shown(folded.error_json)),
           end);
    }
    // Whether a filter has refused what is in the buffer is no record.
    const bool asked = std::any_of(fold_.waits().begin(), fold_.waits().end(),
                                   [](const auto& wait) { return wait.second.filtered; });
    if (row.in_flight != fold_.in_flight() && !(asked && !row.in_flight)) {
      find(row.in_flight ? "its row says that something is under way, its history that nothing is"
                         : "its row says that nothing is under way, its history that something is",
           end);
    }
  }

  // --- results ---------------------------------------------------------------------------------

  struct Outcome {
    Position position = 0;
    int generation = 0;
    std::int64_t sequence = 0;
    bool is_void = false;
    bool of_graph = false;
    bool found = false;

    std::pair<Position, int> key() const { return {position, generation}; }
  };

  void note_outcome(const HistoryEvent& event, const bool is_void) {
    switch (event.type) {
      case EventType::action_completed:
      case EventType::action_failed:
      case EventType::graph_action_completed:
      case EventType::graph_action_failed:
      case EventType::action_outcome_held:
        outcomes_.push_back({event.position, generations_[event.position], event.sequence, is_void,
                             stands_alone(event) && event.type != EventType::action_outcome_held});
        break;
      case EventType::execution_retried:
        if (const auto attributes = decode<RetriedAttributes>(event.attributes, event.codec);
            attributes && !is_void) {
          for (const Position position : attributes->actions) {
            ++generations_[position];
          }
        }
        break;
      case EventType::execution_forked:
        // What came before is the original's: a fork has rows of its own for what counts of it.
        std::erase_if(outcomes_, [](const Outcome& outcome) { return outcome.is_void; });
        for (Outcome& outcome : outcomes_) {
          outcome.generation = 0;
        }
        keep_last_of_graphs();
        break;
      default: break;
    }
  }

  // An action of a graph that was tried again has two outcomes, of which a fork has the second.
  void keep_last_of_graphs() {
    std::set<Position> later;
    for (auto outcome = outcomes_.rbegin(); outcome != outcomes_.rend(); ++outcome) {
      if (outcome->of_graph && !later.insert(outcome->position).second) outcome->is_void = true;
    }
    std::erase_if(outcomes_, [](const Outcome& outcome) { return outcome.is_void; });
  }

  void check_results() {
    // One that was held has a second record, of its delivery; and so has one that a retry took back.
    std::sort(outcomes_.begin(), outcomes_.end(), [](const Outcome& one, const Outcome& other) {
      return std::pair{one.key(), one.sequence} < std::pair{other.key(), other.sequence};
    });
    outcomes_.erase(std::unique(outcomes_.begin(), outcomes_.end(),
                                [](const Outcome& one, const Outcome& other) {
                                  return one.key() == other.key();
                                }),
                    outcomes_.end());
    std::vector<Outcome> strays;
    each(
        "SELECT position, generation FROM workflow_action_results WHERE execution = ?1 AND "
        "recorded = 1",
        {about_.ref}, [&](const SqliteStatement& row) {
          Outcome wanted;
          wanted.position = static_cast<Position>(row.column_int(0));
          wanted.generation = static_cast<int>(row.column_int(1));
          const auto known = std::lower_bound(
              outcomes_.begin(), outcomes_.end(), wanted,
              [](const Outcome& one, const Outcome& other) { return one.key() < other.key(); });
          if (known == outcomes_.end() || known->key() != wanted.key()) {
            return strays.push_back(wanted);
          }
          known->found = true;
        });
    for (const Outcome& stray : strays) {
      find(fmt::format("there is a result at position {}{}, but no record of it", stray.position,
                       of_generation(stray)));
    }
    for (const Outcome& outcome : outcomes_) {
      if (!outcome.found) {
        find(fmt::format("the result at position {}{} is missing", outcome.position,
                         of_generation(outcome)),
             outcome.sequence);
      }
    }
    check_contents();
  }

  static std::string of_generation(const Outcome& outcome) {
    return outcome.generation == 0 ? std::string{} : fmt::format(" (retry {})", outcome.generation);
  }

  // Each result against the record of it. A failure is in the record's payload too.
  void check_contents() {
    for (const Outcome& outcome : outcomes_) {
      if (!outcome.found) {
        continue;
      }
      each(
          "SELECT 1 FROM workflow_events e, workflow_action_results r WHERE e.execution = ?1 AND "
          "e.sequence = ?2 AND r.execution = ?1 AND r.execution > 0 AND r.position = ?3 AND "
          "r.generation = ?4 AND "
          "(e.payload IS NOT iif(r.status = 'succeeded', r.result, r.error) OR "
          "(e.event_type IN ('ActionCompleted', 'GraphActionCompleted')) > "
          "(r.status = 'succeeded') OR "
          "(e.event_type IN ('ActionFailed', 'GraphActionFailed')) > (r.status = 'failed') OR "
          "e.event_name IS NOT r.action_name)",
          {about_.ref, outcome.sequence, outcome.position, outcome.generation},
          [&](const SqliteStatement&) {
            find(fmt::format("the result at position {}{} is not what its record says",
                             outcome.position, of_generation(outcome)),
                 outcome.sequence);
          });
    }
  }

  // --- timers ----------------------------------------------------------------------------------

  void check_timers() {
    std::map<Position, TimerRecord> wanted;
    for (const TimerRecord& timer : fold_.timers()) {
      wanted.emplace(timer.position, timer);
    }
    struct Row {
      Position position;
      std::string kind;
      Timestamp fire_at;
    };
    std::vector<Row> rows;
    each("SELECT position, kind, fire_at FROM workflow_timers WHERE execution = ?1", {about_.ref},
         [&rows](const SqliteStatement& row) {
           rows.push_back(
               {static_cast<Position>(row.column_int(0)), row.column_text(1), row.column_int(2)});
         });
    for (const Row& row : rows) {
      const auto timer = wanted.find(row.position);
      if (timer == wanted.end()) {
        find(fmt::format("there is a timer at position {}, but none by its history", row.position));
        continue;
      }
      if (to_string(timer->second.kind) != row.kind || timer->second.fire_at != row.fire_at) {
        find(fmt::format("its timer at position {} is a {} at {}, by its history a {} at {}",
                         row.position, row.kind, row.fire_at, to_string(timer->second.kind),
                         timer->second.fire_at));
      }
      wanted.erase(timer);
    }
    for (const auto& [position, timer] : wanted) {
      find(
          fmt::format("its timer at position {} ({}) is missing", position, to_string(timer.kind)));
    }
  }

  // --- what belongs to nothing -----------------------------------------------------------------

  void check_strays() {
    for (const auto& [table, what] :
         {std::pair<const char*, const char*>{"workflow_events", "records"},
          {"workflow_action_results", "results"},
          {"workflow_timers", "timers"},
          {"workflow_event_processing", "events in the inbox"},
          {"workflow_state_snapshots", "snapshots"}}) {
      look_around();
      // 0 stands for none in the tables that allow for it.
      each(fmt::format("SELECT execution, count(*) FROM {} t WHERE execution <> 0 AND NOT EXISTS "
                       "(SELECT 1 FROM workflow_executions x WHERE x.execution = t.execution) "
                       "GROUP BY execution",
                       table),
           {}, [&](const SqliteStatement& row) {
             find(fmt::format("{} {} in {} belong to execution number {}, which is not there",
                              row.column_int(1), what, table, row.column_int(0)));
           });
    }
  }

  SqliteReader& reader_;
  const IntegrityOptions& options_;
  const std::atomic<bool>& stop_;
  IntegrityReport report_;
  std::map<std::string, SqliteStatement> statements_;  // by their text

  // Of the execution that is looked at.
  ExecutionRecord about_;
  ExecutionFold fold_;
  StateFold states_;
  std::vector<std::int64_t> snapshots_;  // still to come; the next one is the last
  std::vector<Outcome> outcomes_;
  std::map<Position, int> generations_;
};

}  // namespace

Result<IntegrityReport> check_sqlite(const SqliteStoreOptions& store,
                                     const IntegrityOptions& options,
                                     const std::atomic<bool>& stop) {
  if (options.findings_max < 1 || options.findings_max > kFindingsMax) {
    return Error{ErrorCode::invalid_argument, fmt::format("findings_max is {}; it is from 1 to {}",
                                                          options.findings_max, kFindingsMax)};
  }
  auto path = resolve_store_path(store.path);
  if (!path) {
    return path.error();
  }
  SqliteStoreOptions resolved = store;
  resolved.path = std::move(*path);
  if (auto checked = check_readable_store(resolved); !checked) {
    return checked.error();
  }
  auto reader = SqliteReader::open(resolved);
  if (!reader) {
    return reader.error();
  }
  try {
    return IntegrityCheck{**reader, options, stop}.run();
  } catch (const Impossible& impossible) {
    return impossible.error;
  }
}

}  // namespace pawl
