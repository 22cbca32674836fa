#include "http/documents/worker/worker.hpp"

#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>

#include "http/documents/prompt.hpp"
#include "http/documents/render_job.hpp"
#include "http/documents/worker/libraries.hpp"
#include "http/documents/worker/pictures.hpp"
#include "http/documents/worker/sandbox.hpp"
#include "http/documents/worker/text_reader.hpp"

namespace millrace::http::documents {

namespace {

/// A page with fewer letters than this in its text layer is taken for a picture.
constexpr int least_letters = 20;
/// So sure, or surer, and a picture is taken to be the right way up.
constexpr int upright_confidence = 60;
/// The pages of pictures that are read: the first ones tell, and each takes a third of a second.
constexpr std::uint32_t most_pages_read = 2;
/// Half turns are tried first: tesseract itself sees quarter turns.
constexpr int turns[] = {2, 1, 3};

bool read_input(std::string& out) {
  constexpr std::size_t piece = 256 * 1024;
  while (true) {
    const std::size_t before = out.size();
    out.resize(before + piece);
    const ssize_t got = ::read(STDIN_FILENO, out.data() + before, piece);
    out.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return true;
    if (got < 0 && errno != EINTR) return false;
  }
}

bool write_output(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return true;
}

bool has_letters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0;
         }) >= least_letters;
}

class opened_document {
 public:
  opened_document(const render_job& job, std::string_view bytes) : job_(job), bytes_(bytes) {}

  void render(render_result& out) {
    if (job_.type == document_type::pdf) pdf_.emplace(bytes_);
    out.pages = pdf_ ? pdf_->pages() : pictures_.pages(job_, bytes_);
    if (out.pages == 0) throw unreadable(render_status::no_pages, "");
    const std::uint32_t pages = std::min(out.pages, job_.max_pages);
    for (std::uint32_t i = 0; i < pages; ++i) {
      if (pdf_) out.text.append(pdf_->text(i)).append("\n");
      if (job_.images) out.images.push_back(pictures_.page(job_, bytes_, i));
    }
    if (job_.read_text && !has_letters(out.text)) out.text = read_pictures(std::min(pages, most_pages_read));
    out.text = beginning_of(out.text, max_result_text_bytes);
    out.status = render_status::done;
  }

 private:
  std::string read_pictures(std::uint32_t pages) {
    std::string out;
    for (std::uint32_t i = 0; i < pages; ++i) out.append(read_picture(i)).append("\n");
    return out;
  }

  /// What a page says, whichever way up it lies.
  std::string read_picture(std::uint32_t page) {
    if (!letters_) letters_.emplace();
    const grey_picture upright = pictures_.grey_page(job_, bytes_, page);
    letter_reader::reading best = letters_->read(upright);
    for (const int quarters : turns) {
      if (best.confidence >= upright_confidence) break;
      letter_reader::reading other = letters_->read(pictures_.turned(upright, quarters));
      if (other.confidence > best.confidence) best = std::move(other);
    }
    return std::move(best.text);
  }

  const render_job& job_;
  const std::string_view bytes_;
  const pictures pictures_;
  std::optional<pdf_document> pdf_;
  std::optional<letter_reader> letters_;
};

render_result open(std::string_view input) {
  render_result out;
  render_job job;
  if (!decode_job(input.substr(0, job_bytes), job)) return out;
  try {
    opened_document(job, input.substr(job_bytes)).render(out);
    return out;
  } catch (const unreadable& e) {
    out = {};
    out.status = e.status;
    out.problem = e.what();
  } catch (const library_missing& e) {
    out = {};
    out.status = render_status::unavailable;
    out.problem = e.what();
  }
  return out;
}

}  // namespace

int run_document_worker(std::int64_t memory_bytes, std::int64_t cpu_seconds) {
  if (!enter_sandbox(memory_bytes, cpu_seconds)) return EXIT_FAILURE;
  std::string input;
  if (!read_input(input)) return EXIT_FAILURE;
  // Leaves at once: what the libraries would take down goes with the process.
  const bool said = write_output(encode_result(open(input)));
  ::_exit(said ? EXIT_SUCCESS : EXIT_FAILURE);
}

}  // namespace millrace::http::documents
