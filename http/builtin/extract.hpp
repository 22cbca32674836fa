#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::http::builtin {

/// The sentences of `context` that are most like `question`, in their order, at most `max_bytes` in all;
/// empty when none has a word in common with it. Pure.
std::string extract(std::string_view context, std::string_view question, std::size_t max_bytes);

}  // namespace millrace::http::builtin
