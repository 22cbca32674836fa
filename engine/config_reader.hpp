#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "engine/config.hpp"

/// Typed access to a YAML document for the configuration's own source files: every accessor checks what it
/// reads and throws config_error with file, line and key. Texts that were expanded or are secret never get
/// into a message.
namespace millrace::engine {

/// Largest configuration file, and largest file behind `${file:...}`.
inline constexpr size_t max_config_bytes = 1 << 20;
inline constexpr size_t max_reference_bytes = 64 << 10;
/// Most entries of any list or mapping whose keys are free. Bounds what aliases can multiply.
inline constexpr size_t max_config_entries = 10'000;
/// Largest count that can be configured: sums of a few of them still fit 64 bits.
inline constexpr std::int64_t max_count = 1'000'000'000'000'000;
/// Of a price for a million tokens.
inline constexpr double max_usd = 1e6;

/// "; did you mean `x`?" when a candidate is near `word`, else empty.
std::string suggestion(std::string_view word, const std::vector<std::string>& candidates);

/// How a value is taken from elsewhere. The quotes are needed inside `{ }`.
inline constexpr std::string_view reference_forms = "\"${env:NAME}\" or \"${file:/path}\"";

/// What the names of providers, keys, clients and tenants are: fit for headers, labels and names of actors.
inline constexpr std::string_view identifier_rule = "a name of at most 64 letters, digits, `.`, `_` and `-`";
bool is_identifier(std::string_view text);

/// "a, b, c".
std::string join(const std::vector<std::string>& words);

/// What all values of one document share.
struct config_source {
  std::string name;
  const environment& env;
};

class config_value {
 public:
  /// `line` counts from 1 and is used where the node itself has none.
  config_value(const config_source& source, const YAML::Node& node, std::string path, int line);

  /// Throws config_error("<file>:<line>: <path>: <problem>").
  [[noreturn]] void fail(const std::string& problem) const;

  /// A scalar's text with `${env:NAME}` and `${file:/path}` expanded; never empty, no control characters.
  std::string text() const;
  /// text() as a credential: printable ASCII without spaces, so that it can stand in a header.
  secret credential() const;
  /// text() that keeps to `identifier_rule`.
  std::string identifier() const;
  /// One of `choices`; its index.
  size_t choice(const std::vector<std::string>& choices) const;
  /// `instead` ends what is said of a number out of range.
  std::int64_t integer(std::int64_t least, std::int64_t most, std::string_view instead = {}) const;
  /// In [least, most], or ]least, most] with `above`.
  double number(double least, double most, bool above = false) const;
  bool boolean() const;
  engine::duration duration(engine::duration least, engine::duration most) const;
  std::int64_t bytes(std::int64_t least, std::int64_t most) const;

  /// The elements of a list.
  std::vector<config_value> list(size_t most = max_config_entries) const;
  /// A mapping's entries in order. Fails on keys given twice and on keys that are no text.
  std::vector<std::pair<std::string, config_value>> entries(size_t most = max_config_entries) const;

  bool null() const { return node_.IsNull(); }
  bool is_mapping() const { return node_.IsMap(); }
  /// A scalar as it stands in the document, nothing expanded, in quotes and cut, for messages. Not for
  /// secrets.
  std::string quoted() const;

 private:
  std::string beginning() const;  ///< `quoted`, of what may be a secret that stands where a number should
  std::string scalar(std::string_view expected) const;
  std::string expand(const std::string& raw) const;
  std::string reference(const std::string& body) const;

  const config_source* source_;
  YAML::Node node_;
  std::string path_;
  int line_;
};

/// A mapping whose keys are all known. An empty one (`http:`) has none of them.
class config_section {
 public:
  /// Fails on unknown keys, and names the nearest known one.
  config_section(const config_value& value, const std::vector<std::string>& known);

  /// Null when absent.
  const config_value* find(std::string_view key) const;
  /// Fails when absent; `why` ends the message.
  const config_value& require(std::string_view key, std::string_view why) const;

  // Each leaves `out` as it is when the key is absent.
  void read(std::string_view key, std::int64_t& out, std::int64_t least, std::int64_t most) const;
  void read(std::string_view key, int& out, int least, int most) const;
  /// A count from 1 on whose absence means that there is no limit.
  void read_limit(std::string_view key, std::int64_t& out) const;
  void read(std::string_view key, double& out, double least, double most, bool above = false) const;
  void read(std::string_view key, bool& out) const;
  void read(std::string_view key, engine::duration& out, engine::duration least, engine::duration most) const;
  void read_bytes(std::string_view key, std::int64_t& out, std::int64_t least, std::int64_t most) const;

 private:
  config_value value_;
  std::map<std::string, config_value, std::less<>> entries_;
};

/// The single document of `yaml`. Throws config_error and YAML::Exception.
YAML::Node load_document(const std::string& yaml, const std::string& source);

/// Fills in everything the document says, without what must be looked up by name: fallbacks and name ids stay
/// open.
void read_document(const config_value& root, config& c);
void read_breaker(const config_value& value, breaker_config& b);
/// The value holds facts about models, or names a file that does; they go before those that are built in.
void read_model_data(const config_value& value, config& c);
void read_providers(const config_value& value, config& c);
void read_models(const config_value& value, config& c);
/// Needs all models, also those that the document leaves out.
void read_documents(const config_value& value, config& c);

/// As they are written, in the order of `engine::strategy`.
inline const std::vector<std::string> strategy_names = {"cost", "quality", "speed", "weighted", "least_busy"};

/// What a model says about choosing: `groups`, `sticky`, `private`. Targets name their groups.
void read_groups(const config_section& s, model_config& m);
/// Where `m` has groups, a target's `group` names one of them; else it must be absent.
size_t read_target_group(const config_section& target, const model_config& m);
/// Second pass, when all models are known: a private model needs a private target, a group needs a target.
void check_choosing(const config_section& s, const config& c, const model_config& m);
void read_complexity(const config_value& value, config& c);
/// Second pass: `choose`, whose rules name other models. Loops are for `check_loops`.
void read_choose(const config_section& s, const std::vector<std::string>& names, const config& c,
                 model_config& m);
/// When all rules are known; `sections` are those of the models.
void check_loops(const std::vector<config_section>& sections, const config& c);
/// The index of a model that `element` names; fails when there is none, or when it is `m` itself.
size_t other_model(const config_value& element, const std::vector<std::string>& names, const config& c,
                   const model_config& m);
void read_degrade(const config_value& value, model_config& m);
void read_hedge(const config_value& value, model_config& m);
void read_hedge_budget(const config_value& value, config& c);
/// When all models are known.
void read_upgrade(const config_value& value, const config& c, model_config& m);

/// The values of a document that says nothing, without providers and models.
config default_values();

/// Adds the providers whose well-known variables are set, or asks for the simulator. Throws config_error.
void add_default_providers(config& c, const environment& env);
/// One wildcard model per provider.
void add_wildcard_models(config& c);
/// Interns every name, on top of `previous`, and counts the version on. Throws config_error when the table is
/// full.
void link_names(config& c, const config_ptr& previous);

/// Splits `url` into the fields of `p`; returns what is wrong with it, or an empty text.
std::string split_base_url(const std::string& url, provider_config& p);

/// The only key of a builtin provider.
key_config builtin_key();

/// Whether OpenAI itself or Azure is behind a host: they speak all of the API, under its newest names.
bool is_openai_host(const std::string& host);

}  // namespace millrace::engine
