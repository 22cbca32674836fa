#pragma once

#include <string>
#include <string_view>

/// RFC 4648. Pure functions, safe from any thread.
namespace millrace::http {

/// Appends `bytes` in the standard alphabet, padded.
void base64_encode(std::string_view bytes, std::string& out);

/// Appends what `text` stands for, in the standard or the URL-safe alphabet, padded or not. False, with `out`
/// as it was, when it is neither.
bool base64_decode(std::string_view text, std::string& out);

/// Whether `text` has no character that only the URL-safe alphabet has, and is padded.
bool base64_is_standard(std::string_view text);

/// `text`, in either alphabet, in the standard one and padded. What is no base64 stays what it is.
std::string base64_to_standard(std::string_view text);

}  // namespace millrace::http
