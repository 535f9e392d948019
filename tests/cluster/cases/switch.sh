# shellcheck shell=bash
# From the official provider to this one and back, and from version to version, on a node that is in use.
# shellcheck disable=SC2154 # assigned by the rig's common.sh, or by run

short_case from_the_official_provider_and_back \
  "from a stand-in of the official provider to ours and back, a rotation in each period: who reads by name meets no gap"
from_the_official_provider_and_back() {
  build_stand_in
  switches apply_stand_in
}

peer_case from_the_peer_and_back \
  "the same with the peer in the place of the stand-in"
from_the_peer_and_back() { switches apply_peer; }

# Each is there before the other goes, as in a rollout, so that both fight for the socket.
switches() { # switches APPLY_OFFICIAL
  remove_providers
  rotate hunter2-first
  "$1"
  start_pod web db
  wait_ready web
  start_reader
  rotate hunter2-second
  wait_for "new value by the official provider" "$refresh_limit" reads web password hunter2-second

  apply_ours
  remove_official
  wait_for_socket
  rotate hunter2-third
  wait_for "new value by ours" "$refresh_limit" reads web password hunter2-third
  expect "where the name leads now" "$(in_pod web 'readlink password')" ..data/password

  "$1"
  remove_ours
  wait_for_socket
  rotate hunter2-fourth
  wait_for "new value by the official provider again" "$refresh_limit" reads web password hunter2-fourth
  reader_met_no_gap
  serving="the official provider"
}

# In AWS, and where the stand-in looks.
rotate() { # rotate PASSWORD
  put_password "$1" >/dev/null
  mkdir -p "$work/official"
  file_of_stand_in shop_db "{\"username\": \"shop\", \"password\": \"$1\"}"
  file_of_stand_in password "$1"
  file_of_stand_in username shop
  file_of_stand_in api-key hunter2-key
}

file_of_stand_in() { # file_of_stand_in NAME CONTENT: whole at once
  printf %s "$2" >"$work/official.new"
  mv "$work/official.new" "$work/official/$1"
}

# Opens the file by its name over and over, and tells what is not a password.
start_reader() {
  # shellcheck disable=SC2016 # the container's shell expands it
  local loop='count=0;
    while :; do
      value=;
      read -r value </secrets/password;
      case $value in hunter2-*) ;; *) echo "after $count reads: $value" ;; esac;
      count=$((count + 1));
      [ $((count % 1000)) != 0 ] || echo $count >/tmp/reads;
    done'
  start_pod reader db web "" "[/bin/sh, -c, '${loop//$'\n'/ }']"
  wait_ready reader
}

reader_met_no_gap() {
  local count
  count=$(in_pod reader 'cat /tmp/reads')
  expect "what the reader met" "$(shop logs reader)" ""
  ((count > 10000)) || die "the reader has read only $count times"
  note "$count reads"
}

short_case an_upgrade_without_surge_fails_no_mount \
  "three restarts of our DaemonSet, the old pod first, while pods come and go: no mount fails"
an_upgrade_without_surge_fails_no_mount() { upgrades restart_ours; }

short_case an_upgrade_with_surge_fails_no_mount \
  "the same with a surge: the new pod is there before the old one goes"
an_upgrade_with_surge_fails_no_mount() {
  system patch daemonset secretmount --patch \
    '{"spec": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}}' >/dev/null
  serving="ours, with surge"
  upgrades restart_ours
}

restart_ours() { system rollout restart daemonset/secretmount >/dev/null; }

upgrades() { # upgrades COMMAND: which is told the number of the round
  local pids=() lane round
  rm -f "$work/churn-ends" "$work"/churned-*
  for lane in a b; do
    churn "$lane" &
    pids+=($!)
  done
  for round in 1 2 3; do
    save_log
    "$1" "$round"
    wait_for_provider secretmount
    wait_for_churn
  done
  touch "$work/churn-ends"
  for lane in "${pids[@]}"; do
    wait "$lane" || die "a pod did not start during an upgrade"
  done
  no_mount_failed
  note "$(churned) pods came and went"
}

churn() { # churn LANE: one pod after the other, until told to end
  local number=0
  while [[ ! -e $work/churn-ends ]]; do
    start_pod "churn-$1-$number" db
    wait_ready "churn-$1-$number"
    shop delete pod "churn-$1-$number" --wait=false >/dev/null
    echo "$number" >>"$work/churned-$1"
    number=$((number + 1))
  done
}

# Until each lane has started a pod from beginning to end.
wait_for_churn() {
  local before
  before=$(churned)
  went_on() { (($(churned) >= before + 4)); }
  wait_for "pods that come and go" 60 went_on
}

churned() { cat "$work"/churned-* 2>/dev/null | wc -l || true; }
