#pragma once

#include <string>
#include <vector>

namespace millrace::http {

struct bad_request_case {
  const char* name;
  int status;
  std::string bytes;
};

/// Heads that the guard must refuse: request smuggling, limits, and plain nonsense.
inline std::vector<bad_request_case> bad_heads() {
  const std::string post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
  const std::string get = "GET /hello HTTP/1.1\r\nHost: a\r\n";
  std::vector<bad_request_case> cases = {
      {"length and chunked", 400, post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"chunked and length", 400, post + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"},
      {"two lengths", 400, post + "Content-Length: 4\r\nContent-Length: 5\r\n\r\n"},
      {"two equal lengths", 400, post + "Content-Length: 4\r\ncontent-length: 4\r\n\r\n"},
      {"list of lengths", 400, post + "Content-Length: 4, 4\r\n\r\n"},
      {"two keys", 400, get + "Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n"},
      {"two keys of Anthropic's kind", 400, get + "X-Api-Key: a\r\nX: y\r\nx-api-key: b\r\n\r\n"},
      {"two keys of Google's kind", 400, get + "x-goog-api-key: a\r\nx-goog-api-key:\r\n\r\n"},
      {"signed length", 400, post + "Content-Length: +4\r\n\r\n"},
      {"negative length", 400, post + "Content-Length: -4\r\n\r\n"},
      {"hexadecimal length", 400, post + "Content-Length: 0x4\r\n\r\n"},
      {"empty length", 400, post + "Content-Length: \r\n\r\n"},
      {"length with space inside", 400, post + "Content-Length: 1 2\r\n\r\n"},
      {"overflowing length", 400, post + "Content-Length: 9223372036854775808\r\n\r\n"},
      {"very long length", 400,
       post + "Content-Length: 00000000000000000000000018446744073709551617\r\n\r\n"},
      {"gzip, chunked", 400, post + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
      {"chunked twice", 400, post + "Transfer-Encoding: chunked, chunked\r\n\r\n"},
      {"two codings", 400, post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"identity", 400, post + "Transfer-Encoding: identity\r\n\r\n"},
      {"xchunked", 400, post + "Transfer-Encoding: xchunked\r\n\r\n"},
      {"quoted chunked", 400, post + "Transfer-Encoding: \"chunked\"\r\n\r\n"},
      {"chunked with parameter", 400, post + "Transfer-Encoding: chunked;q=1\r\n\r\n"},
      {"empty coding", 400, post + "Transfer-Encoding:\r\n\r\n"},
      {"vertical tab before chunked", 400,
       post + "Transfer-Encoding: \x0b"
              "chunked\r\n\r\n"},
      {"space before colon", 400, post + "Transfer-Encoding : chunked\r\n\r\n"},
      {"tab before colon", 400, post + "Content-Length\t: 4\r\n\r\n"},
      {"space in name", 400, post + "Content Length: 4\r\n\r\n"},
      {"folded line", 400, post + "X: a\r\n b\r\n\r\n"},
      {"folded coding", 400, post + "Transfer-Encoding:\r\n chunked\r\n\r\n"},
      {"folded first line", 400, "GET /hello HTTP/1.1\r\n Host: a\r\n\r\n"},
      {"bare LF at the end", 400, post + "Content-Length: 0\n\n"},
      {"bare LF in the request line", 400, "GET /hello HTTP/1.1\nHost: a\r\n\r\n"},
      {"bare LF as the empty line", 400, get + "\n"},
      {"bare CR in a value", 400, get + "X: a\rY: b\r\n\r\n"},
      {"CR CR LF", 400, get + "X: a\r\r\n\r\n"},
      {"NUL in a value", 400, get + std::string("X: a\0b\r\n\r\n", 10)},
      {"NUL in a name", 400, get + std::string("X\0: ab\r\n\r\n", 10)},
      {"DEL in a value", 400, get + "X: a\x7f\r\n\r\n"},
      {"no colon", 400, get + "nothing\r\n\r\n"},
      {"empty name", 400, get + ": a\r\n\r\n"},
      {"non-ASCII name", 400, get + "X\xc3\xa4: a\r\n\r\n"},
      {"quoted name", 400, get + "\"X\": a\r\n\r\n"},
      {"no host", 400, "GET /hello HTTP/1.1\r\n\r\n"},
      {"two hosts", 400, get + "Host: a\r\n\r\n"},
      {"host list", 400, "GET /hello HTTP/1.1\r\nHost: a, b\r\n\r\n"},
      {"host with path", 400, "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n"},
      {"host with user", 400, "GET /hello HTTP/1.1\r\nHost: u@a\r\n\r\n"},
      {"chunked on 1.0", 400, "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"lower-case method", 400, "get /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"method that is no token", 400, "G@T /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"leading space", 400, " GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"two spaces", 400, "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"tab as separator", 400, "GET\t/hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"trailing space", 400, "GET /hello HTTP/1.1 \r\nHost: a\r\n\r\n"},
      {"HTTP/0.9", 400, "GET /hello\r\n\r\n"},
      {"lower-case protocol", 400, "GET /hello http/1.1\r\nHost: a\r\n\r\n"},
      {"HTTP/1.10", 400, "GET /hello HTTP/1.10\r\nHost: a\r\n\r\n"},
      {"HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"HTTP/1.2", 505, "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n"},
      {"asterisk of GET", 400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"relative target", 400, "GET hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"other scheme", 400, "GET ftp://a/hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"absolute without host", 400, "GET http:///hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"absolute with user", 400, "GET http://u@a/hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"fragment", 400, "GET /hello#x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"broken escape", 400, "GET /hello%4 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"escape that is none", 400, "GET /hello%zz HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"raw UTF-8 target", 400, "GET /h\xc3\xa4llo HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"CONNECT", 405, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"},
      {"other expectation", 417, post + "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n"},
      {"two empty lines first", 400, "\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"TLS hello", 400, std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\n", 11)},
  };
  cases.push_back(
      {"long request line", 414, "GET /" + std::string(8192, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n"});
  cases.push_back({"endless request line", 414, "GET /" + std::string(20000, 'a')});
  cases.push_back({"long header", 431, get + "X: " + std::string(33 * 1024, 'a') + "\r\n\r\n"});
  std::string many = get;
  for (int i = 0; i < 100; ++i) many += "X: a\r\n";
  cases.push_back({"many header lines", 431, many + "\r\n"});
  return cases;
}

/// Chunked bodies that must be refused, behind a head that asks for chunks.
inline std::vector<bad_request_case> bad_chunks() {
  std::vector<bad_request_case> cases = {
      {"0x size", 400, "0x5\r\nhello\r\n0\r\n\r\n"},
      {"signed size", 400, "+5\r\nhello\r\n0\r\n\r\n"},
      {"negative size", 400, "-5\r\nhello\r\n0\r\n\r\n"},
      {"empty size", 400, "\r\nhello\r\n0\r\n\r\n"},
      {"only an extension", 400, ";a\r\nhello\r\n0\r\n\r\n"},
      {"space before size", 400, " 5\r\nhello\r\n0\r\n\r\n"},
      {"space behind size", 400, "5 \r\nhello\r\n0\r\n\r\n"},
      {"bare LF behind size", 400, "5\nhello\r\n0\r\n\r\n"},
      {"bare LF behind data", 400, "5\r\nhello\n0\r\n\r\n"},
      {"data too long", 400, "4\r\nhello\r\n0\r\n\r\n"},
      {"data too short", 400, "6\r\nhello\r\n0\r\n\r\n"},
      {"overflowing size", 413, "ffffffffffffffff1\r\nhello\r\n0\r\n\r\n"},
      {"many zeros", 400, "00000000000000005\r\nhello\r\n0\r\n\r\n"},
      {"size beyond the bound", 413, "7fffffff\r\n"},
      {"LF in extension", 400, "5;a\nb\r\nhello\r\n0\r\n\r\n"},
      {"CR in extension", 400, "5;a\rb\r\nhello\r\n0\r\n\r\n"},
      {"NUL in extension", 400, std::string("5;a\0b\r\nhello\r\n0\r\n\r\n", 20)},
      {"trailer with length", 400, "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n"},
      {"trailer with coding", 400, "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"folded trailer", 400, "5\r\nhello\r\n0\r\nA: b\r\n c\r\n\r\n"},
      {"trailer without colon", 400, "5\r\nhello\r\n0\r\nabc\r\n\r\n"},
      {"trailer with bare LF", 400, "5\r\nhello\r\n0\r\nA: b\nB: c\r\n\r\n"},
  };
  cases.push_back({"long extension", 400, "5;" + std::string(5000, 'a') + "\r\nhello\r\n0\r\n\r\n"});
  std::string many_extensions;
  for (int i = 0; i < 100; ++i) many_extensions += "1;" + std::string(50, 'a') + "\r\nx\r\n";
  cases.push_back({"many extensions", 400, many_extensions + "0\r\n\r\n"});
  cases.push_back({"long trailer", 431, "0\r\nA: " + std::string(5000, 'a') + "\r\n\r\n"});
  std::string many_trailers = "0\r\n";
  for (int i = 0; i < 33; ++i) many_trailers += "A: b\r\n";
  cases.push_back({"many trailers", 431, many_trailers + "\r\n"});
  return cases;
}

}  // namespace millrace::http
