#include "engine/commands/document_worker.hpp"

#include <cstdint>
#include <memory>

#include <CLI/CLI.hpp>

#include "http/documents/worker/worker.hpp"

namespace millrace::commands {

namespace {

constexpr std::int64_t default_memory_bytes = 1LL << 30;
constexpr std::int64_t default_cpu_seconds = 10;

struct bounds {
  std::int64_t memory_bytes = default_memory_bytes;
  std::int64_t cpu_seconds = default_cpu_seconds;
};

}  // namespace

void register_document_worker(CLI::App& app, std::function<int()>& run) {
  auto* command = app.add_subcommand("document-worker", "Opens one document")->group("");
  auto b = std::make_shared<bounds>();
  command->add_option("--memory", b->memory_bytes, "Address space, bytes");
  command->add_option("--cpu", b->cpu_seconds, "CPU time, seconds");
  command->callback([&run, b] {
    run = [b] { return http::documents::run_document_worker(b->memory_bytes, b->cpu_seconds); };
  });
}

}  // namespace millrace::commands
