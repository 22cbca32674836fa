#include "engine/commands/answer_keeper.hpp"

#include <algorithm>
#include <chrono>

#include "actors/store_actor.hpp"
#include "engine/log.hpp"

namespace millrace::commands {

namespace {

using engine::log_event;
using engine::log_level;
using namespace std::chrono_literals;

constexpr auto flush_patience = 20s;
/// Entries that go to the disk together at the end.
constexpr std::size_t most_at_once = 1024;

std::chrono::milliseconds longest_ttl(const engine::config& c) {
  engine::duration longest = std::max(c.cache.ttl, c.documents.ttl);
  for (const auto& m : c.models) longest = std::max(longest, m.cache.ttl + m.degrade.stale);
  return std::chrono::ceil<std::chrono::milliseconds>(longest);
}

}  // namespace

answer_keeper::answer_keeper(caf::actor_system& system, const actors::directory_actor& directory,
                             const actors::mailbox_depths_ptr& mailboxes, const engine::config& c,
                             const engine::cache_shards& shards)
    : system_(system), shards_(shards) {
  storage::answer_store::settings settings;
  settings.max_bytes = static_cast<std::uint64_t>(c.cache.disk_bytes);
  settings.max_ttl = longest_ttl(c);
  auto opened = storage::answer_store::open(c.node.data_dir + "/cache", settings);
  if (!opened.note.empty()) {
    log_event(log_level::warn, opened.store ? "cache_disk_renewed" : "cache_disk_unavailable",
              {{"why", opened.note}});
  }
  if (opened.store)
    store_ = system_.spawn<caf::detached>(actors::store, opened.store.release(), &disk_, mailboxes);
  caf::anon_send(directory, actors::cache_layout{&shards, caf::actor_cast<caf::actor>(store_)});
}

answer_keeper::~answer_keeper() {
  if (!store_) return;
  // The database closes with its actor, and the next process may want it at once.
  caf::scoped_actor self(system_);
  self->send_exit(store_, caf::exit_reason::user_shutdown);
  self->wait_for(store_);
}

void answer_keeper::close() {
  if (!store_) return;
  caf::scoped_actor self(system_);
  for (std::size_t i = 0; i < shards_.size(); ++i) {
    while (true) {
      auto batch = std::make_shared<actors::disk_batch>();
      batch->entries = shards_.at(i).take_unwritten(most_at_once);
      if (batch->entries.empty()) break;
      self->send(store_, actors::disk_batch_ptr(std::move(batch)));
    }
  }
  bool done = false;
  self->request(store_, flush_patience, caf::flush_atom_v)
      .receive([&](bool flushed) { done = flushed; }, [](const caf::error&) {});
  if (!done) log_event(log_level::warn, "cache_not_flushed", {});
}

}  // namespace millrace::commands
