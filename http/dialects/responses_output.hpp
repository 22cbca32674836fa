#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"

/// The object that /v1/responses answers with, as it grows. Internal to `responses_chat`. Not thread-safe.
namespace millrace::http {

enum class response_item_kind : std::uint8_t { message, reasoning, call };

/// Texts are as escaped in JSON, without quotes, so that pieces join; the two halves of a surrogate pair may
/// come apart.
struct response_item {
  struct part {
    bool refusal = false;
    std::string text;
  };
  response_item_kind kind = response_item_kind::message;
  std::string id;           ///< a string literal
  std::vector<part> parts;  ///< of a message
  bool has_text = false;    ///< of a reasoning: there is a summary
  std::string text;         ///< of a reasoning its summary, of a call its arguments
  std::string encrypted;    ///< of a reasoning, a string literal; empty: none
  std::string call_id;      ///< of a call, a string literal
  std::string name;         ///< the same
};

enum class response_status : std::uint8_t { in_progress, completed, incomplete };
std::string_view to_string(response_status status);
/// Anything but `in_progress`.
response_status response_status_of(finish_reason finish);

class response_object {
 public:
  /// `answer_id` may be empty. `model`: as the client calls it.
  response_object(std::string_view answer_id, std::string_view model, std::int64_t created);

  response_item& add(response_item_kind kind);
  /// `id` may be empty.
  response_item& add_call(std::string_view id, std::string_view name);

  std::vector<response_item> items;

  /// Appends the object; in progress it has neither items nor usage.
  void write(response_status status, finish_reason finish, const engine::usage& used, std::string& out) const;

 private:
  std::string base_;   ///< what all ids have in common
  std::string head_;   ///< the first members
  std::string model_;  ///< a string literal
  std::size_t calls_ = 0;
};

/// Appends the item as it is now.
void write_response_item(const response_item& item, response_status status, std::string& out);
/// The same for a content part of a message.
void write_response_part(const response_item::part& part, std::string& out);
/// The same for the summary of a reasoning.
void write_response_summary(const response_item& item, std::string& out);

/// Appends `usage`.
void write_response_usage(const engine::usage& used, std::string& out);

/// How the ids of thoughts begin that OpenAI's Responses API did not make, so that it is not asked for them.
inline constexpr std::string_view foreign_thought_prefix = "rs_millrace_";

/// Signatures are only good for the provider that made them, and OpenAI makes some of its own: ours bear a
/// mark in `encrypted_content`. Both are string literals.
inline constexpr std::string_view response_signature_mark = "millrace:";
std::string mark_response_signature(json_literal signature, bool sealed);
/// False for what is not marked; then the rest stays as it is.
bool unmark_response_signature(json_literal encrypted, std::string& signature, bool& sealed);

}  // namespace millrace::http
