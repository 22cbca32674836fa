#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace millrace::commands {

/// Adds `cache warm FILE` to the command line: asks a running node the questions of a file, in its batch
/// queue, so that it knows the answers. Exit code 0 only when every line was answered well.
void register_cache(CLI::App& app, std::function<int()>& run);

}  // namespace millrace::commands
