#!/usr/bin/env bash
# `import onnxruntime`, and nothing else, creates a database and a device id in the user's home.
#
# Version:   onnxruntime 1.29.0 and 1.32.0 (PyPI wheels, CPU), Linux. 1.28.0 writes nothing.
# Guess:     no file at all: an import opens no session, and the CPU wheel keeps no cache.
# Reality:   the import creates an SQLite database and a persistent identifier of the device below ~/.cache/Microsoft. The
#            identifier survives, so later runs are recognizable as this machine's. With ORT_DISABLE_TELEMETRY=1 set before the
#            import, nothing is written.
# Output seen:
#   1.32.0
#   .cache/Microsoft/DeveloperTools/.onnxruntime/deviceid
#   .cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db
#   with ORT_DISABLE_TELEMETRY=1: 0 files
# Exits with 0 while this is so, with 1 when it changed.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.32.0

imports() { # HOME [NAME=VALUE...]
  home=$1
  shift
  mkdir "$home"
  env -u XDG_CACHE_HOME HOME="$home" "$@" "$folder/env/bin/python" -c 'import onnxruntime; print(onnxruntime.__version__)'
}

imports "$folder/home"
(cd "$folder/home" && find . -type f | sed 's|^\./||' | sort) | tee "$folder/found"
imports "$folder/quiet" ORT_DISABLE_TELEMETRY=1 >/dev/null
echo "with ORT_DISABLE_TELEMETRY=1: $(find "$folder/quiet" -type f | wc -l) files"

grep -qx '.cache/Microsoft/DeveloperTools/.onnxruntime/deviceid' "$folder/found" || { echo 'changed: no device id'; exit 1; }
grep -qx '.cache/Microsoft/DeveloperTools/.onnxruntime/onnxruntime.db' "$folder/found" || { echo 'changed: no database'; exit 1; }
[ -z "$(find "$folder/quiet" -type f)" ] || { echo 'changed: the variable does not stop it'; exit 1; }
