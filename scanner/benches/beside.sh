#!/usr/bin/env bash
# The scanner beside jq and sed on the same file: bytes per second of each, and how many times faster
# the scanner is. `scanner/benches/beside.sh [MiB]`; needs jq, and builds the example filter.
set -euo pipefail
cd "$(dirname "$0")/../.."
size=${1:-64}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo build -q --release -p scanner --examples
target=$(cargo metadata --no-deps --format-version 1 | jq -r .target_directory)
scan=("$target/release/examples/scan" --policy scanner/tests/samples/policy.json)

awk 'BEGIN { for (k = 0; k < 20000; k++) printf "{\"id\":%d,\"name\":\"row number %d\",\"city\":\"Lund\",\"status\":\"active\",\"ssn\":\"131-45-%04d\",\"score\":%d,\"account_number\":\"29401802%04d\",\"plan\":\"basic\",\"note\":\"a regular customer\",\"created\":\"2024-01-02\",\"tags\":[\"alpha\",\"beta\"],\"ok\":true}\n", k, k, k % 10000, k % 97, k % 10000 }' >"$folder/block"
while [ "$(stat -c %s "$folder/in" 2>/dev/null || echo 0)" -lt $((size << 20)) ]; do
    cat "$folder/block" >>"$folder/in"
done
bytes=$(stat -c %s "$folder/in")

# CPU seconds of one run; the best of three.
cost() {
    local best='' run
    for _ in 1 2 3; do
        run=$( { TIMEFORMAT='%U %S'; time "$@" <"$folder/in" >/dev/null; } 2>&1 | awk '{ print $1 + $2 }')
        best=$(printf '%s\n' $best "$run" | sort -g | head -1)
    done
    echo "$best"
}

one=$(cost "${scan[@]}")
two=$(cost jq -c '.ssn = "***" | .account_number = "***"')
three=$(cost sed -E 's/("(ssn|account_number)": ?")[^"]*"/\1***"/g')
for pair in "scan $one" "jq $two" "sed $three"; do
    set -- $pair
    awk -v name="$1" -v s="$2" -v b="$bytes" -v one="$one" 'BEGIN { printf "%-5s %8.0f MB/s  %6.1f times the scanner'"'"'s time\n", name, b / s / 1e6, s / one }'
done
