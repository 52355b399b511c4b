#!/usr/bin/env bash
# Licences, sources, doubled versions and known advisories of all dependencies, by deny.toml. Needs cargo-deny
# (`cargo install cargo-deny`) and, for the advisories, the network. usage: scripts/supply_chain.sh [--offline]
set -euo pipefail
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/setup.sh
. scripts/setup.sh
have cargo-deny || die "cargo-deny is not on the PATH; \`cargo install cargo-deny\` brings it"
case "${1:-}" in
    '') cargo deny check ;;
    --offline) cargo deny --offline check licenses bans sources ;;
    *) die "usage: scripts/supply_chain.sh [--offline]" ;;
esac
