#!/bin/sh
# A trial in sh and awk: three steps down the parabola w * w, with the step size x that is asked for.
set -eu

# What stands behind "key": in the trial's file; nothing where that is missing or null. Enough for files
# without escapes, whose parameters are not called like one of the keys.
value_of() {
    tr -d '\n' <"$METTA_SWEEP_TRIAL" | sed -n \
        -e 's/.*"'"$1"'" *: *null.*//p' -e t \
        -e 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' -e t \
        -e 's/.*"'"$1"'" *: *\([^", }]*\).*/\1/p'
}

# A whole line by one write, and durable.
append() {
    printf '%s\n' "$1" >>"$METTA_SWEEP_REPORTS"
    sync "$METTA_SWEEP_REPORTS"
}

x=$(value_of x) until=$(value_of until_step) from=$(value_of resume_from)
folder=$(value_of folder) checkpoints=$(value_of checkpoint_dir)
case $from$folder in *\\*) echo "paths with escapes need a JSON parser, such as jq" >&2 && exit 1 ;; esac

if awk "BEGIN { exit !($x <= 0) }"; then
    append '{"failure": {"kind": "infeasible", "message": "x has to be above 0"}}'
    exit 1
fi

told=
trap 'told=yes' TERM USR2
trap 'if [ -n "$told" ]; then exit 75; fi' EXIT # the signal may have ended awk as well
mkdir -p "$checkpoints"
step=0 w=10
if [ -n "$from" ]; then read -r step w <"$from"; fi

while [ "$step" -lt 3 ]; do
    step=$((step + 1))
    w=$(awk "BEGIN { printf \"%.17g\", $w - $x * 2 * $w }") # the slope of the parabola
    checkpoint=$checkpoints/step-$step
    echo "$step $w" >"$checkpoint"
    sync "$checkpoint" # durable before the line that names it
    loss=$(awk "BEGIN { printf \"%.17g\", $w * $w }")
    append '{"step": '"$step"', "metrics": {"loss": '"$loss"'}, "checkpoint": "'"$checkpoint"'"}'
    if [ "$step" -ge "${until:-4}" ] || [ -n "$told" ] || [ -e "$folder/stop" ]; then exit 75; fi
done
