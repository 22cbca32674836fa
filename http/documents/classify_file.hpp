#pragma once

#include <string_view>

#include "engine/pipeline.hpp"
#include "http/documents/classifier.hpp"

namespace millrace::http::documents {

/// `POST /classify_file` on its thread: from an admitted client's request to its answer, which is counted and
/// logged here. `c`: client, configuration, wishes, deadline, id, `gone`, `forwarded`; its body is the
/// request's. See README.md for what is asked and answered.
engine::answer classify_file(engine::pipeline& pipeline, document_desk& desk, engine::call c,
                             std::string_view content_type, std::string_view query, engine::yield y);

}  // namespace millrace::http::documents
