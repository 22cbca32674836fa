#include "http/plain_request.hpp"

#include <algorithm>
#include <array>

#include "engine/answer_headers.hpp"
#include "http/request_id.hpp"

namespace millrace::http {

namespace {

/// Whether the body could not even be read, as against one that asks for something it may not have. Whoever
/// sends such bodies gets an answer and no second try on the same connection.
bool unreadable(const engine::api_error& e) {
  constexpr std::array<std::string_view, 4> codes = {"duplicate_key", "invalid_json", "invalid_utf8",
                                                     "json_too_deep"};
  return e.status == 415 || std::find(codes.begin(), codes.end(), e.code) != codes.end();
}

/// The client, if it may see the node's state; otherwise `refusal` is filled.
const engine::client_config* admin(const engine::config& c, const edge_request& r,
                                   engine::api_error& refusal) {
  const auto* client = authenticate(c, r);
  if (client && client->admin) return client;
  refusal = client ? engine::api_error{403,
                                       "permission_error",
                                       "admin_required",
                                       "This key may not see the node's state. Use one with `admin: true`.",
                                       "",
                                       {},
                                       true}
                   : invalid_key();
  return nullptr;
}

}  // namespace

const engine::client_config* authenticate(const engine::config& c, const edge_request& r) {
  if (c.open) return &c.clients.front();
  std::string_view presented = r.header("authorization");
  constexpr std::string_view scheme = "bearer ";
  const bool bearer = presented.size() > scheme.size() &&
                      std::equal(scheme.begin(), scheme.end(), presented.begin(), [](char a, char b) {
                        return a == (b >= 'A' && b <= 'Z' ? static_cast<char>(b + 32) : b);
                      });
  presented = bearer ? presented.substr(scheme.size()) : std::string_view();
  for (const char* name : {"x-api-key", "x-goog-api-key"}) {
    if (presented.empty()) presented = r.header(name);
  }
  const engine::client_config* found = nullptr;
  for (const auto& client : c.clients) {
    if (client.key.matches(presented)) found = &client;
  }
  return found;
}

engine::api_error invalid_key() {
  return {401,
          "invalid_request_error",
          "invalid_api_key",
          "The API key is missing or unknown. Send a key of this gateway as Authorization: Bearer KEY, "
          "x-api-key or "
          "x-goog-api-key.",
          "",
          {},
          true};
}

plain_request::plain_request(api_services& services, const edge_request& request)
    : services_(services),
      request_(request),
      config_(services.threads[request.thread].config),
      id_(request_id(request.header("x-request-id"))) {}

engine::answer plain_request::refuse(const engine::api_error& e) {
  engine::answer a;
  a.status = e.status;
  a.close = unreadable(e);
  a.body = format_error(e, request_.path);
  if (e.no_retry) a.headers.emplace_back("x-should-retry", "false");
  if (e.status == 401) a.headers.emplace_back("www-authenticate", "Bearer");
  return finish(std::move(a), e.code);
}

engine::answer plain_request::finish(engine::answer a, std::string_view error_code) {
  a.headers.emplace_back("x-request-id", id_);
  engine::request_record r;
  r.id = id_;
  r.method = request_.method;
  r.route = request_.pattern;
  if (client_) {
    r.tenant = client_->tenant;
    r.client = client_->name;
    r.queue = client_->queue;
  }
  r.error_code = error_code;
  r.status = a.status;
  r.client_gone = request_.gone.cancelled_for(engine::cancel_cause::client_gone);
  r.total = engine::clock::now() - request_.received;
  r.overhead = r.total - request_.upload;
  services_.watch->request_done(r);
  return a;
}

engine::answer plain_request::give_up() {
  return refuse(engine::gone_error(request_.gone));
}

std::optional<engine::answer> refuse_stranger(api_services& services, const edge_request& r) {
  plain_request plain(services, r);
  if (authenticate(plain.config(), r)) return std::nullopt;
  return plain.refuse(invalid_key());
}

std::optional<engine::answer> refuse_unless_admin(const edge_request& r, plain_request& plain) {
  engine::api_error refusal;
  const auto* client = admin(plain.config(), r, refusal);
  if (!client) return plain.refuse(refusal);
  plain.set_client(*client);
  return std::nullopt;
}

}  // namespace millrace::http
