#include "http/usage_routes.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <tuple>

#include "http/json_scan.hpp"
#include "http/plain_request.hpp"
#include "http/route_table.hpp"

namespace millrace::http {

namespace {

using engine::answer;
using engine::usage_counts;

/// Cuts off what stands before the first `mark`, or all, and the mark.
std::string_view take_until(std::string_view& text, char mark) {
  const auto at = text.find(mark);
  const auto taken = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return taken;
}

bool read_groups(std::string_view list, usage_query& out) {
  out.by_tenant = out.by_client = out.by_model = out.by_day = false;
  while (!list.empty()) {
    const auto word = take_until(list, ',');
    bool* group = word == "tenant"   ? &out.by_tenant
                  : word == "client" ? &out.by_client
                  : word == "model"  ? &out.by_model
                  : word == "day"    ? &out.by_day
                                     : nullptr;
    if (group == nullptr) return false;
    *group = true;
  }
  return true;
}

/// A JSON object under construction.
class object_writer {
 public:
  explicit object_writer(std::string& out) : out_(out) { out_ += '{'; }
  ~object_writer() { out_ += '}'; }
  object_writer(const object_writer&) = delete;
  object_writer& operator=(const object_writer&) = delete;

  void text(std::string_view name, std::string_view value) {
    member(name);
    json_quote(value, out_);
  }
  void number(std::string_view name, std::int64_t value) { raw(name, std::to_string(value)); }
  void raw(std::string_view name, std::string_view literal) {
    member(name);
    out_ += literal;
  }
  void member(std::string_view name) {
    if (out_.back() != '{') out_ += ',';
    out_.append("\"").append(name).append("\":");
  }

 private:
  std::string& out_;
};

void write_counts(object_writer& o, const usage_counts& c) {
  o.number("requests", c.requests);
  o.number("cached_requests", c.cached_requests);
  o.number("attempts", c.attempts);
  o.number("input_tokens", c.input_tokens);
  o.number("output_tokens", c.output_tokens);
  o.number("cached_tokens", c.cached_tokens);
  o.number("cache_write_tokens", c.cache_write_tokens);
  o.number("reasoning_tokens", c.reasoning_tokens);
  o.number("estimated_tokens", c.estimated_tokens);
  o.number("images", c.images);
  o.raw("cost_usd", c.cost.text());
}

using group_key = std::tuple<engine::day_number, std::string, std::string, std::string>;

void write_row(const usage_query& q, const group_key& key, const usage_counts& counts, std::string& out) {
  const auto& [day, tenant, client, model] = key;
  object_writer o(out);
  if (q.by_day) o.text("day", engine::day_text(day));
  if (q.by_tenant) o.text("tenant", tenant);
  if (q.by_client) o.text("client", client);
  if (q.by_model) o.text("model", model);
  write_counts(o, counts);
}

void write_budget(const engine::budget_view& b, const engine::name_table& names, std::string& out) {
  const std::string_view account = names.text(b.account);
  const auto slash = account.find('/');
  object_writer o(out);
  o.text(account.substr(0, slash), account.substr(slash + 1));
  o.text("period", b.monthly ? "month" : "day");
  o.raw("limit_usd", b.limit.text());
  o.raw("spent_usd", b.spent.text());
  o.raw("reserved_usd", b.reserved.text());
  o.text("resets_at", engine::start_text(b.resets));
}

engine::day_number today() {
  return engine::day_of(
      std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now()));
}

/// Those that `client` may see: all, or its own and its tenant's.
std::vector<engine::budget_view> visible(const std::vector<engine::budget_view>& all,
                                         const engine::config& named_by,
                                         const engine::client_config& client) {
  if (client.admin) return all;
  std::vector<engine::budget_view> own;
  for (const auto& b : all) {
    const std::string& name = named_by.names->text(b.account);
    if (name == "client/" + client.name || name == "tenant/" + client.tenant) own.push_back(b);
  }
  return own;
}

answer see_usage(api_services& services, const edge_request& r, engine::yield y) {
  plain_request plain(services, r);
  const auto* client = authenticate(plain.config(), r);
  if (client == nullptr) return plain.refuse(invalid_key());
  plain.set_client(*client);
  usage_query query;
  std::string problem;
  if (!read_usage_query(r.query, today(), query, problem))
    return plain.refuse({400, "invalid_request_error", "invalid_query", problem, "", {}, false});
  if (!client->admin && !query.tenant.empty() && query.tenant != client->tenant) {
    return plain.refuse({403,
                         "permission_error",
                         "admin_required",
                         "This key may see the usage of its own tenant only. Use one with `admin: true`.",
                         "",
                         {},
                         true});
  }
  if (!client->admin) query.tenant = client->tenant;
  const auto view = services.look(r.thread, r.gone, y);
  answer a;
  if (!view) return plain.give_up();
  const auto budgets = visible(view->dispatcher.budgets, *view->config, *client);
  a.body = usage_body(query, services.ledger->rows(query.from, query.to), budgets, *view->config->names);
  return plain.finish(std::move(a));
}

}  // namespace

bool read_usage_query(std::string_view text, engine::day_number today, usage_query& out,
                      std::string& problem) {
  out = {};
  out.from = engine::first_of_month(today);
  out.to = today;
  while (!text.empty()) {
    std::string_view raw = take_until(text, '&');
    const auto name = take_until(raw, '=');
    std::string plus(raw);
    std::replace(plus.begin(), plus.end(), '+', ' ');
    std::string value;
    if (!percent_decode(plus, value) || value.empty()) {
      problem = "`" + std::string(name.substr(0, 32)) + "` has no value that can be read: write name=value.";
      return false;
    }
    if (name == "tenant") {
      out.tenant = value;
    } else if (name == "client") {
      out.client = value;
    } else if (name == "model") {
      out.model = value;
    } else if (name == "from" || name == "to") {
      const auto day = engine::parse_day(value);
      if (!day) {
        problem = "`" + std::string(name) + "` must be a day of UTC, like 2026-11-29.";
        return false;
      }
      (name == "from" ? out.from : out.to) = *day;
    } else if (name == "group_by") {
      if (!read_groups(value, out)) {
        problem = "`group_by` must be a list of tenant, client, model and day, like group_by=tenant,day.";
        return false;
      }
    } else {
      problem = "`" + std::string(name.substr(0, 32)) +
                "` is not known here: tenant, client, model, from, to and group_by are.";
      return false;
    }
  }
  if (out.from <= out.to) return true;
  problem = "`from` must not be after `to`.";
  return false;
}

std::string usage_body(const usage_query& query, const std::vector<engine::usage_row>& rows,
                       const std::vector<engine::budget_view>& budgets, const engine::name_table& names) {
  std::map<group_key, usage_counts> groups;
  usage_counts totals;
  for (const auto& [key, counts] : rows) {
    if (key.day < query.from || key.day > query.to) continue;
    if (!query.tenant.empty() && key.tenant != query.tenant) continue;
    if (!query.client.empty() && key.client != query.client) continue;
    if (!query.model.empty() && key.model != query.model) continue;
    groups[{query.by_day ? key.day : 0, query.by_tenant ? key.tenant : "", query.by_client ? key.client : "",
            query.by_model ? key.model : ""}] += counts;
    totals += counts;
  }
  std::string out;
  {
    object_writer o(out);
    o.text("object", "usage");
    o.text("from", engine::day_text(query.from));
    o.text("to", engine::day_text(query.to));
    o.member("rows");
    std::size_t shown = 0;
    out += '[';
    for (const auto& [key, counts] : groups) {
      if (shown == max_usage_rows_shown) break;
      if (shown++ > 0) out += ',';
      write_row(query, key, counts, out);
    }
    out += ']';
    o.raw("more_rows", groups.size() > shown ? "true" : "false");
    o.member("totals");
    {
      object_writer t(out);
      write_counts(t, totals);
    }
    o.member("budgets");
    out += '[';
    for (const auto& b : budgets) {
      if (out.back() != '[') out += ',';
      write_budget(b, names, out);
    }
    out += ']';
  }
  return out;
}

void add_usage_routes(api_services& services, std::vector<route>& out) {
  out.push_back({"GET", "/v1/usage",
                 [&services](const edge_request& r, engine::yield y) { return see_usage(services, r, y); }});
}

}  // namespace millrace::http
