#pragma once

#include <cstdint>

namespace millrace::http::documents {

/// The whole life of a process that opens one document: reads a job and the document from standard input,
/// answers on standard output. Returns the exit status; 0 also for documents that cannot be opened, which the
/// answer says.
int run_document_worker(std::int64_t memory_bytes, std::int64_t cpu_seconds);

}  // namespace millrace::http::documents
