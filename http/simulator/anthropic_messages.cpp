#include <algorithm>
#include <array>
#include <utility>

#include "http/simulator/anthropic_reader.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/signature.hpp"

/// The conversation in a request of Anthropic's.
namespace millrace::http::simulation {
namespace {

constexpr int max_cache_marks = 4;

using member_names = std::array<std::string_view, 4>;

struct block_kind {
  std::string_view type;
  member_names required;
  member_names optional;
  std::string_view homes;  ///< u: of the user, a: of the assistant, s: of the system, r: in a tool's result
};

/// Of @anthropic-ai/sdk.
constexpr std::array<block_kind, 8> block_kinds = {{
    {"text", {"text"}, {"cache_control", "citations"}, "uasr"},
    {"image", {"source"}, {"cache_control", "transformations"}, "ur"},
    {"document", {"source"}, {"cache_control", "citations", "context", "title"}, "ur"},
    {"search_result", {"content", "source", "title"}, {"cache_control", "citations"}, "ur"},
    {"tool_use", {"id", "input", "name"}, {"cache_control", "caller", "toolset_name"}, "a"},
    {"tool_result", {"tool_use_id"}, {"cache_control", "content", "is_error", "toolset_name"}, "u"},
    {"thinking", {"signature", "thinking"}, {}, "a"},
    {"redacted_thinking", {"data"}, {}, "a"},
}};

const block_kind* find_kind(std::string_view type) {
  const auto* found = std::find_if(block_kinds.begin(), block_kinds.end(),
                                   [&](const block_kind& k) { return k.type == type; });
  return found == block_kinds.end() ? nullptr : found;
}

bool has(const member_names& names, std::string_view name) {
  return !name.empty() && std::find(names.begin(), names.end(), name) != names.end();
}

/// Blocks of the provider's own tools are known by name only.
bool is_of_own_tools(std::string_view type) {
  return is_one_of(type, {"server_tool_use", "web_search_tool_result", "web_fetch_tool_result",
                          "code_execution_tool_result", "bash_code_execution_tool_result",
                          "text_editor_code_execution_tool_result", "tool_search_tool_result",
                          "container_upload", "tool_reference", "browser_state", "mid_conv_system"});
}

std::string quoted_list(const std::vector<std::string_view>& ids) {
  std::string out;
  for (const std::string_view id : ids) out.append(out.empty() ? "" : ", ").append(id);
  return out;
}

}  // namespace

void anthropic_reader::read_messages() {
  const auto value = find(body_, "messages");
  if (!value) throw rejected("messages: Field required");
  if (!value->is_array()) throw rejected("messages: Input should be a valid list");
  const dom::array messages(*value);
  if (messages.size() == 0) throw rejected("messages: at least one message is required");
  next_text(q_);
  std::size_t index = 0;
  for (const dom::element message : messages) {
    read_message(message, index, index + 1 == messages.size());
    ++index;
  }
  // What the assistant says last is continued, so its calls wait for nobody.
  if (!pending_.empty())
    throw rejected(
        "messages." + std::to_string(index - 1) +
        ": `tool_use` ids were found without `tool_result` blocks immediately after: " +
        quoted_list(pending_) +
        ". Each `tool_use` block must have a corresponding `tool_result` block in the next message.");
}

void anthropic_reader::read_message(dom::element element, std::size_t index, bool last) {
  const std::string path = "messages." + std::to_string(index);
  const auto message = as_object(element);
  if (!message) throw rejected(path + ": Input should be a valid dictionary");
  for (const auto& [name, value] : *message)
    if (!is_one_of(name, {"role", "content"}))
      throw rejected(path + "." + std::string(name) + ": Extra inputs are not permitted");
  const auto role = find_text(*message, "role");
  if (!role) throw rejected(path + ".role: Field required");
  if (!is_one_of(*role, {"user", "assistant", "system"}))
    throw rejected("messages: Unexpected role \"" + std::string(*role) +
                   "\". Allowed roles are \"user\" or \"assistant\".");
  if (index == 0 && *role != "user") throw rejected("messages: first message must use the \"user\" role");
  const auto content = find(*message, "content");
  if (!content) throw rejected(path + ".content: Field required");
  const bool user = *role == "user";
  const bool assistant = *role == "assistant";

  if (user || assistant) {
    // An answer that is begun may be empty, nothing else may.
    calls_.clear();
    answered_.clear();
    said_.clear();
    first_type_.clear();
    said_text_ = false;
    blocks_ = 0;
  }
  if (needs_thoughts_ && last && user && !pending_.empty() &&
      !is_one_of(assistant_starts_, {"thinking", "redacted_thinking"}))
    throw rejected(
        "messages." + std::to_string(index - 1) +
        ".content.0.type: Expected `thinking` or `redacted_thinking`, but found `" + assistant_starts_ +
        "`. When "
        "`thinking` is enabled, a final `assistant` message must start with a thinking block "
        "(preceeding the lastmost set of `tool_use` and `tool_result` blocks). We recommend you "
        "include thinking blocks from previous turns. To avoid this requirement, disable `thinking`.");
  if (*role == "system") counter_.message();
  read_content(*content, path,
               user        ? home::user
               : assistant ? home::assistant
                           : home::system,
               last && assistant);
  if (user) judge_results(index);
  if (assistant) {
    judge_results(index);
    pending_ = calls_;
    assistant_starts_ = first_type_;
    if (last && said_text_ && !said_.empty() && is_blank(std::string_view(said_).substr(said_.size() - 1)))
      throw rejected("messages: final assistant content cannot end with trailing whitespace");
    q_.last_is_user = false;
  }
  if (!user) return;
  // Results of tools are no question; what was asked before them still is.
  q_.last_is_user = said_text_ || answered_.empty();
  if (q_.last_is_user) q_.text[0] = said_;
  q_.redacts_thoughts = q_.last_is_user && said_.find(redaction_trigger) != std::string::npos;
  if (blocks_ > answered_.size()) counter_.message();
}

/// Every call must have its result in the user's message behind it, and every result its call.
void anthropic_reader::judge_results(std::size_t index) {
  std::vector<std::string_view> missing;
  for (const std::string_view id : pending_)
    if (std::find(answered_.begin(), answered_.end(), id) == answered_.end()) missing.push_back(id);
  if (!missing.empty())
    throw rejected(
        "messages." + std::to_string(index - 1) +
        ": `tool_use` ids were found without `tool_result` blocks immediately after: " +
        quoted_list(missing) +
        ". Each `tool_use` block must have a corresponding `tool_result` block in the next message.");
  pending_.clear();
}

void anthropic_reader::read_content(dom::element content, const std::string& path, home where,
                                    bool may_be_empty) {
  const bool inner = where == home::tool_result;
  const bool of_system_field = path == "system";
  if (std::string_view text; !content.get(text)) {
    if (text.empty() && !may_be_empty && !inner && !of_system_field)
      throw rejected(path + ": " + (where == home::assistant ? "all" : "user") +
                     " messages must have non-empty content" +
                     (where == home::assistant ? " except for the optional final assistant message" : ""));
    counter_.text(text);
    if (where == home::assistant) counter_.message();
    if (caches_) prefix_ = extend_prefix(extend_prefix(prefix_, "text"), text);
    if (inner) return;
    if (where == home::user || where == home::assistant) {
      if (!text.empty() && is_blank(text))
        throw rejected("messages: text content blocks must contain non-whitespace text");
      said_ += text;
      said_text_ = true;
      first_type_ = "text";
      ++blocks_;
    }
    return;
  }
  if (!content.is_array()) throw rejected(path + ".content: Input should be a valid string");
  const dom::array blocks(content);
  if (blocks.size() == 0 && !may_be_empty && !inner && !of_system_field)
    throw rejected(path + ": " + (where == home::assistant ? "all" : "user") +
                   " messages must have non-empty content" +
                   (where == home::assistant ? " except for the optional final assistant message" : ""));
  if (where == home::assistant) counter_.message();
  std::size_t index = 0;
  for (const dom::element block : blocks)
    read_block(block, path + (of_system_field ? "." : ".content.") + std::to_string(index++), where);
}

void anthropic_reader::read_block(dom::element element, const std::string& path, home where) {
  const auto block = as_object(element);
  if (!block) throw rejected(path + ": Input should be a valid dictionary or object to extract fields from");
  const auto type = find_text(*block, "type");
  if (!type) throw rejected(path + ".type: Field required");
  const block_kind* kind = find_kind(*type);
  const char letter = where == home::user        ? 'u'
                      : where == home::assistant ? 'a'
                      : where == home::system    ? 's'
                                                 : 'r';
  if (kind == nullptr) {
    if (!is_of_own_tools(*type) || where == home::system)
      throw rejected(path + ": Input tag '" + std::string(*type) +
                     "' found using 'type' does not match any of the expected tags");
    counter_.json(element);
    return;
  }
  if (kind->homes.find(letter) == std::string_view::npos)
    throw rejected(path + ": `" + std::string(*type) + "` blocks are not allowed " +
                   (where == home::tool_result ? "in `tool_result` blocks" : "in messages of this role"));
  const std::string inside = path + "." + std::string(*type);
  for (const std::string_view name : kind->required)
    if (!name.empty() && !find(*block, name))
      throw rejected(inside + "." + std::string(name) + ": Field required");
  for (const auto& [name, value] : *block) {
    const bool known = name == "type" || has(kind->required, name) || has(kind->optional, name);
    if (!known) throw rejected(inside + "." + std::string(name) + ": Extra inputs are not permitted");
  }
  const bool outer = where == home::user || where == home::assistant;
  if (outer && blocks_++ == 0) first_type_ = *type;
  if (*type == "text") read_text(*block, path, where);
  if (is_one_of(*type, {"image", "document"})) read_source(*block, *type, inside);
  if (*type == "search_result") counter_.json(*find(*block, "content"));
  if (*type == "tool_use") read_tool_use(*block, path);
  if (*type == "tool_result") read_tool_result(*block, path);
  if (is_one_of(*type, {"thinking", "redacted_thinking"})) read_thought(*block, *type, path);
  if (outer && *type != "text") said_text_ = said_text_ && *type != "tool_use";
  remember(*type, *block);
  judge_cache_control(*block, inside);
}

void anthropic_reader::read_text(dom::object block, const std::string& path, home where) {
  const auto text = find_text(block, "text");
  if (!text) throw rejected(path + ".text.text: Input should be a valid string");
  const std::string root = path.substr(0, path.find('.'));
  if (text->empty()) throw rejected(root + ": text content blocks must be non-empty");
  if (is_blank(*text)) throw rejected(root + ": text content blocks must contain non-whitespace text");
  counter_.text(*text);
  if (where != home::user && where != home::assistant) return;
  said_ += *text;
  said_text_ = true;
}

void anthropic_reader::read_source(dom::object block, std::string_view type, const std::string& path) {
  const auto source = as_object(*find(block, "source"));
  if (!source) throw rejected(path + ".source: Input should be a valid dictionary");
  const std::string_view kind = find_text(*source, "type").value_or("");
  const bool image = type == "image";
  const auto data = find_text(*source, "data");
  const std::string inside = path + ".source." + std::string(kind);
  if (image)
    counter_.image();
  else
    counter_.attachment(data ? data->size() : 0);
  if (kind == "base64") {
    const std::string_view media = find_text(*source, "media_type").value_or("");
    if (image && !is_one_of(media, {"image/jpeg", "image/png", "image/gif", "image/webp"}))
      throw rejected(inside +
                     ".media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' or "
                     "'image/webp'");
    if (!image && media != "application/pdf")
      throw rejected(inside + ".media_type: Input should be 'application/pdf'");
    if (!data || !is_base64(*data)) throw rejected(inside + ".data: Invalid base64 data");
  } else if (kind == "url") {
    const std::string_view url = find_text(*source, "url").value_or("");
    if (!url.starts_with("https://") && !url.starts_with("http://"))
      throw rejected(inside + ".url: Only HTTPS URLs are supported.");
  } else if (kind == "text" && !image) {
    if (find_text(*source, "media_type") != "text/plain" || !data || data->empty())
      throw rejected(inside + ": a plain text document has media_type 'text/plain' and text in data");
  } else if (!is_one_of(kind, {"file", "content"}) || (kind == "content" && image)) {
    throw rejected(path + ".source: Input tag '" + std::string(kind) +
                   "' found using 'type' does not match any of the expected tags");
  }
  for (const auto& [name, value] : *source)
    if (!is_one_of(name, {"type", "data", "media_type", "url", "file_id", "content"}) ||
        (kind == "url" && is_one_of(name, {"data", "media_type"})) || (kind != "url" && name == "url"))
      throw rejected(inside + "." + std::string(name) + ": Extra inputs are not permitted");
}

void anthropic_reader::read_tool_use(dom::object block, const std::string& path) {
  const auto id = find_text(block, "id");
  if (!id || !is_name(*id, "_-", 1, id->size()))
    throw rejected(path + ".tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'");
  const auto name = find_text(block, "name");
  if (!name || name->empty() || name->size() > 200)
    throw rejected(path + ".tool_use.name: String should have 1 to 200 characters");
  const dom::element input = *find(block, "input");
  if (!input.is_object()) throw rejected(path + ".tool_use.input: Input should be a valid dictionary");
  if (!seen_calls_.insert(*id).second) throw rejected(path + ": `tool_use` ids must be unique");
  calls_.push_back(*id);
  counter_.call(*id, *name, simdjson::minify(input).size());
}

void anthropic_reader::read_tool_result(dom::object block, const std::string& path) {
  const auto id = find_text(block, "tool_use_id");
  if (!id || !is_name(*id, "_-", 1, id->size()))
    throw rejected(path + ".tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'");
  if (std::find(pending_.begin(), pending_.end(), *id) == pending_.end())
    throw rejected(path + ": unexpected `tool_use_id` found in `tool_result` blocks: " + std::string(*id) +
                   ". Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                   "message.");
  if (std::find(answered_.begin(), answered_.end(), *id) != answered_.end())
    throw rejected(path +
                   ": each tool_use must have a single result. Found multiple `tool_result` blocks with "
                   "id: " +
                   std::string(*id));
  bool failed = false;
  if (const auto value = find(block, "is_error"); value && value->get(failed))
    throw rejected(path + ".tool_result.is_error: Input should be a valid boolean");
  if (said_text_) throw rejected(path + ": `tool_result` blocks must come before any text in the message");
  answered_.push_back(*id);
  counter_.message();
  counter_.text(*id);
  if (const auto content = find(block, "content"))
    read_content(*content, path + ".tool_result", home::tool_result, true);
}

void anthropic_reader::read_thought(dom::object block, std::string_view type, const std::string& path) {
  if (type == "redacted_thinking") {
    if (!is_seal(find_text(block, "data").value_or("")))
      throw rejected(path + ": Invalid `data` in `redacted_thinking` block");
    return;
  }
  const auto thought = find_text(block, "thinking");
  if (!thought || find_text(block, "signature") != sign(thought.value_or("")))
    throw rejected(path + ": Invalid `signature` in `thinking` block");
}

void anthropic_reader::judge_cache_control(dom::object block, const std::string& path) {
  const auto value = find(block, "cache_control");
  if (!value) return;
  const std::string inside = (path.empty() ? "" : path + ".") + "cache_control";
  const auto control = as_object(*value);
  if (!control) throw rejected(inside + ": Input should be a valid dictionary");
  if (find_text(*control, "type") != "ephemeral")
    throw rejected(inside + ": Input tag does not match any of the expected tags: 'ephemeral'");
  if (find(*control, "ttl") && !is_one_of(find_text(*control, "ttl").value_or(""), {"5m", "1h"}))
    throw rejected(inside + ".ephemeral.ttl: Input should be '5m' or '1h'");
  for (const auto& [name, inner] : *control)
    if (!is_one_of(name, {"type", "ttl"}))
      throw rejected(inside + ".ephemeral." + std::string(name) + ": Extra inputs are not permitted");
  if (++cache_marks_ > max_cache_marks)
    throw rejected("A maximum of 4 blocks with cache_control may be provided. Found " +
                   std::to_string(cache_marks_) + ".");
  if (!path.empty()) q_.cache_points.push_back(point_at(q_.facts.model, prefix_, counter_.total()));
}

/// Takes a block into the prefix. Where it ends with a mark is no part of it.
void anthropic_reader::remember(std::string_view type, dom::object block) {
  if (!caches_) return;
  if (type == "text") {
    prefix_ = extend_prefix(extend_prefix(prefix_, "text"), find_text(block, "text").value_or(""));
    return;
  }
  for (const auto& [name, value] : block)
    if (name != "cache_control")
      prefix_ = extend_prefix(extend_prefix(prefix_, name), simdjson::minify(value));
}

}  // namespace millrace::http::simulation
