#include "http/documents/classifier.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/answer_headers.hpp"
#include "engine/degrade.hpp"
#include "http/builtin/label_choice.hpp"
#include "http/dialects/formats.hpp"
#include "http/documents/answer_reader.hpp"
#include "http/documents/image_tokens.hpp"
#include "http/documents/prompt.hpp"

namespace millrace::http::documents {

namespace {

using engine::api_error;

/// Questions to the model about one document.
constexpr int max_questions = 2;
/// The most of a text that is gone through for words.
constexpr std::size_t max_word_bytes = 16 * 1024;
/// Text layers with less are no text.
constexpr int least_letters = 20;
constexpr engine::duration busy_retry = std::chrono::seconds(1);
constexpr std::string_view builtin_name = "builtin";

bool has_letters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0;
         }) >= least_letters;
}

api_error bad_document(int status, std::string_view code, std::string message) {
  return {status, "invalid_request_error", std::string(code), std::move(message), "file", {}, true};
}

api_error busy() {
  return {503,
          "server_error",
          "documents_busy",
          "More documents are waiting than this node takes. Try again soon.",
          "",
          busy_retry,
          false};
}

/// What a client is told of a document that did not open; `name`: of its type.
api_error not_opened(const render_result& r, std::string_view name, const engine::documents_config& config) {
  const std::string why = r.problem.empty() ? "" : " (" + r.problem + ")";
  switch (r.status) {
    case render_status::encrypted:
      return bad_document(400, "encrypted_document",
                          "The document needs a password. Send a copy without one.");
    case render_status::too_large:
      return bad_document(413, "document_too_large",
                          fmt::format("The document is larger than what is taken{}: at most {} pixels "
                                      "(documents.max_pixels), and pages of 200 inches. Send a smaller copy.",
                                      why, config.max_pixels));
    case render_status::no_pages:
      return bad_document(400, "empty_document", "The document has no pages. Send one that has.");
    case render_status::unavailable:
      return {503,
              "server_error",
              "documents_unavailable",
              "This node cannot open such documents" + why + ". Install the library, or send plain text.",
              "",
              {},
              true};
    case render_status::done:
    case render_status::damaged:
      break;
  }
  return bad_document(
      400, "unreadable_document",
      fmt::format("The bytes begin as {} but cannot be read{}. Check that the file opens elsewhere and "
                  "was sent whole.",
                  name, why));
}

std::string_view header(const engine::answer& a, std::string_view name) {
  const auto found =
      std::find_if(a.headers.begin(), a.headers.end(), [&](const auto& h) { return h.first == name; });
  return found == a.headers.end() ? std::string_view() : std::string_view(found->second);
}

template <class Number>
Number number_in(std::string_view text) {
  Number n{};
  std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

/// What the headers of a chat answer say of who gave it.
void read_headers(const engine::answer& a, classification& out) {
  out.attempts += number_in<int>(header(a, "x-millrace-attempts"));
  out.cost += engine::money::of_usd(number_in<double>(header(a, "x-millrace-cost-usd")));
  if (a.status != 200) return;
  out.provider = header(a, "x-millrace-provider");
  out.upstream_model = header(a, "x-millrace-model");
  out.key_id = header(a, "x-millrace-key");
  out.fallback = header(a, "x-millrace-fallback") == "true";
  out.upgraded = header(a, "x-millrace-upgraded") == "true";
}

/// No model gave this answer: it is what the model's `degrade` has for an outage, or the builtin provider's,
/// which sees no pictures. The words of the document say more. A fallback's answer is a model's.
bool is_stand_in(const engine::answer& a, const engine::config& c) {
  const auto step = header(a, "x-millrace-degraded");
  if (step == to_string(engine::degrade_step::stale) || step == to_string(engine::degrade_step::text))
    return true;
  const auto found =
      std::find_if(c.providers.begin(), c.providers.end(),
                   [name = header(a, "x-millrace-provider")](const auto& p) { return p.name == name; });
  return found == c.providers.end() || found->kind == engine::provider_kind::builtin;
}

/// Reads a refusal that is the client's own affair, its budget or its limit, as this node tells it of the
/// model's call.
bool read_own_refusal(const engine::answer& a, api_error& error) {
  if ((a.status != 402 && a.status != 429) || !header(a, "x-millrace-provider").empty()) return false;
  const auto body = nlohmann::json::parse(a.body, nullptr, false);
  if (!body.is_object() || !body.contains("error") || !body["error"].is_object()) return false;
  const auto text = [&told = body["error"]](const char* name) {
    const auto found = told.find(name);
    return found != told.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  error = {a.status, text("type"), text("code"), text("message"), {}, {}, false};
  error.retry_after = std::chrono::seconds(number_in<std::int64_t>(header(a, "retry-after")));
  error.no_retry = header(a, "x-should-retry") == "false";
  return is_own_refusal(error.code);
}

}  // namespace

bool is_own_refusal(std::string_view code) {
  return code == "budget_exceeded" || code == "rate_limit_exceeded";
}

bool classifier::run(const document& d, classification& out, api_error& error, engine::yield y) {
  const bool has_model = !config_.model.empty();
  render_result opened;
  if (d.type == document_type::text) {
    opened.text = beginning_of(d.bytes, max_word_bytes);
  } else if (!open(d, has_model, !has_model, opened, error, y)) {
    return false;
  }
  out.pages = opened.pages;
  out.pages_seen = static_cast<std::uint32_t>(opened.images.size());
  if (has_model) {
    const asked end = ask(d, opened, out, error, y);
    if (end == asked::answered) return true;
    if (end == asked::ended) return false;
  }
  out.lasting = !has_model;
  return by_words(d, opened, out, error, y);
}

/// Waits for a place, and has a process open the document.
bool classifier::open(const document& d, bool images, bool read_text, render_result& out, api_error& error,
                      engine::yield y) {
  auto& ports = pipeline_.parts();
  render_gate::place place;
  const auto patience = std::min(ports.time.now() + like_.config->queue.max_wait, like_.deadline);
  const auto entered = desk_.gate.enter(config_.workers, config_.max_waiting, ports.thread, patience,
                                        ports.time, gone_, place, y);
  if (entered != render_gate::outcome::entered) {
    const bool own_deadline = ports.time.now() >= like_.deadline;
    error = entered == render_gate::outcome::gone ? engine::gone_error(gone_)
            : own_deadline                        ? engine::deadline_error()
                                                  : busy();
    return false;
  }
  const render_command command{
      .program = desk_.program, .memory_bytes = config_.memory_bytes, .cpu_limit = config_.time_limit};
  const render_job job{.type = d.type,
                       .images = images,
                       .read_text = read_text,
                       .max_pages = static_cast<std::uint32_t>(config_.max_pages),
                       .max_pixels = static_cast<std::uint64_t>(config_.max_pixels),
                       .edge = static_cast<std::uint32_t>(config_.edge),
                       .quality = static_cast<std::uint32_t>(config_.quality)};
  const engine::time_point start = ports.time.now();
  const render_end end =
      run_render(command, job, d.bytes, std::min(start + config_.time_limit, like_.deadline), ports.thread,
                 gone_, out, y);
  desk_.metrics.rendered(to_string(d.type), ports.time.now() - start);
  switch (end) {
    case render_end::answered:
      if (out.status == render_status::done) return true;
      error = not_opened(out, to_string(d.type), config_);
      return false;
    case render_end::crashed:
      error = bad_document(
          400, "unreadable_document",
          "The document could not be opened within this node's bounds of memory and time. Send a "
          "simpler copy.");
      return false;
    case render_end::late:
      error = ports.time.now() >= like_.deadline
                  ? engine::deadline_error()
                  : bad_document(
                        413, "document_too_complex",
                        "Opening the document took longer than documents.time_limit. Send a simpler copy.");
      return false;
    case render_end::gone:
      error = engine::gone_error(gone_);
      return false;
    case render_end::not_started:
      error = busy();
      return false;
  }
  return false;
}

/// One question to the model, and another when the answer names no label.
classifier::asked classifier::ask(const document& d, const render_result& opened, classification& out,
                                  api_error& error, engine::yield y) {
  const auto model = engine::find_model(*like_.config, config_.model);
  if (!model) return asked::no_answer;
  std::int64_t bytes = 0;
  for (const page_image& p : opened.images) {
    bytes += static_cast<std::int64_t>(p.jpeg.size());
    out.image_tokens_before += tokens_of_image(p.source_width, p.source_height);
    out.image_tokens_after += tokens_of_image(p.width, p.height);
  }
  desk_.metrics.sent(out.pages_seen, bytes, out.image_tokens_before, out.image_tokens_after);
  for (int question = 0; question < max_questions; ++question) {
    const std::string body =
        classification_prompt(config_, *d.industry, config_.model, opened.images, opened.text, question > 0);
    engine::call c = like_;
    c.route = engine::route_kind::chat;
    c.body = body;
    c.facts = {};
    c.model = *model;
    c.cache = {.no_cache = true, .no_store = true};
    c.stale = nullptr;  // of the document, not of this question
    c.received = pipeline_.parts().time.now();
    c.upload = {};
    c.gone = &gone_;
    if (!all_formats().of(c.route).read_request(c.route, c.body, c.facts, error)) return asked::no_answer;
    const engine::time_point start = c.received;
    const engine::answer a = pipeline_.run(std::move(c), y);
    const std::chrono::microseconds own(number_in<std::int64_t>(header(a, "x-millrace-overhead-us")));
    out.upstream += pipeline_.parts().time.now() - start - own;
    read_headers(a, out);
    if (gone_.cancelled()) {
      error = engine::gone_error(gone_);
      return asked::ended;
    }
    if (pipeline_.parts().time.now() >= like_.deadline) {
      error = engine::deadline_error();
      return asked::ended;
    }
    if (read_own_refusal(a, error)) return asked::ended;
    if (a.status != 200 || is_stand_in(a, *like_.config)) return asked::no_answer;
    const chat_verdict said = read_classification(a.body, d.industry->labels);
    out.input_tokens += said.input_tokens;
    out.output_tokens += said.output_tokens;
    if (!said.verdict) continue;
    out.label = said.verdict->label;
    out.confidence = said.verdict->confidence;
    out.lasting = true;
    return asked::answered;
  }
  return asked::no_answer;
}

/// The last resort, and the only one where no model is configured.
bool classifier::by_words(const document& d, render_result& opened, classification& out, api_error& error,
                          engine::yield y) {
  const bool read_already = config_.model.empty() || d.type == document_type::text;
  if (!read_already && !has_letters(opened.text) && !open(d, false, true, opened, error, y)) return false;
  const auto choice = builtin::choose_label(beginning_of(opened.text, max_word_bytes), d.industry->labels);
  out.label = d.industry->labels[choice.index];
  out.confidence = choice.confidence;
  out.provider = builtin_name;
  out.upstream_model = builtin_name;
  out.key_id.clear();
  out.upgraded = false;
  out.fallback = !config_.model.empty();
  return true;
}

}  // namespace millrace::http::documents
