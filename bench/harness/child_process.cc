#include "harness/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <utility>

#include <fmt/format.h>

#include "harness/give_up.h"

namespace bench {

ChildProcess::ChildProcess(const Run& run, const char* const part) {
  const std::string n = std::to_string(run.n);
  const std::string concurrency = std::to_string(run.concurrency);
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) give_up("there is no pipe");
  pid_ = fork();
  if (pid_ < 0) give_up("there is no process");
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(ends[1], STDOUT_FILENO);
    execl("/proc/self/exe", "pawl_bench", run.workload.c_str(), "--part", part, "--n", n.c_str(),
          "--concurrency", concurrency.c_str(), "--folder", run.folder.c_str(), nullptr);
    _exit(127);
  }
  close(ends[1]);
  from_ = ends[0];
}

ChildProcess::~ChildProcess() {
  if (pid_ != 0) kill();
  close(from_);
}

pawl::Json ChildProcess::answer() {
  std::string line;
  for (char byte = 0; read(from_, &byte, 1) == 1 && byte != '\n';) line += byte;
  auto answer = pawl::Json::parse(line);
  if (!answer) give_up("a process of the run ended without an answer");
  return std::move(*answer);
}

void ChildProcess::kill() {
  ::kill(pid_, SIGKILL);
  waitpid(std::exchange(pid_, 0), nullptr, 0);
}

void ChildProcess::wait() {
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) give_up("a process of the run failed");
}

}  // namespace bench
