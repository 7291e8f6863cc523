#!/bin/sh
# Write constraints.txt anew from pyproject.toml: every dependency of every extra, pinned, with hashes of all files; and
# benchmarks/peers/packages.txt, of the dependency group "peers". Pins that still fit are kept.
# Usage: make lock [ARGS="--upgrade" | ARGS="--upgrade-package polars"]
set -eu
new=$(mktemp)
trap 'rm -f "$new"' EXIT

# lock FILE WHAT COMMENT [OPTION...]: pin what uv makes of WHAT into FILE, which begins with COMMENT.
lock() {
    out=$1 what=$2 comment=$3
    shift 3
    if [ -f "$out" ]; then cp "$out" "$new"; else : >"$new"; fi
    # shellcheck disable=SC2086
    "${BIN:-.venv/bin}/uv" pip compile $what --universal --python-version 3.11 \
        --fork-strategy fewest --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate \
        --quiet --output-file "$new" "$@"
    if grep -q '://' "$new"; then
        echo "lock: refused, the result names an address; is a dependency given by address?" >&2
        exit 1
    fi
    {
        echo "# $comment: one version each, and the SHA-256 of every file"
        echo "# that may be installed for it (Linux on x86-64 and aarch64, macOS on Apple silicon; Python 3.11 and newer)."
        echo "# Written by \`make lock\` from pyproject.toml. Do not edit by hand."
        cat "$new"
    } >"$out.new"
    mv "$out.new" "$out"
    echo "lock: wrote $out ($(grep -c '==' "$out") packages)"
}

lock constraints.txt "pyproject.toml --all-extras" "Every package that Daedalus, its extras and its build use" "$@"
lock benchmarks/peers/packages.txt "--group peers" "What Daedalus is measured against" "$@"
