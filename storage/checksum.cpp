#include "storage/checksum.hpp"

#include <zlib.h>

namespace millrace::storage {
namespace {

constexpr std::size_t checksum_bytes = 4;

unsigned long add(unsigned long crc, std::string_view bytes) {
  return crc32_z(crc, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
}

std::string checksum(std::string_view context, std::string_view payload) {
  const unsigned long crc = add(add(0, context), payload);
  std::string bytes;
  for (std::size_t i = 0; i < checksum_bytes; ++i) bytes += static_cast<char>((crc >> (8 * i)) & 0xffU);
  return bytes;
}

}  // namespace

std::string seal(std::string_view context, std::string_view payload) {
  std::string sealed = checksum(context, payload);
  sealed.append(payload);
  return sealed;
}

bool unseal(std::string_view context, std::string_view sealed, std::string_view& payload) {
  if (sealed.size() < checksum_bytes) return false;
  payload = sealed.substr(checksum_bytes);
  return sealed.substr(0, checksum_bytes) == checksum(context, payload);
}

}  // namespace millrace::storage
