#pragma once

#include <sys/types.h>

#include <string>

#include <pawl/json.h>

#include "harness/workload.h"

namespace bench {

// This program once more, for another part of the same run. It answers with one line of JSON.
class ChildProcess {
 public:
  ChildProcess(const Run& run, const char* part);
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess();

  pawl::Json answer();  // waits for it
  void kill();          // as a power switch would: it is told nothing
  void wait();          // until it has ended by itself, without a failure

 private:
  pid_t pid_ = 0;
  int from_ = -1;
};

}  // namespace bench
