// pawl_probe.node: drives the Node.js host without an engine, for tests of the crossing alone. Not
// part of the npm package.

#include <thread>

#include <napi.h>

#include "flat_reader.h"
#include "js_thread.h"
#include "json_text.h"
#include "node_hosts.h"

namespace pawl::node {

namespace {

struct RenderCommand {
  std::string& out;

  void operator()(const ScheduleActionCommand& command) const {
    open("action", command.position);
    text(command.name);
    payload(command.parameters);
    out += ',';
    append_number(out, command.options.timeout.value_or(-1));
    out += ',';
    append_number(out, command.options.retry ? command.options.retry->max_attempts : -1);
    out += ']';
  }
  void operator()(const WaitCommand& command) const {
    open("wait", command.position);
    for (const auto& name : command.names) text(name);
    out += ',';
    append_number(out, command.timeout.value_or(-1));
    out += ']';
  }
  void operator()(const WithdrawCommand& command) const {
    open("withdraw", command.position);
    out += ']';
  }
  void operator()(const StartTimerCommand& command) const {
    open("timer", command.position);
    out += ',';
    append_number(out, command.duration);
    out += ']';
  }
  void operator()(const SetStateCommand& command) const {
    out += R"(["state")";
    text(command.state);
    out += ']';
  }
  void operator()(const SetDataCommand& command) const {
    out += R"(["data")";
    text(command.key);
    payload(command.value);
    out += ']';
  }
  void operator()(const EmitCommand& command) const {
    out += R"(["emit")";
    text(command.name);
    payload(command.payload);
    if (!command.execution_id.empty()) text(command.execution_id);
    out += ']';
  }
  void operator()(const StartChildCommand& command) const {
    open("child", command.position);
    text(command.workflow);
    text(command.version);
    text(command.execution_id);
    payload(command.input);
    out += ',';
    append_number(out, static_cast<int>(command.parent_close));
    out += ']';
  }
  void operator()(const CancelChildCommand& command) const {
    open("cancelChild", command.position);
    out += ']';
  }
  void operator()(const StartGraphCommand& command) const {
    open("graph", command.position);
    for (const GraphAction& action : command.actions) text(action.id);
    out += ']';
  }
  void operator()(const ContinueAsNewCommand& command) const {
    out += R"(["continueAsNew")";
    payload(command.input);
    out += ']';
  }
  void operator()(const LogCommand& command) const {
    out += R"(["log",)";
    append_number(out, static_cast<int>(command.level));
    text(command.message);
    payload(command.details);
    out += ']';
  }
  void operator()(const CompleteCommand& command) const {
    out += R"(["complete")";
    payload(command.result);
    out += ']';
  }
  void operator()(const FailCommand& command) const {
    out += R"(["fail",)";
    append_failure(out, command.failure);
    out += ']';
  }
  void operator()(const CancelCommand& command) const {
    out += R"(["cancel",)";
    append_failure(out, command.failure);
    out += ']';
  }

  void operator()(const PatchedCommand& command) const {
    out += R"(["patched")";
    text(command.change_id);
    out += ']';
  }

 private:
  void open(std::string_view kind, Position position) const {
    out += "[\"";
    out += kind;
    out += "\",";
    append_number(out, position);
  }
  void text(const std::string& value) const {
    out += ',';
    append_string(out, value);
  }
  void payload(const Payload& value) const {
    out += ',';
    append_payload(out, value);
  }
};

std::string render(const std::vector<ActivationResult>& results) {
  std::string out = "[";
  for (const auto& result : results) {
    if (out.size() > 1) out += ',';
    out += '[';
    append_number(out, result.execution);
    out += ',';
    append_number(out, result.sequence);
    out += ',';
    append_string(out, result.violation.value_or(""));
    out += ",[";
    for (const auto& command : result.commands) {
      if (&command != result.commands.data()) out += ',';
      std::visit(RenderCommand{out}, command);
    }
    out += "]]";
  }
  out += ']';
  return out;
}

Job read_job(FlatReader& reader) {
  const auto kind = reader.text();
  if (kind == "start") {
    StartJob job;
    job.tenant = "acme";
    job.execution_id = reader.text();
    job.workflow = reader.text();
    job.version = "1.0.0";
    job.input = reader.payload();
    job.seed = static_cast<std::uint64_t>(reader.integer());
    return job;
  }
  const auto position = static_cast<Position>(reader.integer());
  if (kind == "event") {
    EventJob job;
    job.position = position;
    job.event.id = "evt";
    job.event.name = reader.text();
    job.event.payload = reader.payload();
    return job;
  }
  if (kind == "timed_out") return WaitTimedOutJob{position};
  if (kind == "timer") return TimerJob{position};
  if (kind == "action") return ActionJob{position, reader.payload()};
  return ActionJob{position, reader.failure()};
}

Activation read_activation(FlatReader& reader) {
  Activation activation;
  activation.execution = reader.integer();
  activation.sequence = reader.integer();
  activation.now = reader.integer();
  activation.replaying = reader.integer() != 0;
  activation.jobs.resize(static_cast<std::size_t>(reader.integer()));
  for (auto& job : activation.jobs) job = read_job(reader);
  return activation;
}

// Gathers results until there are as many as were asked for, then settles the call.
class GatheringSink final : public ActivationSink {
 public:
  GatheringSink(std::shared_ptr<JsThread> thread, std::int64_t call, std::size_t wanted)
      : thread_(std::move(thread)), call_(call), wanted_(wanted) {}

  void activations_completed(std::vector<ActivationResult> results) override {
    std::lock_guard lock(mutex_);
    replies_.push_back(results.size());
    for (auto& result : results) results_.push_back(std::move(result));
    if (results_.size() < wanted_) return;
    std::string text = "[";
    append_number(text, call_);
    text += ",0,{\"results\":" + render(results_) + ",\"replies\":[";
    for (std::size_t i = 0; i < replies_.size(); ++i) {
      if (i > 0) text += ',';
      append_number(text, static_cast<std::int64_t>(replies_[i]));
    }
    text += "]}]";
    thread_->post(ReplyItem{std::move(text)});
  }

 private:
  std::shared_ptr<JsThread> thread_;
  std::int64_t call_;
  std::size_t wanted_;
  std::mutex mutex_;
  std::vector<ActivationResult> results_;
  std::vector<std::size_t> replies_;
};

class Probe final : public Napi::ObjectWrap<Probe> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Probe",
        {InstanceMethod("drive", &Probe::drive), InstanceMethod("evict", &Probe::evict),
         InstanceMethod("close", &Probe::close)});
  }

  explicit Probe(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Probe>(info) {
    auto thread = JsThread::create(info.Env(), info[0].As<Napi::Object>());
    if (!thread) throw Napi::Error::New(info.Env(), thread.error().message);
    thread_ = std::move(*thread);
    host_ = std::make_shared<NodeWorkflowHost>(thread_);
  }

 private:
  // drive(call, batches): each batch is a flat array of activations, handed over at once, from a
  // thread that is not JavaScript's.
  void drive(const Napi::CallbackInfo& info) {
    const auto batches_js = info[1].As<Napi::Array>();
    std::vector<std::vector<Activation>> batches(batches_js.Length());
    std::size_t count = 0;
    for (std::uint32_t i = 0; i < batches_js.Length(); ++i) {
      FlatReader reader(info.Env(), batches_js.Get(i));
      while (!reader.at_end()) batches[i].push_back(read_activation(reader));
      count += batches[i].size();
    }
    const auto sink =
        std::make_shared<GatheringSink>(thread_, info[0].As<Napi::Number>().Int64Value(), count);
    std::thread([host = host_, sink, batches = std::move(batches)]() mutable {
      for (auto& batch : batches) host->activate(std::move(batch), sink);
    }).detach();
  }

  void evict(const Napi::CallbackInfo& info) {
    host_->evict(info[0].As<Napi::Number>().Int64Value());
  }

  void close(const Napi::CallbackInfo&) { thread_->close(); }

  std::shared_ptr<JsThread> thread_;
  std::shared_ptr<NodeWorkflowHost> host_;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Probe", Probe::define(env));
  return exports;
}

NODE_API_MODULE(pawl_probe, init)

}  // namespace

}  // namespace pawl::node
