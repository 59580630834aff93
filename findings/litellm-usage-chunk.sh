#!/usr/bin/env bash
# Package:  litellm[proxy] 1.108.7, its proxy with a mocked answer: nothing else is asked.
# Input:    a stream of chat with "stream_options": {"include_usage": true}.
# Expected: the chunk that carries the usage has an empty list of choices, as OpenAI's API reference has it ("the choices
#           field will always be an empty array"), by which a reader tells it from the chunks of the answer.
# Seen:     it has one choice, whose delta is empty: "choices":[{"index":0,"delta":{}}],"usage":{...}.
# Exits with 0 while that is seen, with 1 when it is not. Needs a network, and a minute.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.108.7'
key="sk-$(venv/bin/python -c 'import secrets; print(secrets.token_hex(24))')"
port=$(venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > litellm.yaml <<YAML
model_list:
  - model_name: mocked
    litellm_params: {model: openai/mocked, api_key: none, mock_response: "Hello there."}
general_settings: {master_key: $key}
YAML
venv/bin/litellm --config litellm.yaml --host 127.0.0.1 --port "$port" > server.txt 2>&1 &
server=$!
for _ in $(seq 240); do
    curl -sf "http://127.0.0.1:$port/health/liveliness" > /dev/null && break
    kill -0 "$server" || { tail -5 server.txt; exit 2; }
    sleep 1
done
curl -sf "http://127.0.0.1:$port/v1/chat/completions" -H "authorization: Bearer $key" -H "content-type: application/json" \
    -d '{"model": "mocked", "messages": [{"role": "user", "content": "Hello"}], "stream": true, "stream_options": {"include_usage": true}}' > stream.txt
venv/bin/python - <<'PYTHON'
import json

lines = [line[6:] for line in open("stream.txt").read().splitlines() if line.startswith("data: {")]
(usage,) = [chunk for chunk in map(json.loads, lines) if chunk.get("usage")]
print("the chunk with the usage:", json.dumps(usage))
choices = usage["choices"]
as_stated = len(choices) == 1 and not choices[0].get("delta") and not choices[0].get("finish_reason")
print("one empty choice, as stated" if as_stated else "no longer as stated")
raise SystemExit(0 if as_stated else 1)
PYTHON
