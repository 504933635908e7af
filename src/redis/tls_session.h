#pragma once

// TLS between two buffers: the bytes of the network on one side, those of the program on the other. It does no I/O.

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <openssl/ssl.h>

#include "pawl/error.h"
#include "redis/redis_address.h"

namespace pawl {

struct TlsDelete {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* session) const { SSL_free(session); }
};

// Files are read, and whom to trust is settled. Any thread.
class TlsContext {
 public:
  // Fails with invalid_argument where a file can't be read.
  static Result<std::shared_ptr<const TlsContext>> open(const RedisAddress& address);

  SSL_CTX* get() const { return context_.get(); }

 private:
  std::unique_ptr<SSL_CTX, TlsDelete> context_;
};

// One thread at a time. What fails says why, and the session is of no use any more.
class TlsSession {
 public:
  // `host` is whom the certificate has to name, where certificates are verified.
  TlsSession(const TlsContext& context, const std::string& host);

  // What came from the network; what it holds is added to `plain`.
  std::optional<std::string> receive(std::string_view wire, std::string& plain);
  std::optional<std::string> send(std::string_view plain);  // once is_ready()
  // Begins, and goes on with it after each receive().
  std::optional<std::string> shake_hands();
  bool is_ready() const { return SSL_is_init_finished(session_.get()) == 1; }
  // For the network, from all of the above.
  void take_output(std::string& wire);

 private:
  std::string failure() const;

  std::unique_ptr<SSL, TlsDelete> session_;
  BIO* in_ = nullptr;  // both belong to session_
  BIO* out_ = nullptr;
};

}  // namespace pawl
