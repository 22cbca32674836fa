#include "http/simulator/signature.hpp"

#include <array>

#include <openssl/evp.h>
#include <openssl/hmac.h>

namespace millrace::http::simulation {
namespace {

/// Not a secret: the simulator protects nothing, it only tells its own signatures from others.
constexpr std::string_view signing_key = "millrace simulator";
constexpr std::size_t signature_bytes = 32;

std::string hmac(std::string_view text) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  HMAC(EVP_sha256(), signing_key.data(), static_cast<int>(signing_key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length);
  return {reinterpret_cast<const char*>(digest.data()), length};
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(length));
  return out;
}

}  // namespace

std::string sign(std::string_view text) {
  return base64(hmac(text));
}

std::string seal(std::string_view text) {
  return base64(hmac(text) + std::string(text));
}

bool is_seal(std::string_view text) {
  if (text.size() % 4 != 0 || text.size() < signature_bytes) return false;
  std::string bytes(text.size() / 4 * 3, '\0');
  if (EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                      reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size())) < 0)
    return false;
  if (text.ends_with('=')) bytes.pop_back();
  if (text.ends_with("==")) bytes.pop_back();
  return bytes.size() >= signature_bytes &&
         hmac(std::string_view(bytes).substr(signature_bytes)) == bytes.substr(0, signature_bytes);
}

}  // namespace millrace::http::simulation
