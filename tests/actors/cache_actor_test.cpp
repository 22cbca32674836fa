#include <functional>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "actors/answer_desk.hpp"
#include "actors/cache_actor.hpp"
#include "actors_world.hpp"
#include "tests/engine/flight_world.hpp"

namespace millrace::actors {
namespace {

engine::cached_answer_ptr entry(std::string tenant, std::string model = "m") {
  auto e = std::make_shared<engine::cached_answer>();
  e->body = "{}";
  e->tenant = std::move(tenant);
  e->model = std::move(model);
  e->stored_at = engine::wall_time(1000ms);
  e->expires_at = engine::wall_time::max();
  return e;
}

engine::cache_key key(std::uint8_t n) {
  engine::cache_key k;
  k.bytes[9] = n;  // where shards are chosen by
  return k;
}

/// Shards with their homes, a desk, and a store that is played by the test.
class cache_world : public actors_world {
 public:
  cache_world() {
    home = system.spawn(actors::directory, std::make_shared<mailbox_depths>());
    store = system.spawn([this](store_actor::pointer self) -> store_actor::behavior_type {
      return {
          [this, self](const disk_question& q) {
            const bool known = on_disk != nullptr && !silent;
            if (!silent)
              self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()),
                         disk_answer{q.id, known, known ? *on_disk : engine::cached_answer{}});
          },
          [this, self](const disk_batch_ptr& b) {
            batches.push_back(b);
            writer = self->current_sender();
          },
          [this, self](const purge_order& o) {
            orders.push_back(o);
            self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()),
                       purge_done{o.id, 0, lasting});
          },
          [](caf::flush_atom) { return true; },
          [](const tick&) {},
      };
    });
    send(home, cache_layout{&shards, caf::actor_cast<caf::actor>(store)});
    disk.on = true;
    desk = std::make_unique<answer_desk>(system, home, store, shards.size(), disk, io, thread);
    go_on();
  }
  ~cache_world() {
    desk.reset();
    end(store);
    caf::anon_send_exit(home, caf::exit_reason::user_shutdown);
    deliver();
  }
  cache_world(const cache_world&) = delete;
  cache_world& operator=(const cache_world&) = delete;

  /// Lets actors and coroutines run until none can go on.
  void go_on() {
    do {
      deliver();
      io.restart();
    } while (io.poll() > 0 || scheduler().has_job());
  }
  void start(std::function<void(engine::yield)> body) {
    engine::start_coroutine(io, std::move(body));
    go_on();
  }
  void put(std::uint8_t n, const engine::cached_answer_ptr& e) {
    const auto i = engine::shard_of(key(n), shards.size());
    if (shards.at(i).put(key(n), e, engine::wall_time(2000ms), true)) desk->write(i);
    go_on();
  }
  void acknowledge() {
    caf::anon_send(caf::actor_cast<cache_actor>(writer), done_atom_v);
    go_on();
  }

  boost::asio::io_context io;
  engine::fake_thread thread{io};
  engine::cache_shards shards{4, 1 << 20};
  engine::disk_state disk;
  engine::cancellation gone;
  directory_actor home;
  store_actor store;
  caf::strong_actor_ptr writer;
  engine::cached_answer_ptr on_disk;
  bool silent = false;
  bool lasting = true;
  std::vector<disk_batch_ptr> batches;
  std::vector<purge_order> orders;
  std::unique_ptr<answer_desk> desk;
};

TEST(CacheActor, WhatIsOnDiskIsFoundThroughTheShardsHome) {
  cache_world w;
  w.on_disk = entry("t");
  engine::cached_answer_ptr found;
  w.start([&](engine::yield y) { found = w.desk->find(key(1), engine::duration::max(), w.gone, y); });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->tenant, "t");
  w.on_disk = nullptr;
  bool asked = false;
  w.start([&](engine::yield y) {
    found = w.desk->find(key(1), engine::duration::max(), w.gone, y);
    asked = true;
  });
  EXPECT_TRUE(asked);
  EXPECT_FALSE(found);
}

TEST(CacheActor, AClientThatLeavesDoesNotWaitForTheDisk) {
  cache_world w;
  w.silent = true;
  bool over = false;
  w.start([&](engine::yield y) {
    EXPECT_FALSE(w.desk->find(key(1), engine::duration::max(), w.gone, y));
    over = true;
  });
  EXPECT_FALSE(over);
  w.gone.cancel();
  w.go_on();
  EXPECT_TRUE(over);
}

TEST(CacheActor, ADiskThatIsOffIsNotAsked) {
  cache_world w;
  w.on_disk = entry("t");
  w.disk.on = false;
  bool over = false;
  w.start([&](engine::yield y) {
    EXPECT_FALSE(w.desk->find(key(1), engine::duration::max(), w.gone, y));
    over = true;
  });
  EXPECT_TRUE(over);
}

TEST(CacheActor, AnEntryThatCameBeforeTheHomeWasKnownIsWrittenToo) {
  cache_world w;
  w.desk = std::make_unique<answer_desk>(w.system, w.home, w.store, w.shards.size(), w.disk, w.io, w.thread);
  const auto i = engine::shard_of(key(1), w.shards.size());
  ASSERT_TRUE(w.shards.at(i).put(key(1), entry("t"), engine::wall_time(2000ms), true));
  w.desk->write(i);
  w.go_on();
  ASSERT_EQ(w.batches.size(), 1U);
  EXPECT_EQ(w.batches[0]->entries.size(), 1U);
}

TEST(CacheActor, EntriesAreWrittenInBatchesOneAtATime) {
  cache_world w;
  w.put(1, entry("a"));
  ASSERT_EQ(w.batches.size(), 1U);
  w.put(1, entry("b"));
  w.put(1, entry("c"));
  EXPECT_EQ(w.batches.size(), 1U);
  w.acknowledge();
  ASSERT_EQ(w.batches.size(), 2U);
  EXPECT_EQ(w.batches[1]->entries.size(), 2U);
  w.acknowledge();
  EXPECT_EQ(w.batches.size(), 2U);
  w.put(1, entry("d"));
  EXPECT_EQ(w.batches.size(), 3U);
}

TEST(CacheActor, AHomeThatFailsIsReplacedAndTheShardKeepsWhatItHas) {
  cache_world w;
  w.put(1, entry("a"));
  w.put(1, entry("b"));
  w.end(caf::actor_cast<caf::actor>(w.writer));
  w.go_on();
  ASSERT_EQ(w.batches.size(), 2U);
  EXPECT_EQ(w.batches[1]->entries.front().second->tenant, "b");
  const auto found = w.shards.of(key(1)).enter(key(1), {.look = true}, engine::wall_time(2000ms), {});
  EXPECT_TRUE(found.entry);
}

TEST(CacheActor, APurgeReachesEveryShardAndTheDisk) {
  cache_world w;
  for (std::uint8_t n = 0; n < 20; ++n) w.put(n, entry(n % 2 ? "odd" : "even"));
  purge_report report;
  w.start([&](engine::yield y) { report = w.desk->purge("odd", "", engine::wall_time(3000ms), w.gone, y); });
  EXPECT_EQ(report.entries, 10U);
  EXPECT_TRUE(report.complete);
  ASSERT_EQ(w.orders.size(), 1U);
  EXPECT_EQ(w.orders[0].tenant, "odd");
  for (std::uint8_t n = 0; n < 20; ++n) {
    const auto found = w.shards.of(key(n)).enter(key(n), {.look = true}, engine::wall_time(2000ms), {});
    EXPECT_EQ(found.entry != nullptr, n % 2 == 0) << int{n};
  }
  // An answer that was asked for before the purge comes too late.
  w.put(1, entry("odd"));
  EXPECT_FALSE(w.shards.of(key(1)).enter(key(1), {.look = true}, engine::wall_time(2000ms), {}).entry);
}

TEST(CacheActor, APurgeThatWillNotLastSaysSo) {
  cache_world w;
  w.lasting = false;
  purge_report report;
  w.start([&](engine::yield y) { report = w.desk->purge("", "", engine::wall_time(3000ms), w.gone, y); });
  EXPECT_FALSE(report.complete);
}

}  // namespace
}  // namespace millrace::actors
