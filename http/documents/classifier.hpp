#pragma once

#include <string>
#include <string_view>

#include "engine/document_metrics.hpp"
#include "engine/pipeline.hpp"
#include "http/documents/render_gate.hpp"
#include "http/documents/render_process.hpp"
#include "http/documents/sniff.hpp"

namespace millrace::http::documents {

/// What all threads of a node share to open documents. Thread-safe; outlives their requests.
struct document_desk {
  std::string program = "/proc/self/exe";  ///< that has the subcommand `document-worker`
  render_gate gate;
  engine::document_metrics metrics;
};

/// A document on its way through. The views outlive it.
struct document {
  std::string_view bytes;
  document_type type = document_type::none;
  const engine::industry_config* industry = nullptr;
};

/// What was made of a document, and at what expense.
struct classification {
  std::string label;
  double confidence = 0;
  std::string provider;
  std::string upstream_model;
  std::string key_id;
  bool upgraded = false;
  bool fallback = false;
  /// The answer is as good as it gets here, so it may be kept: no last resort.
  bool lasting = false;

  std::uint32_t pages = 0;       ///< of the document; 0 where it has none (text)
  std::uint32_t pages_seen = 0;  ///< by the model
  int attempts = 0;              ///< upstream calls
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t image_tokens_before = 0;  ///< had the pages been sent as they came
  std::int64_t image_tokens_after = 0;
  engine::money cost;
  engine::duration upstream{};  ///< spent waiting for permits and providers
};

/// Whether an error's code says that the client's own budget is spent or its own limit reached: of the
/// model's call, which is made for the client.
bool is_own_refusal(std::string_view code);

/// Finds the label of a document: opens it in a process of its own, asks the configured model (once more when
/// its answer is of no use), and in the last resort goes by the words. One request; `gone` is what ends it.
class classifier {
 public:
  /// All outlive it. `like`: whose request it is; its route, body, model and cache wishes are not looked at.
  classifier(engine::pipeline& pipeline, document_desk& desk, const engine::call& like,
             engine::cancellation& gone)
      : pipeline_(pipeline), desk_(desk), like_(like), config_(like.config->documents), gone_(gone) {}

  /// False with `error` for a document that cannot be opened, a client that may ask no more, or a request
  /// that ended first.
  bool run(const document& d, classification& out, engine::api_error& error, engine::yield y);

 private:
  enum class asked : std::uint8_t { answered, no_answer, ended };

  bool open(const document& d, bool images, bool read_text, render_result& out, engine::api_error& error,
            engine::yield y);
  asked ask(const document& d, const render_result& opened, classification& out, engine::api_error& error,
            engine::yield y);
  bool by_words(const document& d, render_result& opened, classification& out, engine::api_error& error,
                engine::yield y);

  engine::pipeline& pipeline_;
  document_desk& desk_;
  const engine::call& like_;
  const engine::documents_config& config_;
  engine::cancellation& gone_;
};

}  // namespace millrace::http::documents
