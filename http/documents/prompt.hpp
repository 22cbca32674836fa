#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/documents_config.hpp"
#include "http/documents/render_job.hpp"

namespace millrace::http::documents {

/// The most of a text that is put to a model: its beginning tells what it is.
inline constexpr std::size_t max_prompt_text_bytes = 8000;

/// The body of a chat request that asks which of the industry's labels a document has: its pages, or, where
/// there are none, its text. `model`: as clients call it. `again`: a first answer was of no use. Pure.
std::string classification_prompt(const engine::documents_config& d, const engine::industry_config& industry,
                                  std::string_view model, const std::vector<page_image>& pages,
                                  std::string_view text, bool again);

/// The beginning of `text`, at most `bytes` long, cut between characters. Pure.
std::string_view beginning_of(std::string_view text, std::size_t bytes);

}  // namespace millrace::http::documents
