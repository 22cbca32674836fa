#include "actors/bridge.hpp"

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "actors/directory_actor.hpp"
#include "actors/dispatcher_actor.hpp"
#include "tests/engine/dispatch_world.hpp"

namespace millrace::actors {
namespace {

using namespace std::chrono_literals;
using engine::verdict;

/// An I/O thread, played by the test's own, and actors on real ones.
struct bridge_test : testing::Test {
  boost::asio::io_context io;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> guard{io.get_executor()};
  system_config settings;
  caf::actor_system system{settings};
  dispatcher_actor dispatcher;
  directory_actor home;
  std::unique_ptr<bridge> desk;
  engine::cancellation gone;
  /// What a dispatcher played by the test was told, and what it does about it. On the test's thread.
  std::vector<desk_batch_ptr> batches;
  std::function<void(const desk_batch&)> on_batch = [](const desk_batch&) {};
  desk_actor companion;

  void TearDown() override {
    desk.reset();
    caf::anon_send_exit(dispatcher, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(home, caf::exit_reason::user_shutdown);
  }

  void play_dispatcher() {
    dispatcher = system.spawn([this](dispatcher_actor::pointer) -> dispatcher_actor::behavior_type {
      return {
          [this](const desk_batch_ptr& batch) {
            boost::asio::post(io, [this, batch] {
              batches.push_back(batch);
              on_batch(*batch);
            });
          },
          [this](const join_desk& join) {
            boost::asio::post(io, [this, join] { companion = caf::actor_cast<desk_actor>(join.companion); });
          },
          [](const key_grant&) {},
          [](const engine::key_notice&) {},
          [](const engine::breaker_notice&) {},
          [](const probe_answer&) {},
          [](const engine::config_ptr&) {},
          [](const engine::weights_order&) {},
          [](const tick&) {},
      };
    });
    desk = std::make_unique<bridge>(system, dispatcher, io, 3);
  }
  void grant_all(const desk_batch& batch) {
    if (batch.acquires.empty()) return;
    auto replies = std::make_shared<desk_replies>();
    for (const auto& r : batch.acquires) {
      engine::acquire_reply& reply = replies->acquired.emplace_back();
      reply.id = r.id;
      reply.verdict = verdict::granted;
    }
    caf::anon_send(companion, replies);
  }
  engine::acquire_request question() {
    engine::acquire_request r;
    r.id = desk->new_ticket();
    r.first = false;
    return r;
  }
  void spawn(const std::function<void(engine::yield)>& body) { engine::start_coroutine(io, body); }
  /// Runs the I/O thread until `done`; false after far too long.
  [[nodiscard]] bool run_until(const std::function<bool()>& done) {
    const auto limit = engine::clock::now() + 30s;
    while (!done() && engine::clock::now() < limit) io.run_one_for(1s);
    return done();
  }
};

TEST_F(bridge_test, QuestionsOfOneRoundTravelTogether) {
  play_dispatcher();
  on_batch = [this](const desk_batch& b) { grant_all(b); };
  int granted = 0;
  for (int i = 0; i < 10; ++i) {
    spawn([&](engine::yield y) {
      const auto r = question();
      const auto reply = desk->acquire(r, gone, y);
      EXPECT_EQ(reply.id, r.id);
      EXPECT_EQ(r.id >> desk_shift, 3U);
      granted += reply.verdict == verdict::granted ? 1 : 0;
    });
  }
  ASSERT_TRUE(run_until([&] { return granted == 10; }));
  ASSERT_EQ(batches.size(), 1U);
  EXPECT_EQ(batches[0]->acquires.size(), 10U);
}

TEST_F(bridge_test, WhoeverGoesWhileWaitingGivesBackWhatArrivesLater) {
  play_dispatcher();
  engine::ticket asked = 0;
  on_batch = [&](const desk_batch& b) {
    if (b.acquires.empty()) return;
    gone.cancel();
    grant_all(b);  // Too late.
  };
  bool back = false;
  spawn([&](engine::yield y) {
    const auto r = question();
    asked = r.id;
    EXPECT_EQ(desk->acquire(r, gone, y).verdict, verdict::no_candidate);
    back = true;
  });
  ASSERT_TRUE(run_until([&] { return back && batches.size() == 2; }));
  EXPECT_EQ(batches[1]->cancelled, std::vector<engine::ticket>{asked});
  EXPECT_TRUE(batches[1]->settled.empty());
}

TEST_F(bridge_test, WhoeverIsGoneAlreadyAsksNothing) {
  play_dispatcher();
  gone.cancel();
  bool back = false;
  spawn([&](engine::yield y) {
    EXPECT_EQ(desk->acquire(question(), gone, y).verdict, verdict::no_candidate);
    EXPECT_EQ(desk->status(gone, y), nullptr);
    back = true;
  });
  ASSERT_TRUE(run_until([&] { return back; }));
  engine::settlement bad;
  bad.id = desk->new_ticket();
  bad.outcome = engine::attempt_outcome::failed;
  desk->settle(bad);
  ASSERT_TRUE(run_until([&] { return !batches.empty(); }));
  EXPECT_TRUE(batches[0]->acquires.empty());
  EXPECT_TRUE(batches[0]->status.empty());
}

TEST_F(bridge_test, WhatNobodyWaitsForArrivesByItself) {
  play_dispatcher();
  const auto t = desk->new_ticket();
  desk->sent({t, {}});
  engine::settlement well;
  well.id = t;
  desk->settle(well);
  ASSERT_TRUE(run_until([&] { return !batches.empty(); }));
  ASSERT_EQ(batches[0]->sent.size(), 1U);
  EXPECT_GE(batches[0]->sent[0].age, 0ms);
  ASSERT_EQ(batches[0]->settled.size(), 1U);
  EXPECT_EQ(batches[0]->settled[0].id, t);
}

TEST_F(bridge_test, AFailureAndAProbeAreToldBeforeAnythingElseHappens) {
  play_dispatcher();
  engine::settlement news;
  for (const bool probe : {false, true}) {
    batches.clear();
    news.id = desk->new_ticket();
    news.outcome = probe ? engine::attempt_outcome::ok : engine::attempt_outcome::failed;
    news.probe = probe;
    desk->settle(news);
    // As another thread's bridge would, for the same client's next request.
    auto next = std::make_shared<desk_batch>();
    next->cancelled = {99};
    caf::anon_send(dispatcher, next);
    ASSERT_TRUE(run_until([&] { return batches.size() == 2; }));
    ASSERT_EQ(batches[0]->settled.size(), 1U);
    EXPECT_EQ(batches[0]->settled[0].id, news.id);
    EXPECT_EQ(batches[1], next);
  }
}

TEST_F(bridge_test, ARealNodeGrantsAndTellsItsState) {
  engine::config_builder b;
  b.provider("p", {engine::rpm(6000)}).model("m", {0});
  const auto config = b.build();
  home = system.spawn(directory, mailbox_depths_ptr{});
  dispatcher = system.spawn(actors::dispatcher, home, spent_by_account{});
  caf::anon_send(home, config);
  caf::anon_send(dispatcher, config);
  desk = std::make_unique<bridge>(system, dispatcher, io, 0);
  std::shared_ptr<const dispatcher_view> view;
  spawn([&](engine::yield y) {
    auto r = question();
    r.config_version = config->version;
    r.model = config->names->find("model/m");
    r.patience = 20s;
    const auto reply = desk->acquire(r, gone, y);
    EXPECT_EQ(reply.verdict, verdict::granted);
    EXPECT_EQ(reply.key, config->names->find("key/p/k1"));
    desk->sent({reply.id, {}});
    view = desk->status(gone, y);
  });
  ASSERT_TRUE(run_until([&] { return view != nullptr; }));
  EXPECT_EQ(view->config, config);
  ASSERT_EQ(view->status.keys.size(), 1U);
  EXPECT_EQ(view->status.keys[0].granted, 1U);
  EXPECT_EQ(view->status.keys[0].in_flight, 1);
}

}  // namespace
}  // namespace millrace::actors
