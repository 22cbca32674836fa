#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/calendar.hpp"
#include "engine/config.hpp"
#include "engine/messages.hpp"

namespace millrace::engine {

/// Where one budget stands, for people.
struct budget_view {
  name_id account = no_name;  ///< of "client/<name>" or "tenant/<name>"
  bool monthly = false;
  money limit;
  money spent;
  money reserved;  ///< by calls under way
  day_number resets = 0;
};

/// What one client key or tenant had spent before this life of the node.
struct earlier_spend {
  name_id account = no_name;
  money day;
  money month;
};

/// The money of client keys and tenants: what is spent in the UTC day and month, and what calls under way
/// have reserved. A call reserves the most it may cost before it begins and settles for what it did cost: so
/// spent and reserved together never exceed a budget, but by what calls cost beyond their reservations. A
/// reservation counts in the day and month in which it is settled.
///
/// Money is counted for every client and tenant of the configuration, limited or not: a budget that comes
/// with a reload knows what was spent before. Pure; one owner. `now` is the calendar's; a clock that is set
/// back counts on in the later day.
class budget_book {
 public:
  struct refusal {
    budget_kind kind = budget_kind::none;
    duration resets_in{};
  };

  /// Those of a new configuration. What is known of accounts that stay is kept.
  void reconfigure(const config& c);
  /// What was spent on the day and in the month of `day`; adds to what is counted.
  void restore(const std::vector<earlier_spend>& spends, wall_time now);

  /// Whether a call of this client has to reserve at all.
  bool limited(name_id client, name_id tenant) const;
  /// Why `amount` cannot be reserved; nullopt if it can. What costs nothing always can.
  std::optional<refusal> refuses(name_id client, name_id tenant, money amount, wall_time now);
  /// Reserves, whether there is room or not.
  void reserve(name_id client, name_id tenant, money amount);
  /// Replaces a reservation by what the call cost.
  void settle(name_id client, name_id tenant, money reserved, money cost, wall_time now);

  std::vector<budget_view> view(wall_time now) const;

 private:
  struct account {
    budget_config budget;
    bool tenant = false;
    money spent_day;
    money spent_month;
    money reserved;
  };

  void turn(wall_time now);
  account* find(name_id name);
  const account* find(name_id name) const;
  std::optional<refusal> refuses(const account& a, money amount, wall_time now) const;

  std::unordered_map<name_id, account> accounts_;
  std::vector<name_id> order_;  ///< of the configuration, for views
  day_number day_ = 0;
};

}  // namespace millrace::engine
