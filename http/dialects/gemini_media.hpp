#pragma once

#include <string_view>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// What a media type is in the shared model; false for what the model has no part for, such as video.
bool gemini_media_kind(std::string_view media_type, part_kind& kind);

/// The media type that the ending of an address tells, query and fragment aside; empty: none.
std::string_view media_type_of_url(std::string_view url);

/// Whether `model` is of Gemini 3 or later: the generation with thinking levels, mandatory signatures and
/// media in function responses. Names that tell no generation are not.
bool is_gemini_3(std::string_view model);

}  // namespace millrace::http
