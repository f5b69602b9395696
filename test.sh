#!/usr/bin/env bash
# Every test of Housecall, on a fresh Debian machine with Rust and Node: what is missing is installed when run as root.
#
# usage: ./test.sh [PART...]      parts: lint rust web browser (all of them if none is named)
#
# The report names what was left out and why. The last line is "N passed, N failed, N skipped", counted from what the runners reported;
# a check that could not be made counts as skipped. Exit code 1 if anything failed.
#
# One build serves everything: `cargo test` builds the program with the dev profile (our dependencies optimised, see
# Cargo.toml), and the browser tests use that same program. A release build would cost as many minutes again, and the dev
# build has the overflow checks and debug assertions on, which is what a test wants.
set -uo pipefail
cd "$(dirname "$0")" || exit 2

export CARGO_TERM_COLOR=never NO_COLOR=1 FORCE_COLOR=0 CI=1
# Tests with random inputs are to find what they find where somebody looks for it, not in a run that is to say whether a change broke something.
export PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-2026}
# Nothing is built twice here, and what incremental builds keep for the next change is larger than all the rest.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(lint rust web browser)
for part in "${parts[@]}"; do
  case $part in
    lint | rust | web | browser) ;;
    *) echo "test.sh: there is no part \"$part\"; the parts are: lint rust web browser" >&2; exit 2 ;;
  esac
done
wants() { [[ " ${parts[*]} " == *" $1 "* ]]; }

passed=0
failed=0
skipped=0
report=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Installs Debian packages for commands that are missing: need "COMMAND=PACKAGE PACKAGE..."...
need() {
  local pair packages=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || packages+=(${pair##*=})
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null && return 0
  fi
  echo "test.sh: missing: ${packages[*]}. Install them (Debian: apt-get install ${packages[*]}) and run this again." >&2
  exit 2
}

# Installs coturn for its clients alone: left to itself, Debian's package starts its server, for anybody and on all addresses, now and at
# each boot. In a shell of its own, so that what it changes for the installation is undone however that ends.
need_turnutils() (
  command -v turnutils_stunclient >/dev/null && exit 0
  echo "== coturn is wanted for its test clients only: its server is not started, and coturn.service stays masked (systemctl unmask coturn.service)"
  policy=/usr/sbin/policy-rc.d
  if command -v systemctl >/dev/null; then systemctl mask coturn.service || exit 2; fi
  # With or without systemd, this is what packages ask before they start anything. Containers often have one, which says the same.
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 2' INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" || exit 2
  fi
  need turnutils_stunclient=coturn
  if ! command -v systemctl >/dev/null && command -v update-rc.d >/dev/null; then update-rc.d coturn disable; fi
)

# An ICE agent of another project, from PyPI, in a place of its own.
need_aioice() {
  aioice=$(realpath -m "${CARGO_TARGET_DIR:-target}")/aioice
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! python3 -c 'import ensurepip' 2>/dev/null; then
    apt-get install -y -qq --no-install-recommends python3-venv >/dev/null || return 1
  fi
  python3 -m venv "$aioice" && "$aioice/bin/pip" install -q --require-hashes -r tests/product/aioice/requirements.txt
}

note() { # note NAME PASSED FAILED SECONDS [SKIPPED]
  passed=$((passed + $2))
  failed=$((failed + $3))
  skipped=$((skipped + ${5:-0}))
  report+=("$(printf '%-28s %6d passed %4d failed %4d skipped %6d s' "$1" "$2" "$3" "${5:-0}" "$4")")
}

# A check that cannot be made here: skip NAME WHY
skip() {
  skipped=$((skipped + 1))
  printf '\n== %s: SKIPPED: %s\n' "$1" "$2"
  report+=("$(printf '%-28s SKIPPED: %s' "$1" "$2")")
}

# One thing that holds or does not: check NAME COMMAND...
check() {
  local name=$1 start=$SECONDS
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log"
  if [ "${PIPESTATUS[0]}" -eq 0 ]; then
    note "$name" 1 0 $((SECONDS - start))
  else
    note "$name" 0 1 $((SECONDS - start))
    # Where only the end of a long output is kept, the report has to say what was wrong.
    report+=("$(tail -n 15 "$log" | cut -c 1-300 | sed 's/^/    | /')")
  fi
}

# Sums the numbers in front of (or behind) a word in the runner's summary lines: total REGEX, which has the number in \1.
total() { sed -nE "s/$1/\1/p" "$log" | awk '{ sum += $1 } END { print sum + 0 }'; }

# A test runner: suite NAME COMMAND... Understands cargo test, nextest, node --test and Playwright.
suite() {
  local name=$1 start=$SECONDS good bad left
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$log"
  local code=${PIPESTATUS[0]}
  good=$(($(total '^test result: .* ([0-9]+) passed;.*') +
    $(total '^ *Summary .*[ :]([0-9]+) passed.*') +
    $(total '^# pass ([0-9]+)$') + $(total '^ℹ pass ([0-9]+)$') +
    $(total '^ +([0-9]+) passed( \(.*)?$')))
  bad=$(($(total '^test result: .*; ([0-9]+) failed;.*') +
    $(total '^ *Summary .* ([0-9]+) failed.*') +
    $(total '^ *Summary .* ([0-9]+) timed out.*') +
    $(total '^# fail ([0-9]+)$') + $(total '^ℹ fail ([0-9]+)$') +
    $(total '^ +([0-9]+) (failed|flaky|interrupted|did not run)$')))
  left=$(($(total '^test result: .*; ([0-9]+) ignored;.*') +
    $(total '^ *Summary .*[ ,]([0-9]+) skipped.*') +
    $(total '^# skipped ([0-9]+)$') + $(total '^ℹ skipped ([0-9]+)$') +
    $(total '^ +([0-9]+) skipped$')))
  # A runner that fell over, or found no test to run, has failed once even if it counted nothing.
  if [ "$code" -ne 0 ] && [ "$bad" -eq 0 ]; then
    bad=1
  elif [ "$code" -eq 0 ] && [ $((good + bad)) -eq 0 ]; then
    echo "test.sh: $name ran no test at all"
    bad=1
  fi
  note "$name" "$good" "$bad" $((SECONDS - start)) "$left"
  # The runner's own words beside our count.
  report+=("$(grep -E '^ *Summary |^(#|ℹ) (tests|pass|fail|skipped) |^test result: |^ +[0-9]+ (passed|failed)' "$log" | sed 's/^ */    /')")
  [ "$bad" -eq 0 ] || report+=("$(sed -nE 's/^ *((not ok|FAIL|TIMEOUT|SIGABRT|SIGSEGV) .*|test .* FAILED)$/    | \1/p' "$log" | cut -c 1-300 | sort -u | head -n 30)")
  # node --test says why a test was skipped.
  report+=("$(sed -nE 's/^ *ok [0-9]+ - (.*) # SKIP(.*)/    skipped: \1:\2/p; s/^ *﹣ (.*) \([0-9.]+ms\) # (.*)/    skipped: \1: \2/p' "$log" | sort -u)")
}

in_folder() { (cd "$1" && shift && "$@"); }

command -v cargo >/dev/null || {
  echo "test.sh: Rust is missing. Install it from https://rustup.rs and run this again." >&2
  exit 2
}
need git=git cc=build-essential c++=build-essential

# A full disk shows as errors of compilers, databases and browsers that name everything else.
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
if [ "$free_mb" -lt 4000 ]; then
  scarce="the disk has $free_mb MB free; a first build takes more than 2,000, and packages, browsers and their profiles come on top"
  echo "test.sh: $scarce" >&2
  report+=("$scarce")
fi

if wants lint; then
  check "format" cargo fmt --all --check
  check "clippy" cargo clippy --workspace --all-targets --quiet -- -D warnings
  # With the same compiler as all else: only running them takes a nightly one and cargo-fuzz (fuzz/run-all).
  check "fuzz targets" cargo check --quiet --manifest-path fuzz/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}"
  check "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --quiet
  if command -v cargo-deny >/dev/null; then
    # Not "advisories": they need a database from the network that changes by the day, and a test should not.
    check "licences and sources" cargo deny --log-level error check licenses bans sources
  else
    skip "licences and sources" "cargo-deny is not installed (cargo install cargo-deny --locked)"
  fi
fi

if wants rust; then
  # One test has a network of its own, with a 1:1 NAT in it. Only root can make one, and not in every container.
  nat='add table ip probe; add chain ip probe nat { type nat hook prerouting priority dstnat; }'
  [ "$(id -u)" != 0 ] || need ip=iproute2 nft=nftables
  if [ "$(id -u)" = 0 ] && unshare --net --mount nft "$nat" 2>/dev/null; then
    export HOUSECALL_TEST_NAT=required
  else
    skip "1:1 NAT" "it needs root and network namespaces"
  fi
  # A certificate is asked for from Pebble, an authority for tests.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then need pebble=pebble; fi
  if command -v pebble >/dev/null; then
    export HOUSECALL_TEST_ACME=required
  else
    skip "certificate by ACME" "Pebble is not installed (Debian: apt-get install pebble)"
  fi
  # A client of another project for the relay.
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then need_turnutils || exit 2; fi
  if command -v turnutils_stunclient >/dev/null; then
    export HOUSECALL_TEST_TURNUTILS=required
  else
    skip "coturn's clients" "turnutils_stunclient is not installed (Debian: in coturn, whose server then starts too unless it is masked)"
  fi
  if need_aioice; then
    export HOUSECALL_TEST_AIOICE=$aioice/bin/python
  else
    skip "aioice" "it needs Python 3.11 with venv (Debian: apt-get install python3-venv) and PyPI"
  fi
  if cargo nextest --version >/dev/null 2>&1; then
    suite "Rust" cargo nextest run --workspace --no-fail-fast --status-level fail --final-status-level fail
  else
    suite "Rust" cargo test --workspace --all-targets --no-fail-fast --quiet
  fi
  check "Rust, in documentation" cargo test --workspace --doc --quiet
  # The tests' build has made both programs. It compares with a floor of the same run, not with a clock (docs/performance.md).
  check "forwarding against its floor" "${CARGO_TARGET_DIR:-target}/debug/bench" forward --smoke
fi

if wants web || wants browser; then
  command -v npm >/dev/null || {
    echo "test.sh: Node with npm is missing (version 20 or later). Install it, e.g. from https://nodejs.org, and run this again." >&2
    exit 2
  }
fi

if wants web; then
  check "web client, packages" in_folder web-client npm ci --no-audit --no-fund --loglevel=error
  check "web client, types" in_folder web-client npm run --silent check
  suite "web client" in_folder web-client npm run --silent unit
fi

if wants browser; then
  # The fonts are part of what the screens look like.
  need "chromium=chromium fonts-noto-core" firefox-esr=firefox-esr openssl=openssl certutil=libnss3-tools nft=nftables ip=iproute2 sqlite3=sqlite3
  wants web || check "web client, packages" in_folder web-client npm ci --no-audit --no-fund --loglevel=error
  check "web client, every screen" in_folder web-client npm run --silent test:browser
  program=$(realpath -m "${CARGO_TARGET_DIR:-target}")/debug/housecall
  # The Rust tests start the program too, so their build has made it. `cargo build` would want other features of the
  # dependencies, and build half of them again.
  if wants rust; then
    check "program for the browsers" test -x "$program"
  else
    check "program for the browsers" cargo build --quiet
  fi
  check "browser tests, packages" in_folder tests/browser npm ci --no-audit --no-fund --loglevel=error
  HOUSECALL_BIN="$program" suite "browsers" in_folder tests/browser npm test --silent
fi

printf '\n'
for line in "${report[@]}"; do [ -z "$line" ] || printf '%s\n' "$line"; done
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
