#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "http/documents/answer_reader.hpp"
#include "http/documents/render_job.hpp"

/// What a model, or the process that opens documents, says: a label is one of those asked for, a confidence
/// is in range, and what decodes says the same when it is encoded again.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace documents = millrace::http::documents;
  static const std::vector<std::string> labels = {"bank_statement", "invoice", "other", "x-ray"};
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto check = [](const auto& verdict) {
    if (!verdict) return;
    const bool known = std::find(labels.begin(), labels.end(), verdict->label) != labels.end();
    if (!known || !(verdict->confidence >= 0 && verdict->confidence <= 1)) std::abort();
  };
  check(documents::read_verdict(input, labels));
  check(documents::read_classification(input, labels).verdict);
  documents::render_result result;
  if (documents::decode_result(input, result)) {
    documents::render_result again;
    if (!documents::decode_result(documents::encode_result(result), again) || again.text != result.text)
      std::abort();
  }
  documents::render_job job;
  if (documents::decode_job(input, job) && job.max_pages > documents::max_result_pages) std::abort();
  return 0;
}
