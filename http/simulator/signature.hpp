#pragma once

#include <string>
#include <string_view>

namespace millrace::http::simulation {

/// Seals `text` so that it can be told later whether it came from here unchanged: base64 without line breaks.
std::string sign(std::string_view text);
/// A signature that carries its text, and whether it is one.
std::string seal(std::string_view text);
bool is_seal(std::string_view base64);

}  // namespace millrace::http::simulation
