#!/usr/bin/env bash
# Package:  uvicorn 0.54.0 with httptools 0.9.0, as `pip install "uvicorn[standard]"` brings them.
# Input:    POST with 13 bytes of JSON over HTTP/1.1 that offers h2c (Upgrade: h2c, Connection: Upgrade, HTTP2-Settings), as
#           the JDK's HttpClient does by default and curl with --http2.
# Expected: a server that does not take the offer answers the request over HTTP/1.1 as if it had not been made (RFC 9110,
#           7.8): the application gets the 13 bytes.
# Seen:     the application gets no body, and without the offer it gets all 13. OpenAI-compatible servers on uvicorn tell
#           JVM clients that their JSON is invalid.
# Exits with 0 while that is seen, with 1 when it is not. Needs a network.
set -euo pipefail
folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'uvicorn==0.54.0' 'httptools==0.9.0'
cat > counting.py <<'PYTHON'
async def app(scope, receive, send):
    size, more = 0, scope["type"] == "http"
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"%d bytes" % size})
PYTHON
port=$(venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/uvicorn counting:app --http httptools --port "$port" --lifespan off > server.txt 2>&1 &
server=$!
for _ in $(seq 60); do
    curl -sf "http://127.0.0.1:$port/" > /dev/null && break
    kill -0 "$server" || { tail -5 server.txt; exit 2; }
    sleep 0.5
done
asked() { curl -s --max-time 10 "http://127.0.0.1:$port/" -H "content-type: application/json" -d '{"hello": 42}' "$@"; }
plain=$(asked)
offered=$(asked -H "connection: Upgrade, HTTP2-Settings" -H "upgrade: h2c" -H "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA")
echo "without the offer: $plain"
echo "with the offer:    $offered"
[ "$plain" = "13 bytes" ] && [ "$offered" = "0 bytes" ] && echo "as stated" && exit 0
echo "no longer as stated"
exit 1
