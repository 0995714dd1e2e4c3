#!/usr/bin/env bash
# Builds a working @tensorflow/tfjs-node in DIR (Linux x64, CPU) from npm and PyPI alone.
#
# The package's own install step downloads libtensorflow from a storage host that no longer answers. The wheel `tensorflow-cpu` on PyPI
# holds the same C API: libtensorflow_cc.so.2 exports every TF_ and TFE_ symbol that the binding uses, and the headers lie beside it. The
# binding is two C++ files in the npm package.
#
#   tools/build-tfjs-node.sh DIR      needs node, npm, python3 with pip, g++; downloads 207 MB, leaves 0.9 GB
#   exit 0 built and tried · 75 PyPI cannot be reached · anything else: failed
set -euo pipefail

target=${1:?usage: build-tfjs-node.sh DIR}
readonly TFJS_NODE=4.22.0 NODE_API_HEADERS=1.9.0 TENSORFLOW=2.15.1
readonly WHEEL_SHA256=54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26
# Dependencies of the npm packages are taken as they were on this day.
readonly NPM_BEFORE=2026-06-01

mkdir -p "$target"
cd "$target"
scratch=$(mktemp -d "$PWD/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT

echo "1/4 npm packages, install scripts off"
[ -f package.json ] || printf '{ "private": true }\n' >package.json
npm install --ignore-scripts --no-audit --no-fund --loglevel=error --save-exact --before="$NPM_BEFORE" \
  "@tensorflow/tfjs-node@$TFJS_NODE" "node-api-headers@$NODE_API_HEADERS"
package=$PWD/node_modules/@tensorflow/tfjs-node

echo "2/4 tensorflow-cpu $TENSORFLOW from PyPI, checked by sha256"
printf 'tensorflow-cpu==%s --hash=sha256:%s\n' "$TENSORFLOW" "$WHEEL_SHA256" >"$scratch/requirements.txt"
if ! python3 -m pip download --quiet --disable-pip-version-check --no-cache-dir --retries 1 --no-deps --require-hashes \
  --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
  --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
  --dest "$scratch" --requirement "$scratch/requirements.txt" 2>"$scratch/pip.log"; then
  cat "$scratch/pip.log" >&2
  # pip reports an unreachable index as warnings about connections, then as "no matching distribution"
  if grep -qE 'Retrying|Connection|Timeout|ProxyError|Name or service|Temporary failure|HTTP error 4|HTTP error 5' "$scratch/pip.log"; then exit 75; fi
  exit 1
fi

echo "3/4 libraries and headers out of the wheel"
python3 - "$scratch" "$package/deps" <<'PY'
import pathlib, shutil, sys, zipfile

scratch, deps = map(pathlib.Path, sys.argv[1:])
LIBRARIES = ("tensorflow/libtensorflow_cc.so.2", "tensorflow/libtensorflow_framework.so.2")
# the C API and the string type that its headers reach for
HEADERS = ("tensorflow/c/", "tensorflow/core/platform/ctstring", "tsl/platform/ctstring", "tsl/c/", "xla/tsl/platform/ctstring", "xla/tsl/c/")
with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
    for name in wheel.namelist():
        inner = name.removeprefix("tensorflow/include/")
        if name in LIBRARIES:
            place = deps / "lib" / pathlib.PurePath(name).name
        elif inner != name and inner.endswith(".h") and inner.startswith(HEADERS):
            place = deps / "include" / inner
        else:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        with wheel.open(name) as source, place.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 22)
PY

echo "4/4 compile the binding"
# where the package will look for it: lib/napi-v<N>/tfjs_binding.node
binding=$(cd "$package" && node -p "require('@mapbox/node-pre-gyp').find(require('node:path').resolve('package.json'))")
napi=$(basename "$(dirname "$binding")")
mkdir -p "$(dirname "$binding")"
g++ -std=c++17 -O2 -shared -fPIC -DBUILDING_NODE_EXTENSION "-DNAPI_VERSION=${napi#napi-v}" \
  -I node_modules/node-api-headers/include -I "$package/deps/include" \
  "$package/binding/tfjs_backend.cc" "$package/binding/tfjs_binding.cc" \
  -L "$package/deps/lib" -l:libtensorflow_cc.so.2 -l:libtensorflow_framework.so.2 \
  -Wl,-rpath,'$ORIGIN/../../deps/lib' -o "$binding"

TF_CPP_MIN_LOG_LEVEL=2 node -e '
const tf = require("@tensorflow/tfjs-node");
const product = tf.matMul(tf.tensor2d([[1, 2], [3, 4]]), tf.tensor2d([[5], [6]])).dataSync();
if (tf.getBackend() !== "tensorflow" || product[0] !== 17 || product[1] !== 39) throw new Error(`wrong: ${tf.getBackend()} ${product}`);
console.log(`tfjs-node ${tf.version["tfjs-node"]} runs on libtensorflow ${tf.backend().binding.TF_Version}`);'
