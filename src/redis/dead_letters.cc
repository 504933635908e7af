#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "pawl/redis.h"
#include "redis/dead_letter_fields.h"
#include "redis/hint_writer.h"
#include "redis/receipts.h"
#include "redis/redis_connection.h"
#include "redis/redis_dialer.h"
#include "redis/redis_keys.h"

namespace pawl {
namespace {

std::int64_t number(const std::string_view text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// The first bytes, and no half character at the end.
std::string_view beginning(const std::string_view text, const std::size_t most) {
  const std::string_view kept = text.substr(0, most);
  return kept.substr(0, std::min(kept.size(), find_invalid_utf8(kept)));
}

}  // namespace

void add_fields(const DeadLetterNote& letter, std::vector<std::string>& command) {
  command.insert(command.end(),
                 {"partition", std::to_string(letter.partition),  //
                  "row", std::to_string(letter.row),              //
                  "tenant", letter.tenant,                        //
                  "execution", letter.execution_id,               //
                  "event", letter.event_name,                     //
                  "attempts", std::to_string(letter.attempts),    //
                  "error", std::string(beginning(letter.error, kDeadErrorBytesMax))});
}

std::optional<RedisDeadLetter> dead_letter_of(const RedisValue& entry) {
  StreamId id;
  if (entry[1].size() == 0 || !parse_stream_id(entry[0].text(), id)) return std::nullopt;
  RedisDeadLetter letter;
  letter.id = entry[0].text();
  letter.at = static_cast<Timestamp>(id.ms);
  for (std::size_t at = 0; at + 1 < entry[1].size(); at += 2) {
    const std::string_view name = entry[1][at].text();
    const std::string_view value = entry[1][at + 1].text();
    if (name == "partition") letter.partition = static_cast<int>(number(value));
    if (name == "row") letter.row = number(value);
    if (name == "tenant") letter.tenant = value;
    if (name == "execution") letter.execution_id = value;
    if (name == "event") letter.event_name = value;
    if (name == "attempts") letter.attempts = static_cast<int>(number(value));
    if (name == "error") letter.error = value;
  }
  return letter;
}

struct RedisDeadLetters::Inside {
  std::shared_ptr<RedisDialer> dialer;
  RedisKeys keys;
  RedisConnection connection;

  Inside(std::shared_ptr<RedisDialer> to, const std::string& store)
      : dialer(std::move(to)), keys(dialer->address().prefix, store) {}

  Result<RedisReply> ask(const std::initializer_list<std::string_view> question) {
    RedisCommands commands;
    commands.add(question);
    const auto refused = [](const std::string_view why) {
      return Error{ErrorCode::store_unavailable, fmt::format("dead letters: {}", why), {}};
    };
    // A connection that nobody has used for long may be none any more; what was sent over it may have been done.
    connection.close();
    if (auto connected = dialer->dial(connection); !connected) {
      return refused(connected.error().message);
    }
    auto answers = connection.run(commands);
    if (!answers) return refused(answers.error().message);
    if (answers->front().is_error()) return refused(answers->front().text());
    return std::move(answers->front());
  }
};

RedisDeadLetters::RedisDeadLetters(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
RedisDeadLetters::~RedisDeadLetters() = default;
RedisDeadLetters::RedisDeadLetters(RedisDeadLetters&&) noexcept = default;
RedisDeadLetters& RedisDeadLetters::operator=(RedisDeadLetters&&) noexcept = default;

Result<RedisDeadLetters> RedisDeadLetters::open(const std::string& address,
                                                const std::string& store) {
  auto dialer = RedisDialer::open(address);
  if (!dialer) return dialer.error();
  return RedisDeadLetters(std::make_unique<Inside>(std::move(*dialer), store));
}

namespace {

std::optional<Error> refuse_id(const std::string& id) {
  StreamId parsed;
  if (parse_stream_id(id, parsed)) return std::nullopt;
  return Error{ErrorCode::invalid_argument,
               fmt::format("'{}' is no id of a dead letter: they are like 1700000000000-0", id),
               id};
}

}  // namespace

Result<std::size_t> RedisDeadLetters::count() {
  const auto answer = inside_->ask({"XLEN", inside_->keys.dead()});
  if (!answer) return answer.error();
  return static_cast<std::size_t>(answer->integer());
}

Result<std::vector<RedisDeadLetter>> RedisDeadLetters::list(const std::size_t most,
                                                            const std::string& after) {
  if (!after.empty()) {
    if (auto error = refuse_id(after)) return *error;
  }
  std::vector<RedisDeadLetter> letters;
  if (most == 0) return letters;
  const auto answer =
      inside_->ask({"XRANGE", inside_->keys.dead(), after.empty() ? "-" : "(" + after, "+", "COUNT",
                    std::to_string(most)});
  if (!answer) return answer.error();
  for (std::size_t at = 0; at < answer->size(); ++at) {
    if (auto letter = dead_letter_of((*answer)[at])) letters.push_back(std::move(*letter));
  }
  return letters;
}

Result<std::optional<RedisDeadLetter>> RedisDeadLetters::view(const std::string& id) {
  if (auto error = refuse_id(id)) return *error;
  const auto answer = inside_->ask({"XRANGE", inside_->keys.dead(), id, id});
  if (!answer) return answer.error();
  return dead_letter_of((*answer)[0]);
}

Result<bool> RedisDeadLetters::drop(const std::string& id) {
  if (auto error = refuse_id(id)) return *error;
  const auto answer = inside_->ask({"XDEL", inside_->keys.dead(), id});
  if (!answer) return answer.error();
  return answer->integer() == 1;
}

Result<std::optional<RedisDeadLetter>> RedisDeadLetters::take(const std::string& id) {
  auto letter = view(id);
  if (!letter || !*letter) return letter;
  const auto dropped = drop(id);
  if (!dropped) return dropped.error();
  // Somebody else was faster.
  if (!*dropped) return std::optional<RedisDeadLetter>();
  return letter;
}

}  // namespace pawl
