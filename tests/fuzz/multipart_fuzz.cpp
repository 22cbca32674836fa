#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "http/documents/multipart.hpp"
#include "http/documents/sniff.hpp"
#include "http/documents/upload.hpp"

/// A content type up to the first line end, then a body: whatever is read of it lies within it.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view type = input.substr(0, input.find('\n'));
  const std::string_view body = input.substr(std::min(input.size(), type.size() + 1));
  http::documents::upload upload;
  engine::api_error error;
  constexpr std::int64_t most = 1 << 16;
  if (http::documents::read_upload(type, "industry=%41", body, most, upload, error)) {
    if (upload.file.empty() || upload.file.size() > most || upload.file.data() < body.data() ||
        upload.file.data() + upload.file.size() > body.data() + body.size())
      std::abort();
    http::documents::sniff(upload.file);
  } else if (error.message.empty() || error.code.empty()) {
    std::abort();
  }
  std::vector<http::documents::form_part> parts;
  std::string problem;
  if (!http::documents::read_form(body, "b", parts, problem) && problem.empty()) std::abort();
  return 0;
}
