#pragma once

#include <string_view>

#include "engine/cache_key.hpp"
#include "engine/coroutine.hpp"
#include "engine/documents_config.hpp"

namespace millrace::http::documents {

/// What a classification is kept under: SHA-256 over the document's bytes, the industry and its labels, the
/// tenant, the model, and whether only private providers may see it. So another configuration asks anew.
/// Lets other coroutines run between pieces of a large document. Throws std::runtime_error when OpenSSL has
/// no SHA-256.
engine::cache_key document_key(const engine::documents_config& d, const engine::industry_config& industry,
                               std::string_view tenant, bool private_only, std::string_view document,
                               engine::yield y);

}  // namespace millrace::http::documents
