#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace pawl {

// A server of HTTP/1.1 for tests, on 127.0.0.1 and threads of its own: one request for each connection.
class HttpServer {
 public:
  struct Request {
    std::string method;
    std::string target;                          // "/a?q=1"
    std::map<std::string, std::string> headers;  // by lower-case name
    std::string body;
  };
  // The connection of a request.
  class Answer {
   public:
    Answer(int socket, const std::atomic<bool>& closing) : socket_(socket), closing_(closing) {}
    // A whole answer; `head` has more header lines, each ended by "\r\n".
    void send(int status, std::string_view head, std::string_view body);
    // Bytes as they are. False: the other side has gone.
    bool write(std::string_view bytes);
    // Until the other side has gone, or the server closes. Whether it was the former.
    bool wait_for_end();

   private:
    int socket_;
    const std::atomic<bool>& closing_;
  };
  using Handler = std::function<void(const Request&, Answer&)>;

  explicit HttpServer(Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<Request> seen() const;
  void forget();

 private:
  void listen();
  void serve(int socket);

  const Handler handler_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> closing_ = false;
  mutable std::mutex mutex_;
  std::vector<Request> seen_;           // under mutex_
  std::list<std::thread> connections_;  // of thread_ only, and after it
  std::thread thread_;
};

// A port of 127.0.0.1 where nobody listens.
int closed_port();

}  // namespace pawl
