#include "http/documents/document_key.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>

namespace millrace::http::documents {

namespace {

constexpr std::string_view domain = "millrace document key 1";
/// Hashed in less than a millisecond.
constexpr std::size_t piece_bytes = 512 * 1024;

struct free_context {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

void require(bool done) {
  if (!done) throw std::runtime_error("OpenSSL cannot compute SHA-256");
}

/// With its length before it, so that no two lists of texts are the same bytes.
void append_text(std::string_view text, std::string& out) {
  out.append(std::to_string(text.size())).append(":").append(text);
}

}  // namespace

engine::cache_key document_key(const engine::documents_config& d, const engine::industry_config& industry,
                               std::string_view tenant, bool private_only, std::string_view document,
                               engine::yield y) {
  std::string head;
  append_text(domain, head);
  append_text(tenant, head);
  append_text(d.model, head);
  append_text(industry.name, head);
  for (const std::string& label : industry.labels) append_text(label, head);
  append_text(private_only ? "private" : "any", head);

  const std::unique_ptr<EVP_MD_CTX, free_context> context(EVP_MD_CTX_new());
  require(context && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1 &&
          EVP_DigestUpdate(context.get(), head.data(), head.size()) == 1);
  while (!document.empty()) {
    const std::string_view piece = document.substr(0, piece_bytes);
    require(EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1);
    document.remove_prefix(piece.size());
    if (!document.empty()) engine::suspend(y, [](const std::function<void()>& resume) { resume(); });
  }
  engine::cache_key key;
  require(EVP_DigestFinal_ex(context.get(), key.bytes.data(), nullptr) == 1);
  return key;
}

}  // namespace millrace::http::documents
