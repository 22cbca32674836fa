#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace millrace::commands {

/// Adds `serve` to the command line. When it is chosen, `run` is set to what then runs the node until SIGTERM
/// or SIGINT and returns the exit code. SIGHUP reloads the configuration.
void register_serve(CLI::App& app, std::function<int()>& run);

/// Adds `check FILE`: says whether a configuration can be used, and why not.
void register_check(CLI::App& app, std::function<int()>& run);

}  // namespace millrace::commands
