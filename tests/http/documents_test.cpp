#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/config.hpp"
#include "http/dialects/formats.hpp"
#include "http/documents/answer_reader.hpp"
#include "http/documents/image_tokens.hpp"
#include "http/documents/multipart.hpp"
#include "http/documents/prompt.hpp"
#include "http/documents/render_job.hpp"
#include "http/documents/sniff.hpp"
#include "http/documents/upload.hpp"

namespace millrace::http::documents {
namespace {

using namespace std::string_view_literals;
using testing::HasSubstr;

// --- what a file is

TEST(sniff, goes_by_the_first_bytes) {
  EXPECT_EQ(sniff("%PDF-1.4\n").type, document_type::pdf);
  EXPECT_EQ(sniff("\x89PNG\r\n\x1a\n..."sv).type, document_type::png);
  EXPECT_EQ(sniff("\xff\xd8\xff\xe0 JFIF"sv).type, document_type::jpeg);
  EXPECT_EQ(sniff("RIFF\x10\0\0\0WEBPVP8 "sv).type, document_type::webp);
  EXPECT_EQ(sniff("II*\0...."sv).type, document_type::tiff);
  EXPECT_EQ(sniff("MM\0*...."sv).type, document_type::tiff);
  EXPECT_EQ(sniff("Invoice 7\r\n\tTotal: 5 \xe2\x82\xac").type, document_type::text);
  EXPECT_EQ(sniff("\xef\xbb\xbfInvoice").type, document_type::text);
}

TEST(sniff, a_file_in_two_forms_is_what_it_begins_as) {
  EXPECT_EQ(sniff("%PDF-1.4 <html> PK\3\4"sv).type, document_type::pdf);
  EXPECT_EQ(sniff("\xff\xd8\xff\xfe%PDF-1.4"sv).type, document_type::jpeg);
  EXPECT_EQ(sniff(" %PDF-1.4"sv).type, document_type::text) << "it has to begin there";
  EXPECT_EQ(sniff("<html>%PDF-1.4</html>").type, document_type::none);
}

TEST(sniff, says_what_it_does_not_take) {
  EXPECT_THAT(sniff("PK\3\4...."sv).looks_like, HasSubstr("ZIP"));
  EXPECT_THAT(sniff("GIF89a"sv).looks_like, HasSubstr("GIF"));
  EXPECT_THAT(sniff("\0\0\0\x18"
                    "ftypheic"sv)
                  .looks_like,
              HasSubstr("HEIC"));
  EXPECT_THAT(sniff("  <?xml version='1.0'?><svg/>"sv).looks_like, HasSubstr("SVG"));
  for (const auto bytes :
       {"RIFF\x10\0\0\0WAVEfmt "sv, "Invoice\0"sv, "\xff\xfeI\0n\0"sv, "Invoice \xc3("sv, "\x1b[0m"sv})
    EXPECT_EQ(sniff(bytes).type, document_type::none);
}

TEST(sniff, words_that_begin_like_a_program_are_words) {
  EXPECT_EQ(sniff("MZ Trading Ltd, Invoice 5").type, document_type::text);
  EXPECT_EQ(sniff("BM is short for benchmark").type, document_type::text);
  EXPECT_EQ(sniff("MZ\x90\0\3\0"sv).type, document_type::none);
}

// --- forms

std::string form_of(const std::string& name, const std::string& body, const std::string& boundary = "b") {
  return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + name +
         "\"; filename=\"x.pdf\"\r\n\r\n" + body + "\r\n--" + boundary + "--\r\n";
}

TEST(multipart, reads_fields_byte_for_byte) {
  const std::string file("a\r\n--bx\r\n\0--b\r\n"sv.substr(0, 5));
  const std::string body =
      "--b\r\nContent-Disposition: form-data; name=file; filename=\"a;b\\\"c\"\r\nContent-Type: x/y\r\n\r\n" +
      file + "\r\n--b \t\r\ncontent-disposition:form-data;name=\"industry\"\r\n\r\n\r\n--b--\r\nend";
  std::vector<form_part> parts;
  std::string problem;
  ASSERT_TRUE(read_form(body, "b", parts, problem)) << problem;
  ASSERT_EQ(parts.size(), 2);
  EXPECT_EQ(parts[0].name, "file");
  EXPECT_EQ(parts[0].body, file);
  EXPECT_EQ(parts[1].name, "industry");
  EXPECT_EQ(parts[1].body, "");
}

TEST(multipart, refuses_what_is_not_quite_one) {
  std::vector<form_part> parts;
  std::string problem;
  const std::string good = form_of("file", "x");
  ASSERT_TRUE(read_form(good, "b", parts, problem));
  for (std::size_t cut = 0; cut < good.size() - 4; ++cut)
    EXPECT_FALSE(read_form(good.substr(0, cut), "b", parts, problem)) << cut;
  for (const std::string& bad :
       {"x" + good, form_of("file", "x", "c"), std::string("--b--x--b\n"),
        std::string("--b\r\nContent-Disposition: attachment; name=\"file\"\r\n\r\nx\r\n--b--"),
        std::string("--b\r\nContent-Type: a/b\r\n\r\nx\r\n--b--"), std::string("--b\r\n\r\nx\r\n--b--"),
        std::string("--b\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nx\r\n--b--"),
        std::string("--b\r\nContent-Disposition: form-data; name=\"a\r\n\r\nx\r\n--b--"),
        std::string("--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: "
                    "base64\r\n\r\nx\r\n--b--"),
        std::string("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n--bx\r\n\r\n--b--"),
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nX: " + std::string(max_part_head_bytes, 'x') +
            "\r\n\r\nx\r\n--b--"}) {
    const bool taken = read_form(bad, "b", parts, problem);
    EXPECT_TRUE(!taken || parts.empty()) << bad.substr(0, 100);
  }
  std::string many;
  for (std::size_t i = 0; i <= max_parts; ++i)
    many += "--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\nx\r\n";
  EXPECT_FALSE(read_form(many + "--b--", "b", parts, problem));
  EXPECT_THAT(problem, HasSubstr("16"));
}

TEST(multipart, knows_its_content_type) {
  std::string boundary;
  EXPECT_TRUE(is_form("multipart/form-data; boundary=abc", boundary));
  EXPECT_EQ(boundary, "abc");
  EXPECT_TRUE(is_form("Multipart/Form-Data; charset=x ; Boundary=\"a b\"", boundary));
  EXPECT_EQ(boundary, "a b");
  EXPECT_TRUE(is_form("multipart/form-data", boundary));
  EXPECT_EQ(boundary, "");
  EXPECT_TRUE(is_form("multipart/form-data; boundary=" + std::string(71, 'x'), boundary));
  EXPECT_EQ(boundary, "");
  EXPECT_FALSE(is_form("multipart/mixed; boundary=abc", boundary));
  EXPECT_FALSE(is_form("application/pdf", boundary));
}

// --- uploads

TEST(upload, is_a_form_or_the_body) {
  upload u;
  engine::api_error error;
  ASSERT_TRUE(read_upload("application/pdf", "industry=legal", "%PDF-", 100, u, error));
  EXPECT_EQ(u.file, "%PDF-");
  EXPECT_EQ(u.industry, "legal");
  const std::string form = form_of("file", "%PDF-");
  ASSERT_TRUE(read_upload("multipart/form-data; boundary=b", "", form, 100, u, error));
  EXPECT_EQ(u.file, "%PDF-");
  EXPECT_EQ(u.industry, "finance");
}

TEST(upload, says_what_is_wrong) {
  const auto code = [](std::string_view type, std::string_view query, const std::string& body) {
    upload u;
    engine::api_error error;
    return read_upload(type, query, body, 10, u, error) ? std::string("good") : error.code;
  };
  constexpr auto form = "multipart/form-data; boundary=b";
  EXPECT_EQ(code("", "", ""), "empty_file");
  EXPECT_EQ(code("", "", "12345678901"), "file_too_large");
  EXPECT_EQ(code("", "", "1234567890"), "good");
  EXPECT_EQ(code("", "industri=x", "1"), "invalid_query");
  EXPECT_EQ(code("", "industry=" + std::string(65, 'x'), "1"), "unknown_industry");
  EXPECT_EQ(code(form, "", form_of("fil", "x")), "missing_file");
  EXPECT_EQ(code(form, "", form_of("file", "")), "empty_file");
  EXPECT_EQ(code(form, "", "x"), "invalid_multipart");
  EXPECT_EQ(code("multipart/form-data", "", form_of("file", "x")), "invalid_multipart");
  const std::string once = form_of("file", "x");
  EXPECT_EQ(code(form, "", once.substr(0, once.size() - 4) + "\r\n" + once.substr(5)), "duplicate_field");
}

// --- the question

engine::industry_config finance() {
  return {"finance", {"bank_statement", "invoice", "other"}};
}

TEST(prompt, is_a_chat_request_with_the_pages) {
  const page_image page{
      .width = 2, .height = 3, .source_width = 4, .source_height = 6, .jpeg = "\xff\xd8\xff"};
  const auto d = engine::default_documents();
  const std::string body = classification_prompt(d, finance(), "m", {page, page}, "unseen", false);
  const auto parsed = nlohmann::json::parse(body);
  EXPECT_EQ(parsed["model"], "m");
  EXPECT_EQ(parsed["max_tokens"], 300);
  EXPECT_EQ(parsed["temperature"], 0.05);
  EXPECT_EQ(parsed["response_format"]["json_schema"]["schema"]["properties"]["classification"]["enum"][1],
            "invoice");
  const auto& content = parsed["messages"][1]["content"];
  ASSERT_EQ(content.size(), 2);
  EXPECT_EQ(content[1]["image_url"]["url"], "data:image/jpeg;base64,/9j/");
  EXPECT_THAT(body, testing::Not(HasSubstr("unseen")));
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(
      all_formats().of(engine::route_kind::chat).read_request(engine::route_kind::chat, body, facts, error));
}

TEST(prompt, has_the_beginning_of_a_text) {
  const std::string text = std::string(max_prompt_text_bytes - 1, 'x') + "\xe2\x82\xac";
  const auto parsed = nlohmann::json::parse(
      classification_prompt(engine::default_documents(), finance(), "m", {}, text, true));
  EXPECT_EQ(parsed["messages"][1]["content"][0]["text"], std::string(max_prompt_text_bytes - 1, 'x'));
  EXPECT_THAT(parsed["messages"][0]["content"].get<std::string>(), HasSubstr("earlier answer"));
}

// --- the answer

TEST(answer_reader, takes_fenced_and_chatty_answers) {
  const auto labels = finance().labels;
  const auto label = [&](std::string_view text) {
    const auto v = read_verdict(text, labels);
    return v ? v->label + " " + std::to_string(v->confidence).substr(0, 4) : std::string("none");
  };
  EXPECT_EQ(label(R"({"classification": "invoice", "confidence": 0.93})"), "invoice 0.93");
  EXPECT_EQ(label("```json\n{\"classification\": \"Bank Statement\", \"confidence\": \"93%\"}\n```"),
            "bank_statement 0.93");
  EXPECT_EQ(label("Sure! {curly} braces... {\"label\":\"INVOICE\",\"confidence\":87} Hope it helps {}"),
            "invoice 0.87");
  EXPECT_EQ(label(R"({"category": "invoice", "confidence": "0.4"})"), "invoice 0.40");
  EXPECT_EQ(label(R"({"classification": "invoice"})"), "invoice 0.50");
  EXPECT_EQ(label(R"({"classification": "invoice", "confidence": -3, "note": "a } in a text"})"),
            "invoice 0.00");
  EXPECT_EQ(label("This is clearly a bank statement."), "bank_statement 0.50");
  EXPECT_EQ(label(R"({"classification": "invoice", "confid)"), "invoice 0.50") << "cut off at max_tokens";
}

TEST(answer_reader, takes_nothing_for_an_answer_that_is_none) {
  const auto labels = finance().labels;
  for (const char* text :
       {"", "I cannot say.", "It is an invoice or a bank statement.", R"({"classification": "poem"})",
        R"({"classification": "invoices and more", "note": "invoice"})", R"({"classification": 7})", "{{{{{{",
        "[]", "null"}) {
    EXPECT_FALSE(read_verdict(text, labels)) << text;
  }
  EXPECT_FALSE(read_verdict(std::string(1 << 20, '{'), labels));
}

TEST(answer_reader, reads_whole_answers) {
  const auto said = read_classification(
      R"({"choices":[{"message":{"content":"{\"classification\":\"other\",\"confidence\":1}"}}],)"
      R"("usage":{"prompt_tokens":11,"completion_tokens":7}})",
      finance().labels);
  ASSERT_TRUE(said.verdict);
  EXPECT_EQ(said.verdict->label, "other");
  EXPECT_EQ(said.input_tokens, 11);
  EXPECT_EQ(said.output_tokens, 7);
  for (const char* odd :
       {"", "[]", R"({"choices":{}})", R"({"choices":[]})", R"({"choices":[{"message":{"content":null}}]})",
        R"({"choices":[7],"usage":[1]})"}) {
    EXPECT_FALSE(read_classification(odd, finance().labels).verdict) << odd;
  }
}

// --- tokens of images

TEST(image_tokens, are_those_of_the_published_examples) {
  EXPECT_EQ(tokens_of_image(1024, 1024), 765);
  EXPECT_EQ(tokens_of_image(2048, 4096), 1105);
  EXPECT_EQ(tokens_of_image(1, 1), 255);
  EXPECT_EQ(tokens_of_image(1240, 1754), 1105) << "A4 at 150 dpi";
  EXPECT_EQ(tokens_of_image(724, 1024), 765) << "the same, no side above 1024";
}

// --- node and process

TEST(render_job, comes_back_as_it_went) {
  const render_job job{.type = document_type::tiff,
                       .images = true,
                       .read_text = false,
                       .max_pages = 5,
                       .max_pixels = 50'000'000'000,
                       .edge = 1024,
                       .quality = 80};
  const std::string bytes = encode_job(job);
  ASSERT_EQ(bytes.size(), job_bytes);
  render_job back;
  ASSERT_TRUE(decode_job(bytes, back));
  EXPECT_EQ(back.type, job.type);
  EXPECT_TRUE(back.images);
  EXPECT_FALSE(back.read_text);
  EXPECT_EQ(back.max_pixels, job.max_pixels);
  EXPECT_EQ(back.quality, 80);
}

TEST(render_job, an_answer_is_checked_like_a_strangers) {
  render_result r;
  r.status = render_status::done;
  r.problem = "odd \x1b[0m";
  r.pages = 3;
  r.text = "caf\xc3\xa9";
  r.images.push_back(
      {.width = 2, .height = 3, .source_width = 4, .source_height = 6, .jpeg = "\xff\xd8\xff\xe0"});
  const std::string bytes = encode_result(r);
  render_result back;
  ASSERT_TRUE(decode_result(bytes, back));
  EXPECT_EQ(back.pages, 3);
  EXPECT_EQ(back.text, r.text);
  EXPECT_EQ(back.problem, "odd  [0m");
  ASSERT_EQ(back.images.size(), 1);
  EXPECT_EQ(back.images[0].source_height, 6);
  for (std::size_t cut = 0; cut < bytes.size(); ++cut)
    EXPECT_FALSE(decode_result(bytes.substr(0, cut), back)) << cut;
  EXPECT_FALSE(decode_result(bytes + "x", back));
  r.images[0].jpeg = "no JPEG";
  EXPECT_FALSE(decode_result(encode_result(r), back));
  r.images.clear();
  r.text = "caf\xc3";
  EXPECT_FALSE(decode_result(encode_result(r), back));
}

}  // namespace
}  // namespace millrace::http::documents
