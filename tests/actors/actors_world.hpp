#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/actors.hpp"
#include "actors/directory_actor.hpp"
#include "actors/dispatcher_actor.hpp"
#include "tests/engine/dispatch_world.hpp"

namespace millrace::actors {

using namespace std::chrono_literals;

struct deterministic_config : system_config {
  deterministic_config() { set("scheduler.policy", caf::atom("testing")); }
};

/// Actors whose messages and time move only when the test says so.
class actors_world {
 public:
  deterministic_config settings;
  caf::actor_system system{settings};

  // Away from the clock's epoch, which some code may take for "never".
  actors_world() { scheduler().clock().current_time += 1h; }

  caf::scheduler::test_coordinator& scheduler() {
    return dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  }
  /// Delivers all messages that are due now.
  void deliver() {
    while (scheduler().try_run_once()) {
    }
  }
  void pass(engine::duration d) {
    constexpr engine::duration step = 10ms;
    for (; d > 0ms; d -= step) {
      scheduler().advance_time(std::min(d, step));
      deliver();
    }
  }
  template <class Handle, class Message>
  void send(const Handle& to, Message message) {
    caf::anon_send(to, std::move(message));
    deliver();
  }
  template <class Handle>
  void end(const Handle& actor) {
    caf::anon_send_exit(actor, caf::exit_reason::kill);
    deliver();
  }
};

/// A node: directory, dispatcher and one desk, which is played by the test.
class node_world : public actors_world {
 public:
  explicit node_world(engine::config_builder b) : builder(std::move(b)) {
    home = system.spawn(actors::directory, depths);
    dispatcher = system.spawn(actors::dispatcher, home, spent_by_account{});
    desk = system.spawn([this](desk_actor::pointer) -> desk_actor::behavior_type {
      return {[this](const desk_replies_ptr& r) { take(*r); }};
    });
    send(dispatcher, join_desk{0, caf::actor_cast<caf::strong_actor_ptr>(desk)});
    reload();
  }
  ~node_world() {
    caf::anon_send_exit(dispatcher, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(home, caf::exit_reason::user_shutdown);
    end(desk);
  }
  node_world(const node_world&) = delete;
  node_world& operator=(const node_world&) = delete;

  void reload() {
    config = builder.build();
    send(home, config);
    send(dispatcher, config);
  }
  void acquire(engine::ticket t, engine::duration patience = 30s) {
    auto batch = std::make_shared<desk_batch>();
    engine::acquire_request r;
    r.id = t;
    r.config_version = config->version;
    r.model = config->names->find("model/m");
    r.input_tokens = 100;
    r.max_output_tokens = 50;
    r.patience = patience;
    batch->acquires.push_back(r);
    send(dispatcher, batch);
  }
  /// The permit was used, and the call ended like this.
  void call(engine::ticket t, engine::attempt_outcome outcome) {
    sent(t);
    settle(t, outcome);
  }
  void sent(engine::ticket t) {
    auto batch = std::make_shared<desk_batch>();
    batch->sent.push_back({t, {}});
    send(dispatcher, batch);
  }
  void settle(engine::ticket t, engine::attempt_outcome outcome) {
    auto batch = std::make_shared<desk_batch>();
    engine::settlement s;
    s.id = t;
    s.outcome = outcome;
    batch->settled.push_back(s);
    send(dispatcher, batch);
  }
  const engine::acquire_reply* reply(engine::ticket t) const {
    for (const auto& r : replies) {
      if (r.id == t) return &r;
    }
    return nullptr;
  }
  bool granted(engine::ticket t) const { return was(t, engine::verdict::granted); }
  bool was(engine::ticket t, engine::verdict v) const {
    return reply(t) != nullptr && reply(t)->verdict == v;
  }
  std::shared_ptr<const dispatcher_view> status() {
    auto batch = std::make_shared<desk_batch>();
    batch->status.push_back(last_question);
    send(dispatcher, batch);
    return views.empty() ? nullptr : views.back();
  }
  /// The home the directory knows by this name; null when there is none.
  caf::strong_actor_ptr find(const std::string& name) {
    caf::scoped_actor self{system};
    auto pending = self->request(home, caf::infinite, resolve_name{name});
    deliver();
    caf::strong_actor_ptr found;
    pending.receive([&](const caf::strong_actor_ptr& answer) { found = answer; },
                    [](const caf::error&) { ADD_FAILURE() << "the directory did not answer"; });
    return found;
  }

  const mailbox_depths_ptr depths = std::make_shared<mailbox_depths>();
  engine::config_builder builder;
  engine::config_ptr config;
  directory_actor home;
  dispatcher_actor dispatcher;
  desk_actor desk;
  std::vector<engine::acquire_reply> replies;
  std::vector<std::shared_ptr<const dispatcher_view>> views;

 private:
  static constexpr engine::ticket last_question = 1'000'000;
  void take(const desk_replies& r) {
    replies.insert(replies.end(), r.acquired.begin(), r.acquired.end());
    for (const auto& [ticket, view] : r.status) views.push_back(view);
  }
};

/// One model "m" with one target of provider "p", reached with these keys.
inline engine::config_builder one_target(const std::vector<engine::key_limits>& keys) {
  engine::config_builder b;
  b.provider("p", keys).model("m", {0});
  return b;
}

}  // namespace millrace::actors
