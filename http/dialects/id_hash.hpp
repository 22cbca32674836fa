#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace millrace::http {

/// 16 hexadecimal digits that stand for an id where it cannot be said as it is: FNV-1a, 64 bits.
/// http://www.isthe.com/chongo/tech/comp/fnv/
inline std::string id_hash(std::string_view id) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : id) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  std::string out;
  for (int digit = 0; digit < 16; ++digit, hash >>= 4) out += "0123456789abcdef"[hash & 15];
  return out;
}

}  // namespace millrace::http
