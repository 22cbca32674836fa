#include "http/request_key.hpp"

#include <openssl/evp.h>

#include <array>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

#include "http/canonical_json.hpp"

namespace millrace::http {
namespace {

constexpr std::string_view domain = "millrace request key 1";

constexpr std::array<std::string_view, 7> left_out = {"model",    "stream", "stream_options", "user",
                                                      "metadata", "store",  "service_tier"};

struct free_digest {
  void operator()(EVP_MD* md) const { EVP_MD_free(md); }
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

/// SHA-256 with what OpenSSL would otherwise look up and allocate for each text.
class sha256 {
 public:
  sha256() : md_(EVP_MD_fetch(nullptr, "SHA256", nullptr)), context_(EVP_MD_CTX_new()) {
    require(md_ != nullptr && context_ != nullptr);
  }

  void digest(std::string_view text, std::array<std::uint8_t, 32>& out) {
    require(EVP_DigestInit_ex2(context_.get(), md_.get(), nullptr) == 1 &&
            EVP_DigestUpdate(context_.get(), text.data(), text.size()) == 1 &&
            EVP_DigestFinal_ex(context_.get(), out.data(), nullptr) == 1);
  }

 private:
  static void require(bool done) {
    if (!done) throw std::runtime_error("OpenSSL cannot compute SHA-256");
  }

  std::unique_ptr<EVP_MD, free_digest> md_;
  std::unique_ptr<EVP_MD_CTX, free_digest> context_;
};

/// With its length before it, so that no two lists of texts are the same bytes.
void append_text(std::string_view text, std::string& out) {
  std::array<char, 8> length{};
  for (size_t i = 0; i < length.size(); ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFF);
  out.append(length.data(), length.size());
  out.append(text);
}

/// What one thread keeps from one key to the next.
struct key_maker {
  canonical_writer writer;
  sha256 hash;
  std::string text;
};

}  // namespace

engine::cache_key request_key(engine::route_kind route, std::string_view tenant, std::string_view model,
                              bool private_only, std::string_view body, std::string_view betas) {
  thread_local key_maker maker;
  std::string& text = maker.text;
  text.clear();
  append_text(domain, text);
  append_text(tenant, text);
  append_text(model, text);
  append_text(engine::to_string(route), text);
  text.push_back(private_only ? 1 : 0);
  if (!betas.empty()) append_text(betas, text);
  // Canonical forms start with a brace, so other bytes are never taken for one.
  if (!maker.writer.append(body, left_out, text)) text.append("raw ").append(body);
  engine::cache_key key;
  maker.hash.digest(text, key.bytes);
  if (text.capacity() > max_kept_canonical_bytes) std::string().swap(text);
  return key;
}

}  // namespace millrace::http
