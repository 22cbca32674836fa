#include "http/documents/classify_file.hpp"

#include <cmath>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/answer_headers.hpp"
#include "engine/degrade.hpp"
#include "engine/known_answer.hpp"
#include "http/dialects/formats.hpp"
#include "http/documents/document_call.hpp"
#include "http/documents/document_key.hpp"
#include "http/documents/upload.hpp"

namespace millrace::http::documents {

namespace {

using engine::answer;
using engine::api_error;
using nlohmann::ordered_json;

constexpr std::string_view route = "/classify_file";
/// A request whose leaders all failed for reasons of their own does the work itself after so many.
constexpr int max_joins = 3;

/// Where documents are kept and shared, whatever the model's own rules are: they have a time of their own.
engine::cache_plan plan_of(const engine::cache_wish& wish, engine::duration ttl) {
  engine::cache_plan p;
  const bool bypassed = wish.no_cache || wish.no_store;
  p.look = p.join = !bypassed;
  p.store = !wish.no_store;
  p.only_if_cached = wish.only_if_cached;
  p.max_age = wish.max_age.value_or(engine::duration::max());
  p.ttl = ttl;
  return p;
}

api_error bad_request(int status, std::string_view code, std::string message, std::string_view param) {
  return {status, "invalid_request_error", std::string(code), std::move(message), std::string(param), {},
          true};
}

api_error unknown_industry(const engine::documents_config& d) {
  std::string known;
  for (const auto& i : d.industries) known.append(known.empty() ? "" : ", ").append(i.name);
  return bad_request(400, "unknown_industry",
                     "No such industry is configured here. Known are: " + known + ".", "industry");
}

api_error unknown_type(const sniffed& s) {
  const std::string found =
      s.looks_like.empty() ? "" : " These bytes look like " + std::string(s.looks_like) + ".";
  return bad_request(
      415, "unsupported_document",
      "Documents are PDF, PNG, JPEG, WebP, TIFF or plain text in UTF-8, whatever their names say." + found,
      "file");
}

api_error not_cached() {
  return bad_request(
      504, "not_cached",
      "This document's classification is not known, and Cache-Control: only-if-cached forbids to find "
      "out. Send the request without it.",
      {});
}

double rounded(double value) {
  constexpr double places = 1e4;
  return std::round(value * places) / places;
}

/// What is the same for whoever sends the document: all of the answer but its last members.
std::string lasting_part(const classification& k, const document& d) {
  ordered_json out = {{"classification", k.label},
                      {"confidence", rounded(k.confidence)},
                      {"provider_used", k.provider},
                      {"model", k.upstream_model},
                      {"upgraded", k.upgraded},
                      {"industry", d.industry->name},
                      {"document_type", to_string(d.type)},
                      {"pages", k.pages},
                      {"pages_seen", k.pages_seen}};
  ordered_json tokens = {{"input", k.input_tokens}, {"output", k.output_tokens}};
  if (k.image_tokens_before > 0) {
    tokens["images_before"] = k.image_tokens_before;
    tokens["images_after"] = k.image_tokens_after;
    tokens["images_saved"] =
        rounded(1 - static_cast<double>(k.image_tokens_after) / static_cast<double>(k.image_tokens_before));
  }
  out["tokens"] = std::move(tokens);
  return out.dump();
}

/// One request, from its body to its answer.
class document_request {
 public:
  document_request(engine::pipeline& pipeline, document_desk& desk, engine::call& c)
      : pipeline_(pipeline), ports_(pipeline.parts()), desk_(desk), call_(c) {}

  answer run(std::string_view content_type, std::string_view query, engine::yield y);

 private:
  answer find(engine::yield y);
  answer lead(const std::shared_ptr<document_call>& call, engine::yield y);
  bool from_others(const engine::shared_answer_ptr& flight, answer& out, engine::yield y);
  answer tell(const engine::cached_answer& entry, std::string_view word, const classification* made);
  answer refuse(const api_error& error);
  answer finish(answer a, std::string_view outcome,
                engine::degrade_step counted = engine::degrade_step::none);
  engine::degrade_step step_of(const engine::cached_answer& entry) const;
  engine::cached_answer_ptr entry_of(std::string body, const classification& k, bool good) const;
  void keep(const engine::cached_answer_ptr& entry);

  engine::pipeline& pipeline_;
  engine::pipeline::ports& ports_;
  document_desk& desk_;
  engine::call& call_;
  upload upload_;
  document document_;
  engine::cache_plan plan_;
  engine::wall_time asked_at_{};
  engine::duration elsewhere_ = call_.upload;  ///< spent waiting for others, its client among them
};

answer document_request::run(std::string_view content_type, std::string_view query, engine::yield y) {
  const engine::documents_config& d = call_.config->documents;
  api_error error;
  if (!read_upload(content_type, query, call_.body, d.max_file_bytes, upload_, error)) return refuse(error);
  document_.bytes = upload_.file;
  document_.industry = engine::find_industry(d, upload_.industry);
  if (!document_.industry) return refuse(unknown_industry(d));
  const sniffed found = sniff(document_.bytes);
  document_.type = found.type;
  if (found.type == document_type::none) return refuse(unknown_type(found));
  engine::known_answer known(ports_, call_);
  answer refusal;
  if (!known.admit(refusal, y)) return refusal;
  call_.plan = plan_ = plan_of(call_.cache, d.ttl);
  call_.cache_word = engine::word_for_call(plan_);
  call_.key =
      document_key(d, *document_.industry, call_.client->tenant, call_.private_only, document_.bytes, y);
  return find(y);
}

/// Known already, under way already, or to be found out, in this order.
answer document_request::find(engine::yield y) {
  engine::cache_shard& shard = ports_.answers.of(call_.key);
  for (int tries = 0; tries < max_joins; ++tries) {
    std::shared_ptr<document_call> led;
    asked_at_ = ports_.time.wall();
    auto found = shard.enter(call_.key, plan_, asked_at_, [&]() -> engine::shared_answer_ptr {
      return led = std::make_shared<document_call>(ports_, call_.key, true);
    });
    if (found.flight && !led) {
      answer out;
      if (from_others(found.flight, out, y)) return out;
      continue;
    }
    if (!found.entry && (led || plan_.only_if_cached)) found.entry = pipeline_.find_on_disk(call_, y);
    if (found.entry) {
      if (led) {
        auto result = std::make_shared<engine::shared_result>();
        result->answer = found.entry;
        result->from_cache = true;
        led->end(std::move(result));
      }
      return tell(*found.entry, "hit", nullptr);
    }
    if (plan_.only_if_cached) return refuse(not_cached());
    if (!led) break;
    return lead(led, y);
  }
  return lead(std::make_shared<document_call>(ports_, call_.key, false), y);
}

answer document_request::lead(const std::shared_ptr<document_call>& call, engine::yield y) {
  // Whatever happens, nobody is left waiting.
  struct ending {
    document_call& call;
    ~ending() { call.end(nullptr); }
  } guard{*call};
  const engine::cancellation::hook on_gone(*call_.gone, [&] { call->leader_gone(call_.gone->cause()); });
  if (call_.gone->cancelled()) call->leader_gone(call_.gone->cause());
  classification made;
  api_error error;
  auto result = std::make_shared<engine::shared_result>();
  if (classifier(pipeline_, desk_, call_, call->stop()).run(document_, made, error, y)) {
    elsewhere_ += made.upstream;
    const auto entry = entry_of(lasting_part(made, document_), made, true);
    if (plan_.store && made.lasting) keep(entry);
    result->answer = entry;
    call->end(std::move(result));
    return tell(*entry, call_.cache_word, &made);
  }
  elsewhere_ += made.upstream;
  const bool personal =
      error.code == "deadline_exceeded" || call->stop().cancelled() || is_own_refusal(error.code);
  answer refused = refuse(error);
  result->status = refused.status;
  for (const auto& h : refused.headers) {
    if (engine::is_retry_header(h.first)) result->headers.push_back(h);
  }
  result->answer = entry_of(refused.body, made, false);
  call->end(personal ? nullptr : std::move(result));
  return refused;
}

/// False when the others came to nothing, and this request has to ask again.
bool document_request::from_others(const engine::shared_answer_ptr& flight, answer& out, engine::yield y) {
  engine::follower seat(flight, true, *call_.gone, ports_.thread, call_.deadline);
  if (!seat.joined()) return false;
  call_.cache_word = "coalesced";
  const engine::time_point start = ports_.time.now();
  std::string nothing;
  const auto event = seat.next(nothing, ports_.time, y);
  elsewhere_ += ports_.time.now() - start;
  if (event == engine::follower::event::gone) {
    out = refuse(engine::gone_error(*call_.gone));
  } else if (event == engine::follower::event::late) {
    out = refuse(engine::deadline_error());
  } else if (event != engine::follower::event::whole) {
    call_.cache_word = engine::word_for_call(plan_);
    return false;
  } else if (const auto& result = *seat.result(); result.status < 300) {
    out = tell(*result.answer, result.from_cache ? "hit" : "coalesced", nullptr);
  } else {
    out.status = result.status;
    out.body = result.answer->body;
    out.headers = result.headers;
    out = finish(std::move(out), "shared_call_failed");
  }
  return true;
}

/// `made`: by this very request, which then is the one that paid.
answer document_request::tell(const engine::cached_answer& entry, std::string_view word,
                              const classification* made) {
  call_.cache_word = word;
  answer a;
  const double took =
      std::chrono::duration<double>(ports_.time.now() - call_.received - call_.upload).count();
  a.body = entry.body.substr(0, entry.body.size() - 1);
  fmt::format_to(
      std::back_inserter(a.body), R"(,"attempts":{},"cost_usd":{},"cached":{},"processing_time":{:.6f}}})",
      made ? made->attempts : 0, (made ? made->cost : engine::money()).text(), word == "hit", took);
  a.headers.emplace_back("x-millrace-provider", entry.provider);
  a.headers.emplace_back("x-millrace-model", entry.upstream_model);
  if (!entry.key_id.empty()) a.headers.emplace_back("x-millrace-key", entry.key_id);
  a.headers.emplace_back("x-millrace-attempts", std::to_string(made ? made->attempts : 0));
  a.headers.emplace_back("x-millrace-fallback", entry.fallback ? "true" : "false");
  if (made && made->upgraded) a.headers.emplace_back("x-millrace-upgraded", "true");
  a.headers.emplace_back("x-millrace-cost-usd", (made ? made->cost : engine::money()).text());
  if (word == "hit") {
    const auto age =
        std::chrono::duration_cast<std::chrono::seconds>(ports_.time.wall() - entry.stored_at).count();
    a.headers.emplace_back("age", std::to_string(std::max<std::int64_t>(0, age)));
  }
  const auto step = step_of(entry);
  if (step != engine::degrade_step::none) a.headers.emplace_back("x-millrace-degraded", to_string(step));
  const bool by_words = made && made->provider == "builtin";
  // A fallback's answer is counted with the model's call.
  return finish(std::move(a),
                !made      ? word
                : by_words ? "builtin"
                           : "model",
                by_words ? step : engine::degrade_step::none);
}

engine::degrade_step document_request::step_of(const engine::cached_answer& entry) const {
  if (!entry.fallback) return engine::degrade_step::none;
  if (entry.provider == "builtin") return engine::degrade_step::local;
  const engine::config& c = *call_.config;
  const auto model = engine::find_model(c, c.documents.model);
  if (!model) return engine::degrade_step::fallback;  // an answer that outlived its model
  return engine::step_of(c, c.models[model->model], entry.provider, entry.fallback);
}

answer document_request::refuse(const api_error& error) {
  return finish(engine::error_answer(error, all_formats().of(engine::route_kind::chat)), error.code);
}

/// Counts and logs the request. What it cost is in the record of the model's call, a request of its own.
answer document_request::finish(answer a, std::string_view outcome, engine::degrade_step counted) {
  const auto total = ports_.time.now() - call_.received;
  const auto overhead = std::chrono::duration_cast<std::chrono::microseconds>(total - elsewhere_);
  a.headers.emplace_back("x-request-id", call_.id);
  if (!call_.cache_word.empty()) a.headers.emplace_back("x-millrace-cache", call_.cache_word);
  a.headers.emplace_back("x-millrace-overhead-us", std::to_string(overhead.count()));
  if (call_.counted) engine::add_client_windows(a.headers, *call_.counted);
  engine::request_record r;
  r.id = call_.id;
  r.method = "POST";
  r.route = route;
  r.model = call_.config->documents.model;
  r.tenant = call_.client->tenant;
  r.client = call_.client->name;
  if (a.status != 200) r.error_code = outcome;
  r.status = a.status;
  r.client_gone = call_.gone->cancelled_for(engine::cancel_cause::client_gone);
  r.total = total;
  r.overhead = total - elsewhere_;
  r.queue = call_.queue();
  r.cache = call_.cache_word;
  r.degraded = to_string(counted);
  ports_.watch.request_done(r);
  desk_.metrics.done(to_string(document_.type), outcome, static_cast<std::int64_t>(document_.bytes.size()));
  return a;
}

engine::cached_answer_ptr document_request::entry_of(std::string body, const classification& k,
                                                     bool good) const {
  auto entry = std::make_shared<engine::cached_answer>();
  entry->body = std::move(body);
  entry->content_type = "application/json";
  entry->tenant = call_.client->tenant;
  entry->model = call_.config->documents.model;
  entry->provider = k.provider;
  entry->upstream_model = k.upstream_model;
  entry->key_id = k.key_id;
  entry->fallback = k.fallback;
  entry->input_tokens = k.input_tokens;
  entry->output_tokens = k.output_tokens;
  entry->stored_at = asked_at_;
  if (good)
    entry->expires_at = ports_.time.wall() + std::chrono::duration_cast<std::chrono::milliseconds>(plan_.ttl);
  return entry;
}

void document_request::keep(const engine::cached_answer_ptr& entry) {
  const std::size_t shard = engine::shard_of(call_.key, ports_.answers.size());
  if (ports_.answers.at(shard).put(call_.key, entry, ports_.time.wall(), ports_.disk != nullptr))
    ports_.to_be_written(shard);
}

}  // namespace

answer classify_file(engine::pipeline& pipeline, document_desk& desk, engine::call c,
                     std::string_view content_type, std::string_view query, engine::yield y) {
  return document_request(pipeline, desk, c).run(content_type, query, y);
}

}  // namespace millrace::http::documents
