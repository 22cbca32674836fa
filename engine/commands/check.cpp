#include <iostream>

#include <CLI/CLI.hpp>

#include "engine/commands/serve.hpp"
#include "engine/config.hpp"

namespace millrace::commands {

namespace {

int check(const std::string& file) {
  try {
    const auto c = engine::load_config(file, engine::process_environment);
    std::cout << file << ": good\n" << engine::describe(*c);
    return 0;
  } catch (const engine::config_error& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}

}  // namespace

void register_check(CLI::App& app, std::function<int()>& run) {
  auto* command = app.add_subcommand("check", "Says whether a configuration can be used, and if not, why");
  auto file = std::make_shared<std::string>();
  command->add_option("FILE", *file, "The YAML file")->required();
  command->callback([&run, file] { run = [file] { return check(*file); }; });
}

}  // namespace millrace::commands
