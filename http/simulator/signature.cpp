#include "http/simulator/signature.hpp"

#include <array>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "http/base64.hpp"

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
  std::string out;
  base64_encode(bytes, out);
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
  std::string bytes;
  return base64_is_standard(text) && base64_decode(text, bytes) && bytes.size() >= signature_bytes &&
         hmac(std::string_view(bytes).substr(signature_bytes)) == bytes.substr(0, signature_bytes);
}

}  // namespace millrace::http::simulation
