#include "engine/kept_limits.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <nlohmann/json.hpp>

#include "engine/key_health.hpp"

namespace millrace::engine {

namespace {

using namespace std::chrono_literals;
using json = nlohmann::json;
using std::chrono::milliseconds;

/// Version 1 had no cooldowns.
constexpr int version = 2;
constexpr int oldest_version = 1;
/// Longer than any window with its margin.
constexpr duration longest_minute = 10min;
constexpr duration longest_day = 25h;
/// More slots than any window has, and amounts whose sum cannot run over.
constexpr std::size_t max_uses = 1024;
constexpr std::int64_t max_amount = 1'000'000'000'000'000;
/// Longer than a lease and the day's slot in which it ends.
constexpr std::int64_t max_ahead_ms = 600'000;
constexpr std::int64_t max_age_ms = std::chrono::duration_cast<milliseconds>(longest_day).count();
constexpr std::int64_t max_cooldown_ms =
    std::chrono::duration_cast<milliseconds>(key_health::longest_asked).count();

struct named_window {
  const char* name;
  window_use key_use::*window;
  duration longest;
};
constexpr std::array<named_window, 5> windows = {{{"rpm", &key_use::rpm, longest_minute},
                                                  {"tpm", &key_use::tpm, longest_minute},
                                                  {"tpm_input", &key_use::tpm_input, longest_minute},
                                                  {"tpm_output", &key_use::tpm_output, longest_minute},
                                                  {"rpd", &key_use::rpd, longest_day}}};

void require(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

std::int64_t number(const json& value, std::int64_t low, std::int64_t high) {
  require(value.is_number_integer(), "a number is missing");
  require(!value.is_number_unsigned() || value.get<std::uint64_t>() <= static_cast<std::uint64_t>(max_amount),
          "a number is out of range");
  const auto n = value.get<std::int64_t>();
  require(n >= low && n <= high, "a number is out of range");
  return n;
}

json to_json(const window_use& w) {
  json uses = json::array();
  for (const aged_use& u : w.uses) {
    uses.push_back(std::chrono::floor<milliseconds>(u.age).count());
    uses.push_back(u.amount);
  }
  return {{"soon", w.soon}, {"uses", std::move(uses)}};
}

window_use window_from(const json& value) {
  window_use w;
  w.soon = number(value.at("soon"), 0, max_amount);
  const json& uses = value.at("uses");
  require(uses.is_array() && uses.size() % 2 == 0 && uses.size() / 2 <= max_uses, "a window is malformed");
  for (std::size_t i = 0; i < uses.size(); i += 2) {
    w.uses.push_back(
        {milliseconds(number(uses[i], -max_ahead_ms, max_age_ms)), number(uses[i + 1], 0, max_amount)});
  }
  return w;
}

json to_json(const std::vector<cooldown>& cooldowns) {
  json list = json::array();
  for (const cooldown& c : cooldowns) {
    list.push_back({{"target", c.target}, {"ms", std::chrono::ceil<milliseconds>(c.remaining).count()}});
  }
  return list;
}

std::vector<cooldown> cooldowns_from(const json& list) {
  require(list.is_array() && list.size() <= key_health::max_cooldowns, "a list of cooldowns is malformed");
  std::vector<cooldown> cooldowns;
  for (const json& c : list) {
    cooldowns.push_back(
        {c.at("target").get<std::string>(), milliseconds(number(c.at("ms"), 0, max_cooldown_ms))});
  }
  return cooldowns;
}

duration youngest(const key_use& u) {
  duration least = duration::max();
  for (const auto& [name, window, longest] : windows) {
    for (const aged_use& use : (u.*window).uses) least = std::min(least, use.age);
  }
  return least;
}

}  // namespace

std::string format_kept(const kept_limits& k) {
  std::vector<const kept_key*> keys;
  for (const kept_key& key : k.keys) keys.push_back(&key);
  if (keys.size() > kept_limits::max_keys) {
    std::stable_sort(keys.begin(), keys.end(), [](const kept_key* a, const kept_key* b) {
      return youngest(a->use) < youngest(b->use);
    });
    keys.resize(kept_limits::max_keys);
  }
  json list = json::array();
  for (const kept_key* key : keys) {
    json entry = {{"node", key->node}, {"key", key->use.key}, {"fingerprint", key->fingerprint}};
    for (const auto& [name, window, longest] : windows) {
      const window_use& w = key->use.*window;
      if (w != window_use{}) entry[name] = to_json(w);
    }
    if (!key->use.cooldowns.empty()) entry["cooldowns"] = to_json(key->use.cooldowns);
    list.push_back(std::move(entry));
  }
  const json all = {{"version", version},
                    {"clean", k.clean},
                    {"saved_at_ms", k.saved_at_ms},
                    {"salt", k.salt},
                    {"keys", std::move(list)}};
  return all.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

kept_limits parse_kept(std::string_view text) {
  require(text.size() <= kept_limits::max_bytes, "it is too large");
  try {
    const json all = json::parse(text);
    const std::int64_t written = number(all.at("version"), 0, max_amount);
    require(written >= oldest_version && written <= version, "it is of another version");
    kept_limits k;
    k.clean = all.at("clean").get<bool>();
    k.saved_at_ms = number(all.at("saved_at_ms"), 0, max_amount);
    k.salt = all.at("salt").get<std::string>();
    const json& list = all.at("keys");
    require(list.is_array() && list.size() <= kept_limits::max_keys, "its list of keys is malformed");
    for (const json& entry : list) {
      kept_key key;
      key.node = entry.at("node").get<std::string>();
      key.fingerprint = entry.at("fingerprint").get<std::string>();
      key.use.key = entry.at("key").get<std::string>();
      for (const auto& [name, window, longest] : windows) {
        if (const auto w = entry.find(name); w != entry.end()) key.use.*window = window_from(*w);
      }
      if (const auto c = entry.find("cooldowns"); c != entry.end()) key.use.cooldowns = cooldowns_from(*c);
      k.keys.push_back(std::move(key));
    }
    return k;
  } catch (const json::exception& e) {
    throw std::runtime_error(e.what());
  }
}

void age(key_use& u, duration passed) {
  passed = std::clamp<duration>(passed, 0s, 2 * longest_day);
  for (const auto& [name, window, longest] : windows) {
    auto& uses = (u.*window).uses;
    for (aged_use& use : uses) use.age += passed;
    uses.erase(std::remove_if(uses.begin(), uses.end(),
                              [limit = longest](const aged_use& x) { return x.age > limit; }),
               uses.end());
  }
  for (cooldown& c : u.cooldowns) c.remaining -= passed;
  std::erase_if(u.cooldowns, [](const cooldown& c) { return c.remaining <= duration::zero(); });
}

void assume_soon(key_use& u) {
  for (const auto& [name, window, longest] : windows) {
    window_use& w = u.*window;
    if (w.soon > 0) w.uses.push_back({duration::zero(), w.soon});
    w.soon = 0;
  }
}

void forget_soon(key_use& u) {
  for (const auto& [name, window, longest] : windows) (u.*window).soon = 0;
}

bool empty(const key_use& u) {
  return u.cooldowns.empty() && std::all_of(windows.begin(), windows.end(), [&](const named_window& w) {
           return u.*w.window == window_use{};
         });
}

std::string key_fingerprint(const std::string& salt, const std::string& base_url, const secret& key) {
  const std::string text = base_url + '\n' + key.reveal();
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  HMAC(EVP_sha256(), salt.data(), static_cast<int>(salt.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data(), &length);
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < length; ++i) {
    hex += digits[digest[i] >> 4U];
    hex += digits[digest[i] & 15U];
  }
  return hex;
}

}  // namespace millrace::engine
