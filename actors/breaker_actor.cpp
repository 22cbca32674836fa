#include "actors/breaker_actor.hpp"

namespace millrace::actors {

namespace {

using pointer = breaker_actor::stateful_pointer<breaker_state>;

double random01(breaker_state& s) {
  return std::uniform_real_distribution<double>(0, 1)(s.random);
}

void learn_node(pointer self, const std::string& node) {
  self->state.nodes[node] = caf::actor_cast<dispatcher_actor>(self->current_sender());
}

void announce(pointer self, const std::optional<engine::breaker_notice>& notice) {
  if (!notice) return;
  for (const auto& [node, dispatcher] : self->state.nodes) self->send(dispatcher, *notice);
}

}  // namespace

breaker_actor::behavior_type breaker(pointer self, std::string target, breaker_settings settings) {
  auto& s = self->state;
  s.target = target;
  s.machine = std::make_unique<engine::breaker_machine>(std::move(target), settings.config);
  s.random.seed(std::random_device{}());
  return {
      [=](const engine::breaker_report& report) {
        learn_node(self, report.node);
        announce(self, self->state.machine->report(report, self->clock().now(), random01(self->state)));
      },
      [=](const probe_request& request) {
        auto& state = self->state;
        learn_node(self, request.node);
        const auto now = self->clock().now();
        const bool granted = state.machine->request_probe(request.node, now);
        const auto& asker = state.nodes[request.node];
        // The state goes first: a refused node learns from it when to ask again.
        self->send(asker, state.machine->notice(now));
        self->send(asker, probe_answer{state.target, granted});
      },
      [=](const breaker_settings& changed) {
        announce(self, self->state.machine->reconfigure(changed.config, self->clock().now()));
      },
  };
}

}  // namespace millrace::actors
