#include "actors/breaker_actor.hpp"

namespace millrace::actors {

namespace {

using breaker_pointer = breaker_actor::stateful_pointer<breaker_state>;

double random01(breaker_state& s) {
  return std::uniform_real_distribution<double>(0, 1)(s.random);
}

void announce(breaker_pointer self, const std::optional<engine::breaker_notice>& notice) {
  if (!notice) return;
  for (const auto& [node, dispatcher] : self->state.nodes) self->send(dispatcher, *notice);
}

}  // namespace

breaker_actor::behavior_type breaker(breaker_pointer self, std::string target, breaker_settings settings,
                                     const mailbox_depths_ptr& depths) {
  auto& s = self->state;
  s.target = target;
  s.mailbox = {depths, &mailbox_depths::breakers};
  s.machine = std::make_unique<engine::breaker_machine>(std::move(target), settings.config);
  self->set_down_handler([self](const caf::down_msg& down) {
    taken(self);
    self->state.nodes.drop(down.source);
  });
  return {
      [=](const engine::breaker_report& report) {
        const auto now = taken(self);
        self->state.nodes.learn(self, report.node);
        announce(self, self->state.machine->report(report, now, random01(self->state)));
      },
      [=](const probe_request& request) {
        auto& state = self->state;
        const auto now = taken(self);
        state.nodes.learn(self, request.node);
        const auto asker = state.nodes.find(request.node);
        if (!asker) return;  // a probe that nobody hears of would be lost
        const bool granted = state.machine->request_probe(request.node, now);
        // A grant goes first: the notice says that a probe is out, and whoever waits for it would be told no.
        // A refusal goes last: the notice says when to ask again.
        if (granted) self->send(asker, probe_answer{state.target, true});
        self->send(asker, state.machine->notice(now));
        if (!granted) self->send(asker, probe_answer{state.target, false});
      },
      [=](const breaker_settings& changed) {
        const auto now = taken(self);
        announce(self, self->state.machine->reconfigure(changed.config, now));
      },
  };
}

}  // namespace millrace::actors
