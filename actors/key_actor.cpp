#include "actors/key_actor.hpp"

#include <random>

namespace millrace::actors {

namespace {

using key_pointer = key_actor::stateful_pointer<key_state>;

/// Sends what the machine put out, grants before the notices that came with them, and schedules what is due
/// next.
void deliver_lease(key_pointer self, engine::time_point now) {
  auto& s = self->state;
  for (auto& message : s.out) {
    const auto node = s.nodes.find(message.node);
    if (!node) continue;
    if (message.grant) self->send(node, key_grant{message.notice.key, *message.grant});
    self->send(node, std::move(message.notice));
  }
  s.out.clear();
  s.wakeup.set(self, s.machine->next_wakeup(now), now);
}

/// A dispatcher that replaces another starts anew, without the calls and the demand of the old one.
void learn_node(key_pointer self, const std::string& node, engine::time_point now) {
  if (self->state.nodes.learn(self, node)) self->state.machine->forget_node(node, now);
}

void drop_nodes(key_pointer self, const caf::actor_addr& ended) {
  auto& s = self->state;
  const auto now = taken(self);
  for (const auto& node : s.nodes.drop(ended)) s.machine->forget_node(node, now);
  s.machine->advance(now, s.out);
  deliver_lease(self, now);
}

}  // namespace

key_actor::behavior_type key(key_pointer self, std::string name, key_settings settings,
                             const key_heritage& from, const mailbox_depths_ptr& depths) {
  self->state.mailbox = {depths, &mailbox_depths::keys};
  std::random_device seed;
  // Small enough never to run over.
  std::uniform_int_distribution<std::uint64_t> first_lease(1, std::uint64_t{1} << 62);
  self->state.machine = std::make_unique<engine::key_machine>(
      std::move(name), settings.limits, settings.margin, settings.quarantine, self->clock().now(),
      engine::key_machine::origin{first_lease(seed), from.others_until, from.use});
  self->set_down_handler([self](const caf::down_msg& down) { drop_nodes(self, down.source); });
  return {
      [=](const engine::lease_request& request) {
        const auto now = taken(self);
        learn_node(self, request.node, now);
        if (!self->state.nodes.find(request.node)) return;  // what it was granted would be lost
        self->state.machine->request(request, now, self->state.out);
        deliver_lease(self, now);
      },
      [=](const engine::lease_report& report) {
        const auto now = taken(self);
        learn_node(self, report.node, now);
        self->state.machine->report(report, now, self->state.out);
        deliver_lease(self, now);
      },
      [=](const key_settings& changed) {
        const auto now = taken(self);
        auto& s = self->state;
        s.machine->reconfigure(changed.limits, changed.margin, changed.quarantine, now, s.out);
        deliver_lease(self, now);
      },
      [=](const use_question&) { return self->state.machine->export_use(taken(self)); },
      [=](const tick& t) {
        const auto now = taken(self);
        if (!self->state.wakeup.rings(t)) return;
        self->state.machine->advance(now, self->state.out);
        deliver_lease(self, now);
      },
  };
}

}  // namespace millrace::actors
