# shellcheck shell=bash
# What a case is: a function that shows one thing, known by its name and one sentence.
# shellcheck disable=SC2034 # read by run

names=()           # in the order in which they run
declare -A shows   # what a case shows
declare -A long    # those that run with --all, or by name
declare -A real    # the case that is run once more at the intervals of real clusters
declare -A of_peer # those that need --peer
declare -A outcome # seconds that it took; "failed" of the one that ended the run

short_case() { names+=("$1") shows[$1]=$2; } # short_case NAME SENTENCE
long_case() { short_case "$@" && long[$1]=yes; }
real_case() { # real_case CASE: once more, at the intervals of real clusters, for time matters to it; long
  names+=("$1_at_real_intervals")
  shows[$1_at_real_intervals]="${shows[$1]}; at the intervals of real clusters"
  real[$1_at_real_intervals]=$1
}
peer_case() { short_case "$@" && of_peer[$1]=yes; }

note() { say "    $*"; } # what a case has seen and counted

# Unlike grep -q it reads to the end, so that the command before it is not cut off.
contains() { grep -- "$1" >/dev/null; }

expect() { # expect WHAT ACTUAL EXPECTED
  [[ $2 == "$3" ]] || die "$1 is"$'\n'"$2"$'\n'"and not"$'\n'"$3"
}

table() { # a line for each of the cases that were chosen
  local name
  for name; do
    printf '%8s  %s\n' "${outcome[$name]:-not run}" "${name//_/ }"
  done
}
