#pragma once

#include <cstdint>

namespace millrace::commands {

/// A proxied stream needs a descriptor for its client and one for its provider.
inline constexpr std::int64_t files_per_connection = 2;

/// Descriptors that no client takes: for the files of cache, journal and log, listeners, event loops, clients
/// that are being refused, and idle connections to providers. Half of all where that is less.
inline constexpr std::int64_t reserved_files = 512;

/// Raises the soft limit of open files, often a mere 1024, to the hard one.
void raise_open_file_limit();

/// The soft limit now.
std::int64_t open_file_limit();

/// How many clients `open_files` are enough for; at least one.
std::int64_t connections_within(std::int64_t open_files);

/// How many more may be told that the server is full, rather than be closed at once.
std::int64_t refusals_within(std::int64_t open_files);

}  // namespace millrace::commands
