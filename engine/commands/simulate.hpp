#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace millrace::commands {

/// Adds `simulate` to the command line. When it is chosen, `run` is set to what then runs the provider
/// simulator until SIGINT or SIGTERM and returns the exit code; the first line on stdout is `listening
/// http://ADDR:PORT`.
void register_simulate(CLI::App& app, std::function<int()>& run);

}  // namespace millrace::commands
