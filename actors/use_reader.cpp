#include "actors/use_reader.hpp"

namespace millrace::actors {

namespace {
constexpr std::chrono::seconds patience{2};
}

use_reader::use_reader(caf::actor_system& system, directory_actor directory)
    : system_(system), directory_(std::move(directory)) {}

std::optional<engine::key_use> use_reader::read(const std::string& key) {
  // Not kept: CAF puts an error into the mailbox of whoever asked when the patience for an answer is over,
  // also if the answer came in time, and nobody would ever take it out.
  constexpr bool hidden = true;
  const caf::scoped_actor self(system_, hidden);
  caf::strong_actor_ptr home;
  self->request(directory_, patience, resolve_name{key})
      .receive([&](const caf::strong_actor_ptr& found) { home = found; }, [](const caf::error&) {});
  if (!home) return std::nullopt;
  std::optional<engine::key_use> use;
  self->request(caf::actor_cast<key_actor>(home), patience, use_question{key})
      .receive([&](const engine::key_use& answer) { use = answer; }, [](const caf::error&) {});
  return use;
}

}  // namespace millrace::actors
