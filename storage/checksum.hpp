#pragma once

#include <string>
#include <string_view>

namespace millrace::storage {

/// Puts a checksum before the payload: CRC-32 (ISO 3309) of `context` and `payload`, four bytes, the lowest
/// first. The context is not stored: it ties the payload to its place, so that a record that turns up
/// elsewhere does not verify.
std::string seal(std::string_view context, std::string_view payload);
/// The payload of what `seal` made, as a view into it; false if it was changed or cut, or sealed for another
/// context.
bool unseal(std::string_view context, std::string_view sealed, std::string_view& payload);

}  // namespace millrace::storage
