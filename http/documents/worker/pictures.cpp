#include "http/documents/worker/pictures.hpp"

#include <algorithm>
#include <cmath>

#include <vips/vips.h>

#include "http/documents/worker/libraries.hpp"

namespace millrace::http::documents {

namespace {

constexpr const char* vips_library = "libvips.so.42";
constexpr const char* object_library = "libgobject-2.0.so.0";
constexpr const char* memory_library = "libglib-2.0.so.0";

/// What PDF measures in, and what its pages are taken to have been scanned at.
constexpr double points_per_inch = 72;
constexpr double scan_dpi = 150;
/// The longer side of what is read for its letters: A4 at 150 dpi.
constexpr int reading_edge = 1750;
/// Smaller pictures are made larger, which their letters need.
constexpr int least_reading_edge = 1000;
constexpr double white = 255;

struct vips_functions {
  decltype(&::vips_init) init = nullptr;
  decltype(&::vips_block_untrusted_set) block_untrusted = nullptr;
  decltype(&::vips_operation_block_set) block = nullptr;
  decltype(&::vips_concurrency_set) concurrency = nullptr;
  decltype(&::vips_cache_set_max) cache_max = nullptr;
  decltype(&::vips_error_buffer) error = nullptr;
  decltype(&::vips_error_clear) error_clear = nullptr;
  decltype(&::vips_jpegload_buffer) jpegload = nullptr;
  decltype(&::vips_pngload_buffer) pngload = nullptr;
  decltype(&::vips_webpload_buffer) webpload = nullptr;
  decltype(&::vips_tiffload_buffer) tiffload = nullptr;
  decltype(&::vips_pdfload_buffer) pdfload = nullptr;
  decltype(&::vips_image_get_width) width = nullptr;
  decltype(&::vips_image_get_height) height = nullptr;
  decltype(&::vips_image_get_n_pages) n_pages = nullptr;
  decltype(&::vips_image_hasalpha) has_alpha = nullptr;
  decltype(&::vips_thumbnail_image) thumbnail = nullptr;
  decltype(&::vips_flatten) flatten = nullptr;
  decltype(&::vips_array_double_new) array = nullptr;
  decltype(&::vips_area_unref) area_unref = nullptr;
  decltype(&::vips_colourspace) colourspace = nullptr;
  decltype(&::vips_cast_uchar) cast_uchar = nullptr;
  decltype(&::vips_jpegsave_buffer) jpegsave = nullptr;
  decltype(&::vips_image_write_to_memory) to_memory = nullptr;
  decltype(&::vips_image_new_from_memory_copy) from_memory = nullptr;
  decltype(&::vips_rot) rot = nullptr;
  decltype(&::g_object_unref) unref = nullptr;
  decltype(&::g_free) free = nullptr;

  vips_functions();
};

vips_functions::vips_functions() {
  const shared_library vips(vips_library);
  vips.find("vips_init", init);
  vips.find("vips_block_untrusted_set", block_untrusted);
  vips.find("vips_operation_block_set", block);
  vips.find("vips_concurrency_set", concurrency);
  vips.find("vips_cache_set_max", cache_max);
  vips.find("vips_error_buffer", error);
  vips.find("vips_error_clear", error_clear);
  vips.find("vips_jpegload_buffer", jpegload);
  vips.find("vips_pngload_buffer", pngload);
  vips.find("vips_webpload_buffer", webpload);
  vips.find("vips_tiffload_buffer", tiffload);
  vips.find("vips_pdfload_buffer", pdfload);
  vips.find("vips_image_get_width", width);
  vips.find("vips_image_get_height", height);
  vips.find("vips_image_get_n_pages", n_pages);
  vips.find("vips_image_hasalpha", has_alpha);
  vips.find("vips_thumbnail_image", thumbnail);
  vips.find("vips_flatten", flatten);
  vips.find("vips_array_double_new", array);
  vips.find("vips_area_unref", area_unref);
  vips.find("vips_colourspace", colourspace);
  vips.find("vips_cast_uchar", cast_uchar);
  vips.find("vips_jpegsave_buffer", jpegsave);
  vips.find("vips_image_write_to_memory", to_memory);
  vips.find("vips_image_new_from_memory_copy", from_memory);
  vips.find("vips_rot", rot);
  const shared_library objects(object_library);
  objects.find("g_object_unref", unref);
  const shared_library memory(memory_library);
  memory.find("g_free", free);
}

}  // namespace

struct pictures::implementation {
  vips_functions vips;

  struct release {
    const vips_functions* vips;
    void operator()(VipsImage* image) const { vips->unref(image); }
  };
  using image = std::unique_ptr<VipsImage, release>;

  implementation() {
    if (vips.init("millrace") != 0) throw library_missing("libvips does not start");
    // Whatever is not meant for files of strangers is off; of it, only the reader of PDF is allowed again.
    // The readers for what is not taken are trusted ones, and are never asked: nothing here guesses a type.
    vips.block_untrusted(TRUE);
    vips.block("VipsForeignLoadPdf", FALSE);
    vips.concurrency(1);
    vips.cache_max(0);
  }

  [[noreturn]] void fail() const {
    const std::string said = vips.error();
    vips.error_clear();
    if (said.find("ncrypted") != std::string::npos || said.find("assword") != std::string::npos)
      throw unreadable(render_status::encrypted, said);
    throw unreadable(render_status::damaged, said);
  }

  /// Takes what an operation of libvips made. By reference: it is set by the very call that gives `failed`.
  image take(int failed, VipsImage* const& made) const {
    if (failed != 0) fail();
    return image(made, {&vips});
  }

  int width(const image& i) const { return vips.width(i.get()); }
  int height(const image& i) const { return vips.height(i.get()); }

  /// Reads the head of an image; its pixels come when they are needed. `shrink`: of JPEG.
  image open(const render_job& job, std::string_view document, std::uint32_t page, int shrink) const {
    void* const bytes = const_cast<char*>(document.data());  // libvips only reads it
    const std::size_t size = document.size();
    VipsImage* made = nullptr;
    int failed = -1;
    switch (job.type) {
      case document_type::jpeg:
        failed = vips.jpegload(bytes, size, &made, "shrink", shrink, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
        break;
      case document_type::png:
        failed = vips.pngload(bytes, size, &made, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
        break;
      case document_type::webp:
        failed = vips.webpload(bytes, size, &made, "fail_on", VIPS_FAIL_ON_ERROR, nullptr);
        break;
      case document_type::tiff:
        failed = vips.tiffload(bytes, size, &made, "page", static_cast<int>(page), "fail_on",
                               VIPS_FAIL_ON_ERROR, nullptr);
        break;
      case document_type::pdf:
      case document_type::text:
      case document_type::none:
        throw unreadable(render_status::damaged, "not an image");
    }
    image opened = take(failed, made);
    const auto pixels = static_cast<std::uint64_t>(width(opened)) *
                        static_cast<std::uint64_t>(height(opened)) * static_cast<std::uint64_t>(shrink) *
                        static_cast<std::uint64_t>(shrink);
    if (pixels > job.max_pixels)
      throw unreadable(render_status::too_large,
                       std::to_string(width(opened)) + " x " + std::to_string(height(opened)) + " pixels");
    return opened;
  }

  image open_pdf(std::string_view document, std::uint32_t page, double scale) const {
    VipsImage* made = nullptr;
    return take(vips.pdfload(const_cast<char*>(document.data()), document.size(), &made, "page",
                             static_cast<int>(page), "n", 1, "scale", scale, nullptr),
                made);
  }

  /// The page with its longer side at most `edge` pixels, and its size as it came.
  image sized(const render_job& job, std::string_view document, std::uint32_t page, int edge, bool enlarge,
              double& source_width, double& source_height) const {
    if (job.type == document_type::pdf) {
      const image points = open_pdf(document, page, 1);
      const double longer = std::max(width(points), height(points));
      source_width = std::max(1.0, std::round(width(points) * scan_dpi / points_per_inch));
      source_height = std::max(1.0, std::round(height(points) * scan_dpi / points_per_inch));
      return open_pdf(document, page, edge / longer);
    }
    image opened = open(job, document, page, 1);
    source_width = width(opened);
    source_height = height(opened);
    const int longer = std::max(width(opened), height(opened));
    // JPEG is decoded small where that is still large enough: a large photograph takes an eighth of the time.
    int shrink = 1;
    while (job.type == document_type::jpeg && shrink < 8 && longer / (shrink * 2) >= edge) shrink *= 2;
    if (shrink > 1) opened = open(job, document, page, shrink);
    const int wanted = longer >= edge || enlarge ? edge : longer;
    VipsImage* made = nullptr;
    return take(vips.thumbnail(opened.get(), &made, wanted, "height", wanted, "size",
                               enlarge ? VIPS_SIZE_BOTH : VIPS_SIZE_DOWN, nullptr),
                made);
  }

  /// On white, in eight bits of `space`.
  image plain(image in, VipsInterpretation space) const {
    VipsImage* made = nullptr;
    if (vips.has_alpha(in.get()) != 0) {
      VipsArrayDouble* const background = vips.array(&white, 1);
      const int failed = vips.flatten(in.get(), &made, "background", background, nullptr);
      vips.area_unref(reinterpret_cast<VipsArea*>(background));
      in = take(failed, made);
    }
    in = take(vips.colourspace(in.get(), &made, space, nullptr), made);
    return take(vips.cast_uchar(in.get(), &made, nullptr), made);
  }

  grey_picture pixels(const image& in) const {
    std::size_t size = 0;
    void* const bytes = vips.to_memory(in.get(), &size);
    if (bytes == nullptr) fail();
    grey_picture out{width(in), height(in), std::string(static_cast<const char*>(bytes), size)};
    vips.free(bytes);
    if (size != static_cast<std::size_t>(out.width) * static_cast<std::size_t>(out.height))
      throw unreadable(render_status::damaged, "its pixels have more than one channel");
    return out;
  }
};

pictures::pictures() : implementation_(std::make_unique<implementation>()) {}
pictures::~pictures() = default;

std::uint32_t pictures::pages(const render_job& job, std::string_view document) const {
  const auto opened = implementation_->open(job, document, 0, 1);
  const int pages = job.type == document_type::tiff ? implementation_->vips.n_pages(opened.get()) : 1;
  return static_cast<std::uint32_t>(std::max(1, pages));
}

page_image pictures::page(const render_job& job, std::string_view document, std::uint32_t index) const {
  const implementation& i = *implementation_;
  double source_width = 0;
  double source_height = 0;
  auto small = i.sized(job, document, index, static_cast<int>(job.edge), false, source_width, source_height);
  small = i.plain(std::move(small), VIPS_INTERPRETATION_sRGB);
  void* bytes = nullptr;
  std::size_t size = 0;
  if (i.vips.jpegsave(small.get(), &bytes, &size, "Q", static_cast<int>(job.quality), "strip", TRUE,
                      "optimize_coding", TRUE, nullptr) != 0)
    i.fail();
  page_image out;
  out.width = static_cast<std::uint32_t>(i.width(small));
  out.height = static_cast<std::uint32_t>(i.height(small));
  out.source_width = static_cast<std::uint32_t>(source_width);
  out.source_height = static_cast<std::uint32_t>(source_height);
  out.jpeg.assign(static_cast<const char*>(bytes), size);
  i.vips.free(bytes);
  return out;
}

grey_picture pictures::grey_page(const render_job& job, std::string_view document,
                                 std::uint32_t index) const {
  const implementation& i = *implementation_;
  double width = 0;
  double height = 0;
  auto page = i.sized(job, document, index, reading_edge, false, width, height);
  if (std::max(i.width(page), i.height(page)) < least_reading_edge)
    page = i.sized(job, document, index, least_reading_edge, true, width, height);
  return i.pixels(i.plain(std::move(page), VIPS_INTERPRETATION_B_W));
}

grey_picture pictures::turned(const grey_picture& picture, int quarters) const {
  const implementation& i = *implementation_;
  VipsImage* made = i.vips.from_memory(picture.pixels.data(), picture.pixels.size(), picture.width,
                                       picture.height, 1, VIPS_FORMAT_UCHAR);
  if (made == nullptr) i.fail();
  const implementation::image flat(made, {&i.vips});
  return i.pixels(i.take(i.vips.rot(flat.get(), &made, static_cast<VipsAngle>(quarters), nullptr), made));
}

}  // namespace millrace::http::documents
