#pragma once

#include <atomic>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace pawl::test {

// A connection that breaks: a proxy on the loopback that cuts, once, when what the client sends has a
// text, or when it is told to.
class CuttingProxy {
 public:
  explicit CuttingProxy(int port);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  int port() const { return port_; }
  int cuts() const { return cuts_; }
  // The next time. What has the text is delivered or not, and the answer is lost.
  void cut_at(std::string text, bool delivered);
  // All connections that there are, now.
  void cut_all() { ++cut_before_; }

 private:
  void accept_all();
  void serve(int client, int upstream);

  const int upstream_port_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> closing_ = false;
  std::atomic<int> cuts_ = 0;
  std::atomic<int> cut_before_ = 0;  // how often all were
  std::thread acceptor_;

  std::mutex mutex_;
  // All guarded by mutex_.
  std::string text_;
  bool delivered_ = false;
  std::list<std::thread> served_;
};

}  // namespace pawl::test
