#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace millrace::commands {

/// The process that a node starts for each document; no command for people, and not in the help.
void register_document_worker(CLI::App& app, std::function<int()>& run);

}  // namespace millrace::commands
