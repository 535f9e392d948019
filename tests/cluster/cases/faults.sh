# shellcheck shell=bash
# The parts of a node fail, and so does AWS.
# shellcheck disable=SC2154 # assigned by the rig's common.sh

short_case kubelet_is_killed \
  "kubelet is killed: with new tokens for all pods nothing is rewritten, and a new pod starts"
kubelet_is_killed() {
  local inode
  start_pod web db
  wait_ready web
  inode=$(inode_of web password)
  "$rig/restart" kubelet KILL
  wait_for_publishes web 2
  expect "the file's inode" "$(inode_of web password)" "$inode"
  start_pod after db
  wait_ready after
  no_mount_failed
}

short_case the_driver_is_killed_in_mid_mount \
  "the driver is killed while a mount waits for AWS: the pod starts with its secrets"
the_driver_is_killed_in_mid_mount() {
  mount_is_waiting_for_aws web
  "$rig/restart" csi-driver KILL
  aws_answers_again
  wait_ready web
  reads web api-key hunter2-key || die "the pod has started without its secrets"
}

short_case the_provider_is_killed_in_mid_mount \
  "the provider is killed while a mount waits for AWS: the pod starts with its secrets"
the_provider_is_killed_in_mid_mount() {
  mount_is_waiting_for_aws web
  kill -KILL "$(pid_of_ours)"
  aws_answers_again
  wait_ready web
  reads web api-key hunter2-key || die "the pod has started without its secrets"
}

short_case the_provider_is_out_of_memory \
  "the kernel kills the provider for memory while a mount waits: the pod starts, and those that run are undisturbed"
the_provider_is_out_of_memory() {
  local pid inode
  save_log
  system set resources daemonset/secretmount --limits memory=64Mi >/dev/null
  serving="ours, with a limit"
  wait_for_provider secretmount
  start_pod before db
  wait_ready before
  inode=$(inode_of before password)
  mount_is_waiting_for_aws web
  pid=$(pid_of_ours)
  choom --adjust 1000 --pid "$pid" >/dev/null # it is the one whom the kernel takes
  fill_memory_beside "$pid"
  wait_for "end of the provider" 30 has_ended "$pid"
  aws_answers_again
  wait_ready web
  expect "why the provider ended" "$(system get pods --selector app.kubernetes.io/name=secretmount --output \
    jsonpath='{.items[0].status.containerStatuses[0].lastState.terminated.reason}')" OOMKilled
  wait_for_publishes before 2
  expect "the file's inode" "$(inode_of before password)" "$inode"
}

short_case the_api_server_hangs \
  "the API server hangs: a running pod gets its new value all the same"
the_api_server_hangs() {
  local file
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  file=$KUBELET_ROOT/pods/$(uid_of web)/volumes/kubernetes.io~csi/secrets/mount/password
  holds() { [[ $(cat "$file") == "$1" ]]; }
  holds hunter2-first || die "$file is not what the container reads"
  signal kube-apiserver STOP
  put_password hunter2-second >/dev/null
  wait_for "new value on the node" "$refresh_limit" holds hunter2-second
  signal kube-apiserver CONT
  wait_for "API server" 60 reads web password hunter2-second
}

short_case an_outage_of_aws_is_told \
  "AWS fails while a pod runs: an event on the pod and the status of its node say so once, and that it is over"
an_outage_of_aws_is_told() {
  # Pods of other cases that could not start would stay in the status for a quarter of an hour.
  restart_providers app.kubernetes.io/name=secretmount secretmount
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  devcloud POST faults '{"kind": {"error": {"status": 503, "code": "ServiceUnavailable"}}, "service": "secretsmanager"}' >/dev/null
  wait_for "event of the outage" "$refresh_limit" was_told web SecretRefreshFailed
  ! status >"$work/status-failing.txt" || die "the status is fine: $work/status-failing.txt"
  contains '^shop  *web .* failing AwsUnavailable' <"$work/status-failing.txt" || die "the status does not say it: $work/status-failing.txt"
  wait_for "further failures" "$refresh_limit" has_failed_again
  devcloud DELETE faults >/dev/null
  wait_for "event of its end" "$refresh_limit" was_told web SecretRefreshRecovered
  status >"$work/status.txt" || die "the status is not fine: $work/status.txt"
  expect "events of the outage" "$(told web SecretRefreshFailed)" AwsUnavailable
  reads web password hunter2-first || die "the pod has not kept its file"
}

# Reasons in the notes of a pod's events of a kind, which the provider has written itself.
told() { # told POD KIND
  shop get events.events.k8s.io --output \
    jsonpath="{range .items[?(@.reason=='$2')]}{.regarding.name} {.note}{'\n'}{end}" |
    sed -n "s/^$1 .*its refresh fails: \([A-Za-z]*\): .*/\1/p; s/^$1 .* can be refreshed again/again/p"
}
was_told() { [[ -n $(told "$@") ]]; }

has_failed_again() { { status || true; } | contains 'failing AwsUnavailable ([2-9] times)'; }

status() { system exec daemonset/secretmount -- /provider status; }

short_case pods_are_deleted_while_aws_stalls \
  "pods are deleted while their mounts wait for AWS: no volume is busy, none stays mounted, and their like start afterwards"
pods_are_deleted_while_aws_stalls() {
  local pod
  local pods=(web-1 web-2 web-3 web-4)
  devcloud PUT 'latency?ms=20000&api=GetSecretValue' >/dev/null
  for pod in "${pods[@]}"; do
    start_pod "$pod" db
  done
  wait_for "calls to AWS" 30 was_called GetSecretValue
  delete_pods
  aws_answers_again
  ! driver_log | contains 'device or resource busy' ||
    die "a volume was busy: $logs/csi-driver.log"
  for pod in "${pods[@]}"; do
    start_pod "$pod" db
  done
  for pod in "${pods[@]}"; do
    wait_ready "$pod"
    reads "$pod" api-key hunter2-key || die "$pod has started without its secrets"
  done
}

signal() { # signal COMPONENT SIGNAL
  local pid
  read -r pid _ <"$pids/$1"
  kill -s "$2" "$pid"
}

mount_is_waiting_for_aws() { # mount_is_waiting_for_aws POD
  devcloud DELETE calls >/dev/null
  devcloud PUT 'latency?ms=20000&api=GetSecretValue' >/dev/null
  start_pod "$1" db
  wait_for "calls to AWS" 30 was_called GetSecretValue
}

aws_answers_again() { devcloud DELETE latency >/dev/null; }

has_ended() { [[ ! -e /proc/$1 ]]; }

# Takes memory in the same control group until the kernel ends somebody there.
fill_memory_beside() { # fill_memory_beside PID
  local group
  group=$(sed -n 's/^[0-9]*:memory:/memory/p; s/^0::\///p' "/proc/$1/cgroup" | head -n 1)
  (
    echo "$BASHPID" >"/sys/fs/cgroup/$group/cgroup.procs"
    head -c 200000000 /dev/zero | tail | wc -c
  ) >/dev/null 2>&1 || true
}

no_mount_failed() { expect "mounts that failed" "$(failed_mounts)" ""; }
