#pragma once

#include <cstdint>

namespace millrace::http::documents {

/// Takes from this process what opening a document does not need: address space above `memory_bytes`, CPU
/// time above `cpu_seconds`, files that are written, core files, new privileges; with Landlock, where the
/// kernel has it, all files but libraries, fonts and language data; with a seccomp filter, sockets, other
/// programs, other processes, and changes to files. It ends with its parent. False when the system does not
/// grant one of these.
bool enter_sandbox(std::int64_t memory_bytes, std::int64_t cpu_seconds);

}  // namespace millrace::http::documents
