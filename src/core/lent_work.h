#pragma once

// Work that one worker does for another: the owner of an execution decides, commits and alone knows the truth, but the
// code that it needs is registered at somebody else. What the owner would hand to a host of its own process goes
// there instead, and what such a host would report comes back:
//
//   owner   RunCode, DropInstance, RunAttempt, AbortAttempt      ---->   lender of code
//   owner   CodeRan, AttemptBegan, AttemptAlive, AttemptEnded    <----
//
// None of it is durable, and none has to be: what is lost is asked for again, as after the end of a process.

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "pawl/host.h"

namespace pawl {

// The host, in the tables of a runtime, behind which the other workers are.
inline constexpr std::uint32_t kOtherWorkers = 0xFFFF'FFFF;

// Tells an instance of workflow code from all others that this owner had built elsewhere.
using LentInstance = std::uint64_t;

struct RunCode {
  LentInstance instance = 0;
  Activation activation;
};

struct DropInstance {
  LentInstance instance = 0;
  ExecutionRef execution = 0;
};

// The attempt's number is the owner's.
struct RunAttempt {
  ActionTask task;
};

struct AbortAttempt {
  AttemptId attempt = 0;
};

// Of an instance that is not there: ActivationResult::lost.
struct CodeRan {
  LentInstance instance = 0;
  ActivationResult result;
};

struct AttemptBegan {
  AttemptId attempt = 0;
};

struct AttemptAlive {
  AttemptId attempt = 0;
  Payload progress;
};

struct AttemptEnded {
  AttemptId attempt = 0;
  std::variant<Payload, Failure> outcome;
  bool deferred = false;
  bool begun = true;  // false: it is not going to begin here, and is to be given to somebody else
};

// All that is under way between two workers is void: something of it was lost.
struct AllLost {};

// Says nothing; what was lost before it is noticed by it.
struct StillThere {};

using LentWork = std::variant<RunCode, DropInstance, RunAttempt, AbortAttempt, CodeRan,
                              AttemptBegan, AttemptAlive, AttemptEnded, AllLost, StillThere>;

// Whether the code has come to its end by it, so that its instance is there no longer.
bool ends_code(const ActivationResult& result);

struct OfferedWorkflow {
  std::string name;
  std::string version;
  std::string build;  // another one with each registration: what is stuck is tried again then

  friend bool operator==(const OfferedWorkflow&, const OfferedWorkflow&) = default;
};

struct OfferedAction {
  std::string name;
  ActionOptions options;  // as registered

  friend bool operator==(const OfferedAction&, const OfferedAction&) = default;
};

// What a worker has registered.
struct WorkOffer {
  std::vector<OfferedWorkflow> workflows;
  std::vector<OfferedAction> actions;

  friend bool operator==(const WorkOffer&, const WorkOffer&) = default;
};

}  // namespace pawl
