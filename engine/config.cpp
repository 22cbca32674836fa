#include "engine/config.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

#include <yaml-cpp/eventhandler.h>

#include "engine/config_reader.hpp"
#include "engine/rendezvous.hpp"

namespace millrace::engine {
namespace {

/// A reload that changes names adds to the table; this many changes a node may see before it must be
/// restarted.
constexpr size_t max_names = 1'000'000;

/// What sorts documents where OpenAI's key is all that is known.
constexpr std::string_view default_documents_model = "gpt-4o-mini";

/// Sees where the documents of a text begin, and nothing else.
class document_marks : public YAML::EventHandler {
 public:
  std::vector<YAML::Mark> begins;

  void OnDocumentStart(const YAML::Mark& mark) override { begins.push_back(mark); }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t, const std::string&) override {}
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t, YAML::EmitterStyle::value) override {
  }
  void OnMapEnd() override {}
};

[[noreturn]] void fail_at(const std::string& source, const YAML::Mark& mark, const std::string& problem) {
  throw config_error(source + ":" + std::to_string(std::max(mark.line, 0) + 1) + ": " + problem);
}

/// What most likely led to a text that is not YAML; empty when nothing stands out.
std::string advice(const std::string& yaml, const YAML::Exception& e) {
  std::istringstream lines(yaml);
  std::string line;
  for (int i = 0; i <= e.mark.line && std::getline(lines, line); ++i) {
  }
  const size_t reference = line.find("${");
  const bool bare = reference != std::string::npos &&
                    (reference == 0 || (line[reference - 1] != '"' && line[reference - 1] != '\''));
  if (bare) return "; put quotes around ${...} inside { }";
  if (e.msg == YAML::ErrorMsg::BLOCK_ENTRY || e.msg == YAML::ErrorMsg::END_OF_MAP_FLOW ||
      e.msg == YAML::ErrorMsg::END_OF_SEQ_FLOW)
    return "; perhaps a { or [ above is not closed";
  return {};
}

void link_provider(provider_config& p, name_table& names) {
  for (key_config& key : p.keys) key.name = names.intern("key/" + p.name + "/" + key.id);
}

void link_model(model_config& m, const config& c, name_table& names) {
  m.id = names.intern("model/" + m.name);
  for (group_config& g : m.groups) g.place = hash_text("group/" + g.name);
  for (target_config& t : m.targets) {
    const std::string& provider = c.providers[t.provider].name;
    const std::string name = "breaker/" + provider + "/" + (t.model.empty() ? "*" : t.model);
    t.name = names.intern(name);
    t.place = hash_text(name);
  }
}

void add_default_client(config& c) {
  client_config client;
  client.name = "default";
  client.tenant = "default";
  client.admin = true;
  c.clients = {std::move(client)};
}

/// The text of a configuration or of a file that it names; one byte more than allowed tells of larger ones.
std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_config_bytes + 1, '\0');
  if (file) file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad())
    throw config_error(path + ": cannot be read; check the path and its permissions");
  text.resize(static_cast<size_t>(file.gcount()));
  return text;
}

}  // namespace

YAML::Node load_document(const std::string& yaml, const std::string& source) {
  if (yaml.size() > max_config_bytes)
    fail_at(source, {}, "is larger than 1MiB; split off what is not needed");
  // YAML::LoadAll never ends on some texts (",a"): the parser reports one empty document after another
  // without moving.
  std::istringstream stream(yaml);
  YAML::Parser parser(stream);
  document_marks documents;
  while (documents.begins.size() < 2 && parser.HandleNextDocument(documents)) {
  }
  if (documents.begins.size() > 1) {
    fail_at(source, documents.begins[1],
            "a second document begins here, or something that is not YAML; keep one per file");
  }
  YAML::Node root = YAML::Load(yaml);
  if (root.IsNull()) {
    fail_at(source, {}, "is empty; write a configuration, or start without a file for the default one");
  }
  return root;
}

void read_model_data(const config_value& value, config& c) {
  if (value.is_mapping()) {
    c.known_models = c.known_models->with(value);
    return;
  }
  const std::string path = value.text();
  const environment none = [](const std::string&) { return std::nullopt; };
  const config_source document{path, none};
  try {
    const std::string text = read_file(path);
    c.known_models = c.known_models->with(config_value(document, load_document(text, path), "", 1));
  } catch (const YAML::Exception& e) {
    fail_at(path, e.mark, "this is neither YAML nor JSON: " + e.msg);
  } catch (const config_error& e) {
    value.fail(e.what());
  }
}

std::optional<std::string> process_environment(const std::string& name) {
  // Nothing in this program changes the environment, so reading it is safe from any thread.
  const char* const text = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (text == nullptr) return std::nullopt;
  return text;
}

config default_values() {
  config c;
  c.known_models = model_table::built_in();
  c.tiers = {{"enterprise", queue_class::priority},
             {"pro", queue_class::priority},
             {"basic", queue_class::standard},
             {"free", queue_class::batch}};
  return c;
}

config_ptr parse_config(const std::string& yaml, const std::string& source, const environment& env,
                        const config_ptr& previous) {
  config c = default_values();
  c.source = source;
  const config_source document{source, env};
  try {
    const config_value root(document, load_document(yaml, source), "", 1);
    read_document(root, c);
    if (c.providers.empty()) add_default_providers(c, env);
    if (c.models.empty()) add_wildcard_models(c);
    for (const auto& [key, value] : root.entries()) {
      if (key == "documents") read_documents(value, c);
    }
  } catch (const YAML::Exception& e) {
    fail_at(source, e.mark, "this is not YAML: " + e.msg + advice(yaml, e));
  }
  const bool chooses =
      std::any_of(c.models.begin(), c.models.end(), [](const model_config& m) { return !m.choose.empty(); });
  if (chooses) c.judge = std::make_shared<prompt_judge>(c.complexity);
  if (c.open) add_default_client(c);
  link_names(c, previous);
  return std::make_shared<const config>(std::move(c));
}

config_ptr load_config(const std::string& path, const environment& env, const config_ptr& previous) {
  return parse_config(read_file(path), path, env, previous);
}

config_ptr default_config(const environment& env, const config_ptr& previous) {
  config c = default_values();
  c.source = "embedded default";
  add_default_providers(c, env);
  add_wildcard_models(c);
  if (c.model_index.contains("openai/*")) c.documents.model = default_documents_model;
  for (model_config& m : c.models) m.degrade.builtin = !c.wants_simulator;
  add_default_client(c);
  link_names(c, previous);
  return std::make_shared<const config>(std::move(c));
}

void link_names(config& c, const config_ptr& previous) {
  auto names = previous ? std::make_shared<name_table>(*previous->names) : std::make_shared<name_table>();
  c.version = previous ? previous->version + 1 : 1;
  for (client_config& client : c.clients) {
    client.id = names->intern("client/" + client.name);
    client.tenant_id = names->intern("tenant/" + client.tenant);
  }
  for (provider_config& p : c.providers) link_provider(p, *names);
  for (model_config& m : c.models) link_model(m, c, *names);
  if (names->size() > max_names) {
    throw config_error(c.source + ":1: too many different names since the start; restart to apply this file");
  }
  c.names = std::move(names);
}

}  // namespace millrace::engine
