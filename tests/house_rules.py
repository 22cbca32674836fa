"""The rules of the house that a machine can judge. Usage: house_rules.py ROOT"""

import os
import re
import subprocess
import sys
import unittest

ROOT = sys.argv.pop(1) if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("engine", "actors", "http", "storage", "cluster", "bench", "tests")
# folder -> folders of ours that it may include; the program itself may include everything.
MAY_INCLUDE = {"engine": set(), "http": {"engine"}, "storage": {"engine"}, "cluster": {"engine"},
               "actors": {"engine", "storage", "cluster"}}
# library -> folders that may include it
ONLY_IN = {"caf/": {"actors", "engine/commands"}, "rocksdb/": {"storage"}, "msgpack": {"storage"}, "httplib.h": {"http", "engine/commands"},
           "vips/": {"http/documents/worker"}, "poppler": {"http/documents/worker"}, "tesseract/": {"http/documents/worker"},
           "yaml-cpp/": {"engine"}, "prometheus/": {"engine"}, "CLI/": {"engine/commands", "engine/main.cpp", "bench"}}
MAX_LINES = 500
MAX_TEST_LINES = 750  # a list of cases reads well at more length
SOURCE = (".hpp", ".cpp")
TEXT = SOURCE + (".py", ".md", ".txt", ".cmake", ".yaml", ".yml", ".json", ".js", ".mjs", ".sh", "")
WORDS = ("TO" + "DO", "FIX" + "ME", "X" * 3)


def tracked():
    """Paths of the project: what git knows or would add; without git, everything but build folders."""
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True,
                          check=False)
    if done.returncode == 0:
        return [p for p in done.stdout.splitlines() if os.path.isfile(os.path.join(ROOT, p))]
    found = []
    for folder, names, files in os.walk(ROOT):
        names[:] = [n for n in names if n not in ("build", ".git", "data", "node_modules")]
        found += [os.path.relpath(os.path.join(folder, f), ROOT) for f in files]
    return found


FILES = tracked()


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()


def sources(*folders):
    return [p for p in FILES if p.endswith(SOURCE) and p.split("/")[0] in folders]


def includes(path):
    return re.findall(r'(?m)^\s*#\s*include\s*[<"]([^">]+)[">]', read(path))


def is_program(path):
    return path == "engine/main.cpp" or path.startswith("engine/commands/")


class HouseRules(unittest.TestCase):
    longMessage = False

    def test_folders_include_only_what_they_may(self):
        wrong = []
        for path in sources(*MAY_INCLUDE):
            folder = path.split("/")[0]
            for name in includes(path):
                other = name.split("/")[0]
                ours = other in FOLDERS and "/" in name
                if ours and other != folder and other not in MAY_INCLUDE[folder] and not is_program(path):
                    wrong.append(f"{path} includes {name}")
        self.assertFalse(wrong, "\n".join(wrong))

    def test_the_engine_does_not_include_the_program(self):
        wrong = [p for p in sources(*MAY_INCLUDE) if not is_program(p)
                 and any(i.startswith("engine/commands/") for i in includes(p))]
        self.assertFalse(wrong, "\n".join(wrong))

    def test_libraries_stay_in_their_folders(self):
        wrong = []
        for path in sources(*MAY_INCLUDE):
            for name in includes(path):
                for library, homes in ONLY_IN.items():
                    at_home = any(path == h or path.startswith(h + "/") for h in homes)
                    if name.startswith(library) and not at_home:
                        wrong.append(f"{path} includes {name}")
                boost = name.startswith("boost/") and path.startswith("engine/") and not is_program(path)
                if boost and path not in ("engine/coroutine.hpp", "engine/coroutine.cpp"):
                    wrong.append(f"{path} includes {name}; of Boost the engine knows only engine/coroutine.hpp")
        self.assertFalse(wrong, "\n".join(wrong))

    def test_a_name_means_one_type(self):
        """Two types of one name in one namespace make a program that no linker complains of and that crashes."""
        seen, wrong = {}, []
        for path in sources(*MAY_INCLUDE):
            if not path.endswith(".hpp"):
                continue
            space = ""
            for line in read(path).splitlines():
                if match := re.match(r"namespace ([\w:]+) \{", line):
                    space = match[1]
                elif match := re.match(r"(?:class|struct|enum class|enum) (\w+)(?!\w|::)[^;]*$", line):
                    name = f"{space}::{match[1]}"
                    if seen.setdefault(name, path) != path:
                        wrong.append(f"{name} in {seen[name]} and {path}")
        self.assertFalse(wrong, "\n".join(wrong))

    def test_headers_are_guarded(self):
        wrong = [p for p in sources(*FOLDERS) if p.endswith(".hpp") and "#pragma once" not in read(p)]
        self.assertFalse(wrong, "\n".join(wrong))

    def test_files_fit_in_one_head(self):
        code = [p for p in FILES if p.endswith(SOURCE + (".py", ".mjs", ".js"))]
        wrong = [f"{p}: {n} lines" for p in code
                 if (n := read(p).count("\n")) > (MAX_TEST_LINES if p.startswith("tests/") else MAX_LINES)]
        self.assertFalse(wrong, "\n".join(wrong))

    def test_tests_do_not_sleep(self):
        pattern = re.compile(r"\bsleep_(for|until)\s*\(|\b(u|nano)?sleep\s*\(\s*\d")
        wrong = [p for p in sources("tests") if pattern.search(read(p))]
        self.assertFalse(wrong, "\n".join(wrong))

    def test_the_engine_reads_no_clock_and_no_randomness(self):
        """Time and randomness are passed in; only what wires a node, logs and serves its own metrics looks."""
        pattern = re.compile(r"std::random_device|\brand\(\)|system_clock::now")
        allowed = {"engine/log.cpp", "engine/log_queue.cpp", "engine/process_stats.cpp"}
        wrong = [p for p in sources("engine") if not is_program(p) and p not in allowed and pattern.search(read(p))]
        self.assertFalse(wrong, "\n".join(wrong))

    def test_every_folder_says_what_it_is(self):
        wrong = [f for f in FOLDERS if f"{f}/README.md" not in FILES
                 and any(p.startswith(f + "/") and p != f"{f}/CMakeLists.txt" for p in FILES)]
        self.assertFalse(wrong, "no README.md in " + ", ".join(wrong))

    def test_nothing_is_left_for_later(self):
        pattern = re.compile(r"\b(" + "|".join(WORDS) + r")\b")
        wrong = [p for p in FILES if p.endswith(TEXT) and pattern.search(read(p))]
        self.assertFalse(wrong, "\n".join(wrong))

    def test_no_machine_is_named(self):
        pattern = re.compile(r"(?<![\w.])/(home/\w|root/|work/\w|tmp/mr|Users/\w)")
        wrong = [p for p in FILES if p.endswith(TEXT) and p != "tests/house_rules.py" and pattern.search(read(p))]
        self.assertFalse(wrong, "\n".join(wrong))


if __name__ == "__main__":
    unittest.main(verbosity=2)
