#include <cstdio>
#include <exception>
#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/commands/cache.hpp"
#include "engine/commands/document_worker.hpp"
#include "engine/commands/serve.hpp"
#include "engine/commands/simulate.hpp"

namespace {

constexpr const char* program_version = "millrace " MILLRACE_VERSION;

/// What is said of a command line that cannot be used. CLI11 tells somebody who asks for a command that does
/// not exist only that one is required.
std::string explain(const CLI::App* app, const CLI::Error& e) {
  const CLI::App* asked = app;
  while (!asked->get_subcommands().empty()) asked = asked->get_subcommands().front();
  std::string known;
  for (const auto* command : asked->get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;  // meant for the program itself
    known += (known.empty() ? "" : ", ") + command->get_name();
  }
  const auto code = static_cast<CLI::ExitCodes>(e.get_exit_code());
  if (known.empty() || code != CLI::ExitCodes::RequiredError) return CLI::FailureMessage::simple(app, e);
  const auto unknown = asked->remaining();
  std::string said = "A command is required";
  if (!unknown.empty()) {
    said = "There is no " + std::string(unknown.front().starts_with("-") ? "option" : "command") + " `" +
           unknown.front() + "`";
  }
  return said + "; the commands are: " + known + "\nRun with --help for more information.\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Millrace: one program between your services and the LLM APIs they call", "millrace"};
  app.require_subcommand(1);
  app.failure_message(explain);
  app.set_version_flag("--version", program_version, "Print the version and exit");
  std::function<int()> run;
  millrace::commands::register_serve(app, run);
  millrace::commands::register_check(app, run);
  millrace::commands::register_simulate(app, run);
  millrace::commands::register_cache(app, run);
  millrace::commands::register_document_worker(app, run);
  app.add_subcommand("version", "Prints the version")->callback([&run] {
    run = [] {
      std::puts(program_version);
      return 0;
    };
  });
  CLI11_PARSE(app, argc, argv);
  try {
    return run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "millrace: %s\n", e.what());
    return 1;
  }
}
