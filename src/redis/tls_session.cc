#include "redis/tls_session.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <array>
#include <stdexcept>

namespace pawl {
namespace {

// What OpenSSL noted on this thread, which forgets it.
std::string noted() {
  std::array<char, 256> text{};
  const unsigned long code = ERR_peek_last_error();
  if (code != 0) ERR_error_string_n(code, text.data(), text.size());
  ERR_clear_error();
  return text.data();
}

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::open(const RedisAddress& address) {
  const auto refused = [](const std::string_view what) {
    return Error{
        ErrorCode::invalid_argument, fmt::format("TLS to Redis: {} ({})", what, noted()), {}};
  };
  auto made = std::make_shared<TlsContext>();
  made->context_.reset(SSL_CTX_new(TLS_client_method()));
  SSL_CTX* const context = made->context_.get();
  if (context == nullptr) return refused("OpenSSL can't be used");
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // A session that begins anew in the midst is nothing that Redis does.
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_verify(context, address.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  if (address.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context);
  } else if (SSL_CTX_load_verify_file(context, address.ca_file.c_str()) != 1) {
    return refused("the file of 'ca' has no certificates that can be read");
  }
  if (!address.key_file.empty() &&
      (SSL_CTX_use_certificate_chain_file(context, address.certificate_file.c_str()) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, address.key_file.c_str(), SSL_FILETYPE_PEM) != 1 ||
       SSL_CTX_check_private_key(context) != 1)) {
    return refused("the files of 'cert' and 'key' can't be read, or don't belong together");
  }
  return std::shared_ptr<const TlsContext>(std::move(made));
}

TlsSession::TlsSession(const TlsContext& context, const std::string& host)
    : session_(SSL_new(context.get())), in_(BIO_new(BIO_s_mem())), out_(BIO_new(BIO_s_mem())) {
  if (session_ == nullptr || in_ == nullptr || out_ == nullptr) throw std::bad_alloc();
  SSL_set_bio(session_.get(), in_, out_);
  SSL_set_connect_state(session_.get());
  // A name or an address: OpenSSL tells them apart. The name of the server is asked for by name only.
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(session_.get());
  if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host.c_str()) != 1) {
    ERR_clear_error();
    SSL_set1_host(session_.get(), host.c_str());
    // What SSL_set_tlsext_host_name() is a macro for.
    SSL_ctrl(session_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(host.c_str()));
  }
}

std::string TlsSession::failure() const {
  const long verified = SSL_get_verify_result(session_.get());
  std::string why = noted();
  if (verified != X509_V_OK && SSL_get_verify_mode(session_.get()) != SSL_VERIFY_NONE) {
    why = fmt::format("the server's certificate is refused: {}",
                      X509_verify_cert_error_string(verified));
  }
  return "TLS: " + (why.empty() ? "the server ended it" : why);
}

std::optional<std::string> TlsSession::shake_hands() {
  ERR_clear_error();
  const int done = SSL_do_handshake(session_.get());
  if (done == 1 || SSL_get_error(session_.get(), done) == SSL_ERROR_WANT_READ) return std::nullopt;
  return failure();
}

std::optional<std::string> TlsSession::receive(const std::string_view wire, std::string& plain) {
  if (!wire.empty()) BIO_write(in_, wire.data(), static_cast<int>(wire.size()));
  if (!is_ready()) {
    if (auto failed = shake_hands()) return failed;
    if (!is_ready()) return std::nullopt;
  }
  std::array<char, 16'384> buffer;
  for (;;) {
    ERR_clear_error();
    const int got = SSL_read(session_.get(), buffer.data(), static_cast<int>(buffer.size()));
    if (got > 0) {
      plain.append(buffer.data(), static_cast<std::size_t>(got));
      continue;
    }
    if (SSL_get_error(session_.get(), got) == SSL_ERROR_WANT_READ) return std::nullopt;
    return failure();
  }
}

std::optional<std::string> TlsSession::send(const std::string_view plain) {
  ERR_clear_error();
  // Into memory, so that all of it is taken at once.
  std::size_t taken = 0;
  if (plain.empty() || SSL_write_ex(session_.get(), plain.data(), plain.size(), &taken) == 1) {
    return std::nullopt;
  }
  return failure();
}

void TlsSession::take_output(std::string& wire) {
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out_, &bytes);
  if (size <= 0) return;
  wire.append(bytes, static_cast<std::size_t>(size));
  BIO_reset(out_);
}

}  // namespace pawl
