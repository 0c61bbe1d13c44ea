#!/usr/bin/env bash
# Runs the bridge on this machine: migrates the database, then serves and works until either part or a person ends it.
# Usage: run.sh CONFIG
set -euo pipefail

config=${1:?usage: run.sh CONFIG}
bridge=.venv/bin/subtc-bridge
if [ ! -f "$config" ]; then
    echo "There is no $config yet: cp config.example.yaml $config, then fill it in." >&2
    exit 1
fi

"$bridge" --config "$config" migrate
"$bridge" --config "$config" serve & serve_pid=$!
"$bridge" --config "$config" worker & worker_pid=$!

stop_both() {
    kill "$serve_pid" "$worker_pid" 2>/dev/null || true
    wait "$serve_pid" "$worker_pid" 2>/dev/null || true
}
trap stop_both EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
wait -n "$serve_pid" "$worker_pid"
