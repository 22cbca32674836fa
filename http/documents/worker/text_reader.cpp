#include "http/documents/worker/text_reader.hpp"

#include <algorithm>

#include <poppler.h>
#include <tesseract/capi.h>

#include "http/documents/worker/libraries.hpp"

namespace millrace::http::documents {

namespace {

constexpr const char* poppler_library = "libpoppler-glib.so.8";
constexpr const char* tesseract_library = "libtesseract.so.5";
constexpr const char* object_library = "libgobject-2.0.so.0";
constexpr const char* memory_library = "libglib-2.0.so.0";
constexpr int reading_dpi = 150;
/// Acrobat's own bound for a page: 200 inches of 72 points.
constexpr double max_page_points = 200 * 72;

}  // namespace

struct pdf_document::implementation {
  decltype(&::poppler_document_new_from_bytes) open = nullptr;
  decltype(&::poppler_document_get_n_pages) n_pages = nullptr;
  decltype(&::poppler_document_get_page) page = nullptr;
  decltype(&::poppler_page_get_text) page_text = nullptr;
  decltype(&::poppler_page_get_size) page_size = nullptr;
  decltype(&::poppler_error_quark) quark = nullptr;
  decltype(&::g_bytes_new_static) bytes_new = nullptr;
  decltype(&::g_bytes_unref) bytes_unref = nullptr;
  decltype(&::g_free) free = nullptr;
  decltype(&::g_object_unref) unref = nullptr;
  PopplerDocument* document = nullptr;

  implementation() {
    const shared_library poppler(poppler_library);
    poppler.find("poppler_document_new_from_bytes", open);
    poppler.find("poppler_document_get_n_pages", n_pages);
    poppler.find("poppler_document_get_page", page);
    poppler.find("poppler_page_get_text", page_text);
    poppler.find("poppler_page_get_size", page_size);
    poppler.find("poppler_error_quark", quark);
    const shared_library memory(memory_library);
    memory.find("g_bytes_new_static", bytes_new);
    memory.find("g_bytes_unref", bytes_unref);
    memory.find("g_free", free);
    const shared_library objects(object_library);
    objects.find("g_object_unref", unref);
  }
};

pdf_document::pdf_document(std::string_view document) : implementation_(std::make_unique<implementation>()) {
  implementation& i = *implementation_;
  GError* error = nullptr;
  GBytes* const bytes = i.bytes_new(document.data(), document.size());
  i.document = i.open(bytes, nullptr, &error);
  i.bytes_unref(bytes);
  if (i.document != nullptr) return;
  const bool locked = error->domain == i.quark() && error->code == POPPLER_ERROR_ENCRYPTED;
  throw unreadable(locked ? render_status::encrypted : render_status::damaged, error->message);
}

pdf_document::~pdf_document() {
  if (implementation_->document != nullptr) implementation_->unref(implementation_->document);
}

std::uint32_t pdf_document::pages() const {
  return static_cast<std::uint32_t>(std::max(0, implementation_->n_pages(implementation_->document)));
}

std::string pdf_document::text(std::uint32_t page) const {
  const implementation& i = *implementation_;
  PopplerPage* const opened = i.page(i.document, static_cast<int>(page));
  if (opened == nullptr) throw unreadable(render_status::damaged, "a page is not there");
  double width = 0;
  double height = 0;
  i.page_size(opened, &width, &height);
  if (std::max(width, height) > max_page_points)
    throw unreadable(render_status::too_large, "a page of more than 200 inches");
  char* const text = i.page_text(opened);
  std::string out = text == nullptr ? "" : text;
  i.free(text);
  i.unref(opened);
  return out;
}

struct letter_reader::implementation {
  decltype(&::TessBaseAPICreate) create = nullptr;
  decltype(&::TessBaseAPIInit3) init = nullptr;
  decltype(&::TessBaseAPISetPageSegMode) set_mode = nullptr;
  decltype(&::TessBaseAPISetImage) set_image = nullptr;
  decltype(&::TessBaseAPISetSourceResolution) set_resolution = nullptr;
  decltype(&::TessBaseAPIGetUTF8Text) text = nullptr;
  decltype(&::TessBaseAPIMeanTextConf) confidence = nullptr;
  decltype(&::TessDeleteText) delete_text = nullptr;
  TessBaseAPI* engine = nullptr;

  implementation() {
    const shared_library tesseract(tesseract_library);
    tesseract.find("TessBaseAPICreate", create);
    tesseract.find("TessBaseAPIInit3", init);
    tesseract.find("TessBaseAPISetPageSegMode", set_mode);
    tesseract.find("TessBaseAPISetImage", set_image);
    tesseract.find("TessBaseAPISetSourceResolution", set_resolution);
    tesseract.find("TessBaseAPIGetUTF8Text", text);
    tesseract.find("TessBaseAPIMeanTextConf", confidence);
    tesseract.find("TessDeleteText", delete_text);
    engine = create();
    if (init(engine, nullptr, "eng") != 0)
      throw library_missing("tesseract's language data (tesseract-ocr-eng) are not installed on this node");
    set_mode(engine, tesseract::PSM_AUTO);
  }
};

letter_reader::letter_reader() : implementation_(std::make_unique<implementation>()) {}

/// The engine goes with the process: taking it down in order costs as much as a page.
letter_reader::~letter_reader() = default;

letter_reader::reading letter_reader::read(const grey_picture& picture) {
  const implementation& i = *implementation_;
  i.set_image(i.engine, reinterpret_cast<const unsigned char*>(picture.pixels.data()), picture.width,
              picture.height, 1, picture.width);
  i.set_resolution(i.engine, reading_dpi);
  char* const text = i.text(i.engine);
  reading out{text == nullptr ? "" : text, i.confidence(i.engine)};
  if (text != nullptr) i.delete_text(text);
  return out;
}

}  // namespace millrace::http::documents
