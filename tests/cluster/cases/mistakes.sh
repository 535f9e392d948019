# shellcheck shell=bash
# What the likeliest mistakes look like in `kubectl describe pod`.
# shellcheck disable=SC2154 # assigned by the rig's common.sh

# Pod, class and account of those that are made with manifests alone.
mistakes='
no-role plain nobody
role-is-no-arn plain without-a-role-name
role-that-is-not plain role-that-is-not
role-does-not-trust plain untrusted
access-denied plain poor
no-association pod-identity nobody
secret-missing secret-missing web
secret-deleted secret-deleted web
parameter-missing parameter-missing web
key-misspelt key-misspelt web
secret-is-no-json secret-is-no-json web
another-region another-region web
yaml-broken yaml-broken web
type-misspelt type-misspelt web
mode-is-no-mode mode-is-no-mode web
file-outside file-outside web
without-objects without-objects web
class-missing class-missing web
provider-misspelt provider-misspelt web'

short_case mistakes_explain_themselves \
  "the likeliest mistakes read as help in kubectl describe pod, word for word the same at every attempt"
mistakes_explain_themselves() {
  local pod class account
  local all=()
  put_secret shop/retired hunter2-retired >/dev/null
  devcloud DELETE "secrets/$region?name=shop/retired" >/dev/null
  kubectl apply --filename "$tests/manifests/mistakes.yaml" >/dev/null
  while read -r pod class account; do
    [[ -n $pod ]] || continue
    start_pod "$pod" "$class" "$account"
    all+=("$pod")
  done <<<"$mistakes"
  for pod in "${all[@]}"; do
    as_recorded "$pod"
  done

  agent_is_down
  start_pod agent-down pod-identity associated
  as_recorded agent-down
  agent_is_up
  wait_ready agent-down

  kubectl patch csidriver "$driver" --type merge --patch '{"spec": {"tokenRequests": null}}' >/dev/null
  start_pod no-token-requests plain
  as_recorded no-token-requests
  kubectl apply --filename "$rig/manifests/csidriver.yaml" >/dev/null
  wait_ready no-token-requests

  # A driver that has once reached a provider waits for it. One that has just started says at once what is missing.
  remove_providers
  "$rig/restart" csi-driver
  start_pod no-provider plain
  as_recorded no-provider
  serve_ours
  wait_ready no-provider
  # So that the look for codes that are not final looks at the right words.
  driver_log | contains 'status.code="NotFound"' || die "the driver's log shows no codes: $logs/csi-driver.log"
  note "$((${#all[@]} + 3)) mistakes"
}

# As recorded, when kubelet has tried at least three times. With RECORD set, what is seen becomes the record.
as_recorded() { # as_recorded POD
  local record=$tests/expected/mistakes/$1.txt
  wait_for "third attempt of $1" 60 was_tried_thrice "$1"
  failures_of "$1" >"$work/mistake-$1.txt"
  [[ -z ${RECORD:-} ]] || cp "$work/mistake-$1.txt" "$record"
  expect "what kubectl describe pod says of $1" "$(cat "$work/mistake-$1.txt")" "$(cat "$record")"
}

was_tried_thrice() { (($(failed_mounts "$1" | awk '{ sum += $1 } END { print sum + 0 }') >= 3)); }

# The events of failed mounts, without what differs from run to run.
failures_of() { # failures_of POD
  shop describe pod "$1" | sed -n 's/^ *Warning  *FailedMount .* kubelet  *\(.*volume "secrets".*\)/\1/p' | sort -u |
    sed -e "s|$(uid_of "$1")|POD_UID|g; s|$KUBELET_ROOT|KUBELET_ROOT|g; s|$PROVIDERS_DIR|PROVIDERS_DIR|g"
}
