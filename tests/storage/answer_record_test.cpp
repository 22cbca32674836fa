#include "storage/answer_record.hpp"

#include <limits>
#include <random>

#include <msgpack.hpp>

#include "storage/checksum.hpp"
#include "store_world.hpp"

namespace millrace::storage {
namespace {

class AnswerRecord : public store_world {
 protected:
  const engine::cache_key key_ = key_of(1);
  const engine::cached_answer_ptr answer_ = answer_of(1, 300);
  const std::string record_ = encode_answer(key_, *answer_);

  /// The record with another version, one field more, or one less, and a right checksum.
  std::string sealed_again(std::int64_t version, bool another_field, const std::string& without = {}) const {
    std::string_view payload;
    const std::string_view name(reinterpret_cast<const char*>(key_.bytes.data()), key_.bytes.size());
    EXPECT_TRUE(unseal(name, record_, payload));
    const auto handle = msgpack::unpack(payload.data(), payload.size());
    auto map = handle->as<std::map<std::string, msgpack::object>>();
    msgpack::zone zone;
    map["v"] = msgpack::object(version, zone);
    if (another_field) map["later"] = msgpack::object(std::string("something"), zone);
    map.erase(without);
    msgpack::sbuffer buffer;
    msgpack::pack(buffer, map);
    return seal(name, {buffer.data(), buffer.size()});
  }
};

TEST_F(AnswerRecord, ComesBackWhole) {
  const auto back = decode_answer(key_, record_);
  ASSERT_NE(back, nullptr);
  EXPECT_TRUE(same(*back, *answer_));
  const engine::cached_answer nothing;
  const auto empty = decode_answer(key_, encode_answer(key_, nothing));
  ASSERT_NE(empty, nullptr);
  EXPECT_TRUE(same(*empty, nothing));
}

TEST_F(AnswerRecord, EveryFlippedBitIsSeen) {
  for (std::size_t bit = 0; bit < record_.size() * 8; ++bit) {
    std::string changed = record_;
    changed[bit / 8] = static_cast<char>(static_cast<unsigned char>(changed[bit / 8]) ^ (1U << (bit % 8)));
    ASSERT_EQ(decode_answer(key_, changed), nullptr) << "bit " << bit;
  }
}

TEST_F(AnswerRecord, EveryCutIsSeen) {
  for (std::size_t length = 0; length < record_.size(); ++length) {
    ASSERT_EQ(decode_answer(key_, std::string_view(record_).substr(0, length)), nullptr) << length;
  }
  EXPECT_EQ(decode_answer(key_, record_ + "x"), nullptr);
}

TEST_F(AnswerRecord, InAnotherOnesPlaceItIsNoAnswer) {
  EXPECT_EQ(decode_answer(key_of(2), record_), nullptr);
}

TEST_F(AnswerRecord, AnUnknownVersionIsAMissAndAnUnknownFieldIsNot) {
  ASSERT_NE(decode_answer(key_, sealed_again(2, false)), nullptr);
  EXPECT_EQ(decode_answer(key_, sealed_again(0, false)), nullptr);
  EXPECT_EQ(decode_answer(key_, sealed_again(3, false)), nullptr);
  const auto back = decode_answer(key_, sealed_again(2, true));
  ASSERT_NE(back, nullptr);
  EXPECT_TRUE(same(*back, *answer_));
}

/// What the version before wrote has no use once it expired.
TEST_F(AnswerRecord, TheVersionBeforeIsRead) {
  const auto back = decode_answer(key_, sealed_again(1, false, "dropped"));
  ASSERT_NE(back, nullptr);
  EXPECT_EQ(back->body, answer_->body);
  EXPECT_EQ(back->useless_at(), answer_->expires_at);
  EXPECT_FALSE(back->upgraded);
  EXPECT_EQ(back->dropped, "");
  EXPECT_LT(back->confidence, 0);
}

TEST_F(AnswerRecord, HowLongItServesInOutagesComesBack) {
  engine::cached_answer stale = *answer_;
  stale.stale_until = stale.expires_at + 24h;
  const auto back = decode_answer(key_, encode_answer(key_, stale));
  ASSERT_NE(back, nullptr);
  EXPECT_TRUE(same(*back, stale));
}

TEST_F(AnswerRecord, AConfidenceThatNoAnswerHasIsAMiss) {
  engine::cached_answer odd = *answer_;
  odd.confidence = 1;
  EXPECT_NE(decode_answer(key_, encode_answer(key_, odd)), nullptr);
  for (const double confidence : {1.5, -2.0, 1e18, std::numeric_limits<double>::quiet_NaN()}) {
    odd.confidence = confidence;
    EXPECT_EQ(decode_answer(key_, encode_answer(key_, odd)), nullptr) << confidence;
  }
}

/// A right checksum over bytes that are no record, lengths of gigabytes among them.
TEST_F(AnswerRecord, SealedGarbageIsAMiss) {
  const std::string_view name(reinterpret_cast<const char*>(key_.bytes.data()), key_.bytes.size());
  using namespace std::string_literals;
  for (const std::string& payload :
       {""s, "\xdf\xff\xff\xff\xff"s, "\x81\xa1v\xdd\xff\xff\xff\xff"s, "\x01"s, "\x80"s,
        "\x81\xa1v\xdb\xff\xff\xff\xff"s, std::string(100'000, '\x91')}) {
    EXPECT_EQ(decode_answer(key_, seal(name, payload)), nullptr);
  }
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::string payload(random() % 200, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    ASSERT_EQ(decode_answer(key_, seal(name, payload)), nullptr);
  }
}

}  // namespace
}  // namespace millrace::storage
