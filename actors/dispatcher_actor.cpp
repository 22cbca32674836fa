#include "actors/dispatcher_actor.hpp"

#include <chrono>
#include <random>
#include <string_view>

#include "actors/failure.hpp"
#include "engine/log.hpp"

namespace millrace::actors {

namespace {

using dispatcher_pointer = dispatcher_actor::stateful_pointer<dispatcher_state>;
using peer = dispatcher_state::peer;

void resolve(dispatcher_pointer self, engine::name_id name) {
  auto& p = self->state.peers[name];
  p.resolving = true;
  self->request(self->state.directory, caf::infinite, resolve_name{self->state.config->names->text(name)})
      .then(
          [self, name](const caf::strong_actor_ptr& home) {
            auto& found = self->state.peers[name];
            found.resolving = false;
            found.home = home;
            auto held = std::exchange(found.held, {});
            if (!home) return;
            self->monitor(caf::actor_cast<caf::actor>(home));
            const auto sender = caf::actor_cast<caf::strong_actor_ptr>(self);
            for (auto& message : held)
              home->enqueue(sender, caf::make_message_id(), std::move(message), self->context());
          },
          [self, name](const caf::error&) {
            auto& lost = self->state.peers[name];
            lost.resolving = false;
            lost.held.clear();
          });
}

template <class Handle, class Message>
void send_to(dispatcher_pointer self, engine::name_id name, Message message) {
  auto& p = self->state.peers[name];
  if (p.home) {
    self->send(caf::actor_cast<Handle>(p.home), std::move(message));
    return;
  }
  if (p.held.size() < max_held_messages) p.held.push_back(caf::make_message(std::move(message)));
  if (!p.resolving) resolve(self, name);
}

desk_replies& replies_of(dispatcher_state& s, std::size_t desk) {
  if (desk >= s.replies.size()) s.replies.resize(desk + 1);
  if (!s.replies[desk]) s.replies[desk] = std::make_shared<desk_replies>();
  return *s.replies[desk];
}

desk_replies& replies_for(dispatcher_state& s, engine::ticket id) {
  return replies_of(s, static_cast<std::size_t>(id >> desk_shift));
}

void send_replies(dispatcher_pointer self) {
  auto& s = self->state;
  for (std::size_t desk = 0; desk < s.replies.size(); ++desk) {
    if (s.replies[desk] && desk < s.desks.size() && s.desks[desk]) {
      self->send(s.desks[desk], std::exchange(s.replies[desk], nullptr));
    }
  }
}

/// The name without what sort of thing it names: "p/k1" of "key/p/k1".
std::string_view own_name(const dispatcher_state& s, engine::name_id name) {
  const std::string_view text = s.config->names->text(name);
  return text.substr(text.find('/') + 1);
}

void log_change(const dispatcher_state& s, const engine::health_change& change) {
  using kind = engine::health_change::kind;
  using engine::log_event;
  using engine::log_level;
  const std::string_view name = own_name(s, change.name);
  switch (change.what) {
    case kind::key_quarantined:
      log_event(log_level::warn, "key_quarantined", {{"key", name}, {"why", to_string(change.why)}});
      break;
    case kind::key_quarantine_lifted:
      log_event(log_level::info, "key_quarantine_lifted", {{"key", name}});
      break;
    case kind::breaker_open:
      log_event(log_level::warn, "breaker_open", {{"target", name}});
      break;
    case kind::breaker_closed:
      log_event(log_level::info, "breaker_closed", {{"target", name}});
      break;
  }
}

/// Carries out what the machine decided.
void deliver(dispatcher_pointer self, engine::time_point now) {
  auto& s = self->state;
  for (const auto& reply : s.out.replies) replies_for(s, reply.id).acquired.push_back(reply);
  if (s.out.revoke_spares) {
    for (std::size_t desk = 0; desk < s.desks.size(); ++desk) replies_of(s, desk).revoke_spares = true;
  }
  send_replies(self);
  for (auto& [name, report] : s.out.lease_reports) send_to<key_actor>(self, name, std::move(report));
  for (auto& [name, request] : s.out.lease_requests) send_to<key_actor>(self, name, std::move(request));
  for (auto& [name, report] : s.out.breaker_reports) send_to<breaker_actor>(self, name, std::move(report));
  for (const auto name : s.out.probe_requests)
    send_to<breaker_actor>(self, name, probe_request{s.config->node.id});
  for (const auto& change : s.out.health_changes) log_change(s, change);
  s.out.clear();
  s.wakeup.set(self, s.machine.next_wakeup(), now);
}

/// Tells the machine what time of day it is.
void tell_wall(dispatcher_state& s) {
  s.machine.set_wall(
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()));
}

void restore_spend(dispatcher_state& s) {
  std::vector<engine::earlier_spend> spends;
  for (const auto& [account, spent] : s.earlier) {
    const engine::name_id name = s.config->names->find(account);
    if (name != engine::no_name) spends.push_back({name, spent.day, spent.month});
  }
  s.machine.restore_spend(spends);
  s.earlier.clear();
}

void take_batch(dispatcher_pointer self, desk_batch& batch) {
  auto& s = self->state;
  const auto now = self->clock().now();
  tell_wall(s);
  for (const auto& report : batch.sent) s.machine.sent(report, now, s.out);
  for (const auto& settlement : batch.settled) s.machine.settle(settlement, now, s.out);
  for (const auto& request : batch.acquires) s.machine.acquire(request, now, s.out);
  for (const auto ticket : batch.cancelled) s.machine.cancel(ticket, now, s.out);
  if (!batch.status.empty()) {
    const auto view = std::make_shared<dispatcher_view>();
    view->status = s.machine.status(now);
    view->config = s.config;
    view->mailbox = self->mailbox().size();
    for (const auto ticket : batch.status) replies_for(s, ticket).status.emplace_back(ticket, view);
  }
  deliver(self, now);
}

engine::name_id id_of(const dispatcher_state& s, const std::string& name) {
  return s.config->names->find(name);
}

/// Forgets a home that went away; what its successor has to hear looks that up.
void lose(dispatcher_pointer self, const caf::actor_addr& address) {
  auto& s = self->state;
  const auto now = self->clock().now();
  for (auto& [name, p] : s.peers) {
    if (!p.home || caf::actor_cast<caf::actor_addr>(p.home) != address) continue;
    p.home = nullptr;
    s.machine.on_home_lost(name, now, s.out);
  }
  deliver(self, now);
}

}  // namespace

dispatcher_actor::behavior_type dispatcher(dispatcher_pointer self, directory_actor directory,
                                           spent_by_account earlier) {
  self->state.directory = std::move(directory);
  self->state.earlier = std::move(earlier);
  self->set_exception_handler([](std::exception_ptr& thrown) { return failure_of(thrown); });
  self->set_down_handler([self](const caf::down_msg& down) { lose(self, down.source); });
  return {
      [=](const desk_batch_ptr& batch) { take_batch(self, *batch); },
      [=](const join_desk& join) {
        auto& desks = self->state.desks;
        if (desks.size() <= join.desk) desks.resize(join.desk + std::size_t{1});
        desks[join.desk] = caf::actor_cast<desk_actor>(join.companion);
      },
      [=](const key_grant& g) {
        const auto now = self->clock().now();
        self->state.machine.on_grant(id_of(self->state, g.key), g.grant, now, self->state.out);
        deliver(self, now);
      },
      [=](const engine::key_notice& n) {
        const auto now = self->clock().now();
        self->state.machine.on_key_notice(n, now, self->state.out);
        deliver(self, now);
      },
      [=](const engine::breaker_notice& n) {
        const auto now = self->clock().now();
        self->state.machine.on_breaker_notice(n, now, self->state.out);
        deliver(self, now);
      },
      [=](const probe_answer& answer) {
        auto& s = self->state;
        const auto now = self->clock().now();
        const auto target = id_of(s, answer.target);
        if (answer.granted) {
          s.machine.on_probe_granted(target, now, s.out);
        } else {
          s.machine.on_probe_refused(target, now, s.out);
        }
        deliver(self, now);
      },
      [=](const engine::config_ptr& c) {
        const auto now = self->clock().now();
        self->state.config = c;
        tell_wall(self->state);
        self->state.machine.apply(c, now, self->state.out);
        if (!self->state.earlier.empty()) restore_spend(self->state);
        deliver(self, now);
      },
      [=](const engine::weights_order& order) {
        const auto now = self->clock().now();
        self->state.machine.set_weights(order, now, self->state.out);
        deliver(self, now);
      },
      [=](const tick& t) {
        if (!self->state.wakeup.rings(t)) return;
        const auto now = self->clock().now();
        self->state.machine.tick(now, self->state.out);
        deliver(self, now);
      },
  };
}

}  // namespace millrace::actors
