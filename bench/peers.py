"""The servers that bench/compare puts between the load and the simulator."""

import pathlib
import shutil
import subprocess

from process import Failed, Server, free_port

HERE = pathlib.Path(__file__).resolve().parent
PEERS = HERE / ".peers"
CHAT = "/v1/chat/completions"

NGINX = """worker_processes 2; pid {dir}/nginx.pid; error_log {dir}/nginx.error; daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  keepalive_requests 1000000000;
  upstream simulator {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://simulator; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""

# The key has limits no machine reaches, so that a permit is really taken and settled for every request.
MILLRACE = """node: {{ data_dir: "{dir}/millrace" }}
http: {{ listen: "127.0.0.1:{port}" }}
log: {{ level: info, access: true }}
providers:
  sim:
    base_url: http://127.0.0.1:{upstream}/v1
    kind: openai
    keys: [ {{ id: k1, secret: upstream, rpm: 100000000, tpm: 100000000000, concurrency: 100000 }} ]
  ant:
    base_url: http://127.0.0.1:{upstream}
    kind: anthropic
    keys: [ {{ id: a1, secret: upstream, rpm: 100000000, tpm: 100000000000, concurrency: 100000 }} ]
models:
  m: {{ targets: [ {{ provider: sim, model: gpt-4o-mini, input_usd: 0.15, output_usd: 0.6 }} ] }}
  a: {{ targets: [ {{ provider: ant, model: claude-sonnet-4-5, input_usd: 3, output_usd: 15 }} ] }}
"""

LITELLM = """model_list:
  - model_name: m
    litellm_params: {{ model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:{upstream}/v1", api_key: upstream }}
litellm_settings: {{ telemetry: false }}
"""


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return ((done.stdout + done.stderr).strip().splitlines() or [""])[0]


BIFROST = """{{ "providers": {{ "openai": {{
    "keys": [ {{ "name": "k1", "value": "upstream", "models": ["*"], "weight": 1 }} ],
    "network_config": {{ "base_url": "http://127.0.0.1:{upstream}" }},
    "concurrency_and_buffer_size": {{ "concurrency": 1000, "buffer_size": 5000 }} }} }},
  "client": {{ "drop_excess_requests": false, "enable_logging": false }},
  "config_store": {{ "enabled": false }}, "logs_store": {{ "enabled": false }} }}
"""


class Peer:
    """One competitor: its server (None: the simulator itself), its port and the headers it needs."""

    def __init__(self, name, upstream, work, build, bifrost=None):
        self.name = name
        self.headers = {}
        self.caches = False
        self.translated = None  # the model that a provider of another dialect serves
        self.model = "m"
        self.server = None
        self.version = ""
        self.port = free_port()
        self._upstream = upstream
        self._work = pathlib.Path(work)
        self._build = pathlib.Path(build)
        self._bifrost = bifrost
        getattr(self, f"_start_{name}")()
        self.url = f"http://127.0.0.1:{self.port}{CHAT}"

    def _config(self, name, text):
        path = self._work / name
        path.write_text(text.format(dir=self._work, port=self.port, upstream=self._upstream))
        return str(path)

    def _start_direct(self):
        self.port = self._upstream

    def _start_nginx(self):
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
        if not nginx:
            raise Failed("nginx is not installed")
        self.version = first_line(nginx, "-v")
        config = self._config("nginx.conf", NGINX)
        self.server = Server("nginx", [nginx, "-c", config], self._work / "nginx.log")

    def _start_millrace(self):
        binary = str(self._build / "millrace")
        self.version = first_line(binary, "version")
        config = self._config("millrace.yaml", MILLRACE)
        self.caches = True
        self.translated = "a"
        self.server = Server("millrace", [binary, "serve", "--config", config], self._work / "millrace.log")

    def _start_portkey(self):
        package = PEERS / "portkey/node_modules/@portkey-ai/gateway"
        if not package.is_dir():
            raise Failed("not installed; run bench/install-peers")
        self.version = first_line("node", "-p", f"'@portkey-ai/gateway ' + require('{package}/package.json').version")
        self.headers = {"x-portkey-provider": "openai",
                        "x-portkey-custom-host": f"http://127.0.0.1:{self._upstream}/v1"}
        command = ["node", str(package / "build/start-server.js"), f"--port={self.port}", "--headless"]
        self.server = Server("portkey", command, self._work / "portkey.log", {"NODE_ENV": "production"})

    def _start_litellm(self):
        binary = PEERS / "litellm/bin/litellm"
        if not binary.exists():
            raise Failed("not installed; run bench/install-peers")
        show = "import importlib.metadata as m; print('litellm', m.version('litellm'))"
        self.version = first_line(str(binary.parent / "python"), "-c", show)
        command = [str(binary), "--config", self._config("litellm.yaml", LITELLM), "--host", "127.0.0.1",
                   "--port", str(self.port), "--num_workers", "2"]
        # Loopback only, without client keys, as Millrace runs here.
        # Its price list ships with the package; without this it is fetched from the network at start.
        env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR",
               "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
        self.server = Server("litellm", command, self._work / "litellm.log", env)

    def _start_bifrost(self):
        if not self._bifrost or not pathlib.Path(self._bifrost).is_file():
            raise Failed("give its program with --bifrost PATH")
        self.version = "bifrost"
        self.model = "openai/gpt-4o-mini"
        (self._work / "bifrost").mkdir()
        self._config("bifrost/config.json", BIFROST)
        command = [self._bifrost, "-app-dir", str(self._work / "bifrost"), "-host", "127.0.0.1", "-port", str(self.port),
                   "-log-level", "error"]
        self.server = Server("bifrost", command, self._work / "bifrost.log")

    def body(self, path, model=None):
        """A request's body as this peer wants its model named."""
        return path.read_text().replace('"model":"m"', f'"model":"{model or self.model}"', 1)

    def wait_ready(self, body):
        if self.server:
            headers = {"Content-Type": "application/json", "Authorization": "Bearer bench", **self.headers}
            self.server.wait_ready(self.port, "POST", CHAT, body, headers)

    def cpu_seconds(self):
        return self.server.cpu_seconds() if self.server else 0.0

    def rss_mib(self):
        return self.server.rss_mib() if self.server else 0.0

    def stop(self):
        if self.server:
            self.server.stop()


NAMES = ["direct", "nginx", "millrace", "portkey", "litellm"]
