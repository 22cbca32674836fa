#include <cstdio>
#include <exception>
#include <functional>

#include <CLI/CLI.hpp>

#include "engine/commands/cache.hpp"
#include "engine/commands/document_worker.hpp"
#include "engine/commands/serve.hpp"
#include "engine/commands/simulate.hpp"

int main(int argc, char** argv) {
  CLI::App app{"Millrace: one program between your services and the LLM APIs they call", "millrace"};
  app.require_subcommand(1);
  std::function<int()> run;
  millrace::commands::register_serve(app, run);
  millrace::commands::register_check(app, run);
  millrace::commands::register_simulate(app, run);
  millrace::commands::register_cache(app, run);
  millrace::commands::register_document_worker(app, run);
  app.add_subcommand("version", "Prints the version")->callback([&run] {
    run = [] {
      std::puts("millrace " MILLRACE_VERSION);
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
