#!/usr/bin/env bash
# meson's test wrapper: has each criterion program write its single cases to $PENSTOCK_CASES, so that
# the summary counts cases and not programs. PENSTOCK_WRAP is a command to run it under.
set -euo pipefail
if [[ -n ${PENSTOCK_CASES:-} ]]; then
    name=$(basename "$1")
    export CRITERION_OUTPUTS="xml:$PENSTOCK_CASES/case-$name.xml"
fi
# shellcheck disable=SC2086 # a command and its options
exec ${PENSTOCK_WRAP:-} "$@"
