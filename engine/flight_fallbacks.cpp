#include <algorithm>

#include "engine/answer_headers.hpp"
#include "engine/flight.hpp"

/// Models beside the one that was asked for: which of their targets can be asked at all, and what becomes of
/// a request that one model refuses and another may take.
namespace millrace::engine {

namespace {

const std::vector<size_t>& stand_ins(const model_config& m, refusal_reason why) {
  return why == refusal_reason::context ? m.context_fallbacks : m.content_policy_fallbacks;
}

/// For metrics.
std::string_view word_for(refusal_reason why) {
  return why == refusal_reason::context ? "context_length" : "content_policy";
}

api_error forbidden_content() {
  return {
      400,
      "invalid_request_error",
      "content_policy_violation",
      "The provider's content policy forbids this request, and no model of content_policy_fallbacks took it. "
      "Change what is asked.",
      "",
      {},
      true};
}

}  // namespace

/// Some providers cannot serve some routes at all.
void flight::bar_other_kinds() {
  const auto bar = [this](const model_config& model) {
    for (const target_config& t : model.targets) {
      if (!ports_.formats.between(call_.route, call_.config->providers[t.provider]))
        barred_.push_back(t.name);
    }
  };
  bar(model_);
  for (const auto* models :
       {&model_.fallback_models, &model_.context_fallbacks, &model_.content_policy_fallbacks}) {
    for (const size_t model : *models) bar(call_.config->models[model]);
  }
}

bool flight::looks_for_refusals() const {
  return !call_.beside && (!model_.context_fallbacks.empty() || !model_.content_policy_fallbacks.empty());
}

/// Whether an answer is a refusal that others may not share, and others are there. Then it is held back for
/// the case that none of them answers, and `out` is left empty. A request changes once from one reason to the
/// other; what is refused after that is told.
bool flight::turn_away(int status, std::string_view body, answer& out) {
  if (!looks_for_refusals()) return false;
  const refusal_reason why = ports_.formats.reason_of(*provider_, status, body);
  if (why == refusal_reason::none || stand_ins(model_, why).empty()) return false;
  if (refused_ != refusal_reason::none && why != refused_) {
    if (refused_twice_) return false;
    refused_twice_ = true;
  }
  refused_ = why;
  if (!tried(grant_.target)) tried_.push_back(grant_.target);
  settle(attempt_outcome::ok, word_for(why));
  if (!held_) {
    held_ = held_refusal{.told = reader_ ? error_answer(forbidden_content(), format()) : std::move(out),
                         .plain = std::move(plain_),
                         .provider = provider_,
                         .key = key_,
                         .upstream_model = upstream_model_,
                         .used = used_,
                         .fallback = fallback_};
  }
  reader_.reset();
  pending_.clear();
  out = {};
  return true;
}

/// Nobody who stands in answered: the client is told what the model itself said.
answer flight::tell_refusal() {
  plain_ = std::move(held_->plain);
  provider_ = held_->provider;
  key_ = held_->key;
  upstream_model_ = held_->upstream_model;
  fallback_ = held_->fallback;
  refusal_.reset();  // it is an answer, also for those who share the call
  answer a = std::move(held_->told);
  add_headers(a, true);
  finish(a.status, a.status >= 400 ? "upstream_refused" : "");
  used_ = held_->used;  // of the answer alone, which may be kept; what all have used is told
  return a;
}

}  // namespace millrace::engine
