#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace millrace::engine {

struct provider_config;
struct target_config;
class config_value;

/// The text of well_known_models.yaml, which is part of the program.
extern const char* const well_known_models_yaml;

/// What is known of one model. Prices are in USD, per million tokens where they are not per image.
struct model_facts {
  std::string vendor;  ///< at whose own hosts this holds: "openai", "anthropic", "gemini"; empty: anywhere
  double input_usd = 0;
  double output_usd = 0;
  double cached_usd = 0;               ///< input from the provider's cache
  double cache_write_usd = 0;          ///< input to it
  double image_usd = 0;                ///< each image of a request
  std::int64_t context_tokens = 0;     ///< 0: not known
  std::int64_t max_output_tokens = 0;  ///< 0: not known
};

/// Models by the providers' names for them: the built-in table, and the operator's entries before it.
/// Immutable, so safe from any thread.
class model_table {
 public:
  /// The table that is part of the program, read once.
  static std::shared_ptr<const model_table> built_in();

  /// This table with the entries of a document of the same form (see well_known_models.yaml) before it. They
  /// hold at any provider; what one leaves out is taken from this table's entry of the very same name. Throws
  /// config_error.
  std::shared_ptr<const model_table> with(const config_value& entries) const;

  /// What holds for `model` at `provider`, by its whole name or without the version at its end; null when
  /// nothing is known. Lives as long as the table.
  const model_facts* find(const provider_config& provider, std::string_view model) const;

 private:
  using facts_by_name = std::map<std::string, model_facts, std::less<>>;

  facts_by_name own_;       ///< of the operator
  facts_by_name built_in_;  ///< of the vendors
};

/// Fills what a target's own keys leave open. One that names a price names all: then none is taken from here.
/// Where a price of cached input is not known, it is that of fresh input.
void complete_target(const model_facts* known, bool names_price, bool names_cached, bool names_cache_write,
                     target_config& t);

/// "gpt-4o" of "gpt-4o-2024-08-06": without a date, a number of three digits or `latest` at the end.
std::string_view without_version(std::string_view model);

}  // namespace millrace::engine
