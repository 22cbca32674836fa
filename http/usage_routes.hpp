#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/budget_book.hpp"
#include "engine/usage_ledger.hpp"
#include "http/api.hpp"

/// `GET /v1/usage`: who used what, and where budgets stand.
namespace millrace::http {

/// What is asked for.
struct usage_query {
  engine::day_number from = 0;
  engine::day_number to = 0;  ///< included
  std::string tenant;         ///< empty: all
  std::string client;
  std::string model;
  bool by_tenant = true;
  bool by_client = false;
  bool by_model = true;
  bool by_day = true;
};

/// Most rows of one answer; what is beyond counts in the totals only.
inline constexpr std::size_t max_usage_rows_shown = 10'000;

/// Reads a query string: `tenant`, `client`, `model`, `from` and `to` (YYYY-MM-DD, UTC; the present month
/// until `today` without them), `group_by` (a list with commas of tenant, client, model and day). False, with
/// what is wrong in `problem`.
bool read_usage_query(std::string_view text, engine::day_number today, usage_query& out,
                      std::string& problem);

/// The answer's body. Money is written in exact decimals. `budgets` names accounts by `names`.
std::string usage_body(const usage_query& query, const std::vector<engine::usage_row>& rows,
                       const std::vector<engine::budget_view>& budgets, const engine::name_table& names);

/// An admin sees all, another client key its own tenant; without `auth` everybody is an admin.
void add_usage_routes(api_services& services, std::vector<route>& out);

}  // namespace millrace::http
