#include "engine/spare_permits.hpp"

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

class SparePermits : public ::testing::Test {
 protected:
  time_point now{1h};
  spare_permits spares;
  std::vector<ticket> back;

  static acquire_request request() {
    acquire_request r;
    r.config_version = 3;
    r.model = 1;
    r.client = 2;
    r.input_tokens = 100;
    r.max_output_tokens = 50;
    return r;
  }
  static acquire_reply grant(ticket id) {
    acquire_reply g;
    g.id = id;
    g.verdict = verdict::granted;
    g.spare = true;
    g.spare_class = {3, 1, 2, 0xff, false};
    g.reserved = {100, 50};
    g.valid_for = 1s;
    return g;
  }
};

TEST_F(SparePermits, ServeOnlyTheirClass) {
  spares.add(grant(7), now, back);
  auto other = request();
  other.private_only = true;
  EXPECT_FALSE(spares.take(other, now));
  other = request();
  other.client = 9;
  EXPECT_FALSE(spares.take(other, now));
  other = request();
  other.config_version = 4;
  EXPECT_FALSE(spares.take(other, now));
  const auto taken = spares.take(request(), now + 10ms);
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->id, 7U);
  EXPECT_EQ(taken->valid_for, 990ms);
  EXPECT_FALSE(spares.take(request(), now)) << "taken once";
}

TEST_F(SparePermits, DoNotServeARepeatedAttempt) {
  spares.add(grant(7), now, back);
  auto again = request();
  again.first = false;
  again.tried = {4};
  EXPECT_FALSE(spares.take(again, now));
}

TEST_F(SparePermits, AReservationMustCoverTheRequestWhereTokensAreLimited) {
  auto limited = grant(7);
  limited.tokens_limited = true;
  spares.add(limited, now, back);
  auto larger = request();
  larger.max_output_tokens = 51;
  EXPECT_FALSE(spares.take(larger, now));
  auto guessed = request();
  guessed.max_output_tokens = -1;
  EXPECT_FALSE(spares.take(guessed, now));
  auto tiny = request();
  tiny.input_tokens = 10;
  tiny.max_output_tokens = 5;
  EXPECT_FALSE(spares.take(tiny, now)) << "it would waste most of the reservation";
  EXPECT_TRUE(spares.take(request(), now));
}

TEST_F(SparePermits, GoBackAfterTheirLife) {
  spares.add(grant(7), now, back);
  EXPECT_FALSE(spares.take(request(), now + spare_permits::life));
  spares.drop_ended(now + spare_permits::life, back);
  EXPECT_EQ(back, std::vector<ticket>{7});
  EXPECT_TRUE(spares.empty());
}

TEST_F(SparePermits, AreBounded) {
  for (ticket t = 0; t < spare_permits::max_held + 2; ++t) spares.add(grant(t), now, back);
  EXPECT_EQ(back.size(), 2U);
  back.clear();
  spares.drop_all(back);
  EXPECT_EQ(back.size(), spare_permits::max_held);
}

TEST_F(SparePermits, AreAskedForInStepWithTheirUse) {
  EXPECT_EQ(spares.wish(), 1);
  EXPECT_EQ(spares.wish(), 2);
  for (int i = 0; i < 20; ++i) (void)spares.wish();
  EXPECT_EQ(spares.wish(), spare_permits::most_wished);
  spares.add(grant(7), now, back);
  spares.drop_ended(now + 10min, back);
  EXPECT_EQ(spares.wish(), spare_permits::most_wished / 2);
  for (int i = 0; i < 20; ++i) {
    spares.add(grant(7), now, back);
    spares.drop_ended(now + 10min, back);
  }
  EXPECT_EQ(spares.wish(), 1);
}

}  // namespace
}  // namespace millrace::engine
