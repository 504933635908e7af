#include "redis/answer_reader.h"

#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

namespace pawl {

AnswerReader::AnswerReader(std::shared_ptr<RedisDialer> dialer, const RedisKeys& keys,
                           std::string worker, BusState& state)
    : dialer_(std::move(dialer)),
      worker_(std::move(worker)),
      channel_(keys.answers(worker_)),
      state_(state) {}

AnswerReader::~AnswerReader() { close(); }

void AnswerReader::start(HintSink& sink) {
  sink_ = &sink;
  thread_ = std::thread([this] { run(); });
}

void AnswerReader::close() {
  connection_.give_up();
  if (thread_.joinable()) thread_.join();
}

void AnswerReader::run() {
  RedisBackoff backoff;
  bool connected_once = false;
  while (!connection_.is_given_up()) {
    auto done = dialer_->dial(connection_);
    if (done) {
      if (std::exchange(connected_once, true)) ++state_.reconnects;
      state_.set_trouble(BusPart::answers, {});
      backoff.reset();
      done = listen();
    }
    state_.set_trouble(BusPart::answers, done.error().message);
    connection_.pause(backoff.next());
  }
}

// Until the connection is lost.
RedisOutcome<void> AnswerReader::listen() {
  RedisCommands subscription;
  subscription.add({"SUBSCRIBE", channel_});
  const auto subscribed = connection_.run(subscription);
  if (!subscribed) return subscribed.error();
  if (subscribed->front().is_error()) {
    return RedisFailure{std::string(subscribed->front().text())};
  }
  // It may have begun already.
  hand_over(*subscribed);
  RedisCommands question;
  question.add({"PING"});
  for (;;) {
    auto messages = connection_.wait_for_messages(kSilenceMax);
    if (messages && messages->empty()) messages = connection_.run(question);
    if (!messages) return messages.error();
    hand_over(*messages);
  }
}

void AnswerReader::hand_over(const std::vector<RedisReply>& messages) {
  std::vector<AnswerHint> answers;
  for (const RedisReply& message : messages) {
    if (message[0].text() != "message") continue;
    const std::string_view text = message[2].text();
    AnswerHint answer{worker_};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), answer.row);
    if (error != std::errc() || end == text.data() + text.size() || *end != ' ') continue;
    answer.answer = text.substr(static_cast<std::size_t>(end - text.data()) + 1);
    answers.push_back(std::move(answer));
  }
  if (!answers.empty()) sink_->answers_arrived(std::move(answers));
}

}  // namespace pawl
