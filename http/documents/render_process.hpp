#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/documents/render_job.hpp"

namespace millrace::http::documents {

/// How the process that opens a document is started.
struct render_command {
  std::string program;  ///< path
  std::string subcommand = "document-worker";
  std::int64_t memory_bytes = 0;  ///< of address space
  engine::duration cpu_limit{};   ///< rounded up to seconds
};

enum class render_end : std::uint8_t {
  answered,     ///< `result` says what became of it
  crashed,      ///< it ended without an answer that makes sense: out of memory, or worse
  late,         ///< killed at `until`
  gone,         ///< killed, because nobody wants the answer
  not_started,  ///< the system has no more processes or files
};

/// Opens one document in a process of its own, which is gone when this returns: started without environment
/// and open files, fed and read through pipes. On the calling I/O thread, which goes on meanwhile.
render_end run_render(const render_command& command, const render_job& job, std::string_view document,
                      engine::time_point until, engine::thread_port& thread, engine::cancellation& gone,
                      render_result& result, engine::yield y);

}  // namespace millrace::http::documents
