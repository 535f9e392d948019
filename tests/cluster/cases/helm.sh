# shellcheck shell=bash
# Installation, upgrade and removal with the Helm chart.
# shellcheck disable=SC2154 # assigned by the rig's common.sh, or by run

short_case helm_leaves_nothing_behind \
  "the chart's pod serves a mount and its notes find no fault; uninstalled, the cluster is as before, and so is the node"
helm_leaves_nothing_behind() {
  put_password hunter2-first >/dev/null
  remove_providers
  objects >"$work/objects-before"
  serve_by_chart
  ! contains '^!' <"$work/notes.txt" || die "the notes find fault: $work/notes.txt"
  start_pod web db
  wait_ready web
  reads web password hunter2-first || die "the container does not read the password"
  expect "the capabilities" "$(grep CapEff: "/proc/$(pid_of_ours)/status" | cut -f 2)" 0000000000000001

  delete_pods
  save_log
  remove_chart
  serving=
  # What is deleted takes what belongs to it along, a little later.
  wait_for "end of what was installed, see $work/objects-after" 60 objects_are_as_before
  [[ ! -e $PROVIDERS_DIR/aws.sock ]] || die "the socket is still there"
  note "$(wc -l <"$work/objects-before") objects before and after"
}

objects_are_as_before() {
  objects >"$work/objects-after"
  cmp "$work/objects-before" "$work/objects-after"
}

# All of the cluster, but for what other parts of it write by themselves.
objects() {
  local kinds
  kinds=$(kubectl api-resources --verbs list --output name | grep -vE '^(events|leases|endpoints|componentstatuses)(\.|$)')
  kubectl get "${kinds//$'\n'/,}" --all-namespaces --output \
    jsonpath='{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}' | sort -u
}

short_case helm_upgrades_fail_no_mount \
  "three upgrades of the release while pods come and go, the last with a surge: no mount fails"
helm_upgrades_fail_no_mount() {
  serve_by_chart
  upgrades upgrade_chart
}

upgrade_chart() { # upgrade_chart ROUND
  apply_chart --set-string "podAnnotations.round=$1" --set "updateStrategy.rollingUpdate.maxSurge=$(($1 / 3))"
}

short_case helm_says_what_the_driver_lacks \
  "the notes name what the CSIDriver lacks; their own command mends it, and is not said again"
helm_says_what_the_driver_lacks() {
  local before
  before=$(kubectl get csidriver "$driver" --output jsonpath='{.spec.tokenRequests}')
  remove_providers
  kubectl patch csidriver "$driver" --type merge --patch \
    '{"spec": {"requiresRepublish": false, "tokenRequests": [{"audience": "vault", "expirationSeconds": 900}]}}' >/dev/null
  serve_by_chart
  contains 'no tokens for sts.amazonaws.com and pods.eks.amazonaws.com' <"$work/notes.txt" ||
    die "the notes do not name the audiences: $work/notes.txt"
  contains 'are not published anew' <"$work/notes.txt" || die "the notes do not tell of rotation: $work/notes.txt"
  bash -euo pipefail -c "$(sed -n '/^  kubectl patch csidriver/,/^ *$/p' "$work/notes.txt")" >/dev/null ||
    die "the command of the notes fails: $work/notes.txt"
  expect "the audiences" "$(kubectl get csidriver "$driver" --output jsonpath='{.spec.tokenRequests[*].audience}')" \
    "vault sts.amazonaws.com pods.eks.amazonaws.com"
  expect "what else was asked of the first" \
    "$(kubectl get csidriver "$driver" --output jsonpath='{.spec.tokenRequests[0].expirationSeconds}')" 900

  apply_chart
  ! contains '^!' <"$work/notes.txt" || die "the notes still find fault: $work/notes.txt"
  kubectl patch csidriver "$driver" --type merge --patch "{\"spec\": {\"tokenRequests\": $before}}" >/dev/null
  start_pod web db
  wait_ready web
}

short_case helm_restricts_by_policy \
  "a policy among the values is held to; a changed one replaces the pods and counts"
helm_restricts_by_policy() {
  local rule='{"name": "shops", "namespaces": ["shop"], "regions": ["*"], "objects": ["*"]'
  serve_by_chart --set-json "policy.aws=[$rule, \"roles\": []}]"
  start_pod refused db
  wait_for "refusal by the policy" 30 explains refused "RoleNotAllowed: "
  note "$(event_of refused)"
  apply_chart --set-json "policy.aws=[$rule, \"roles\": [\"arn:aws:iam::111122223333:role/shop-*\"]}]"
  wait_for_provider secretmount
  wait_ready refused
}

short_case helm_lets_the_driver_write \
  "with driverWritesSecrets the provider sees nothing of kubelet's directory and need not be root; pods read their secrets"
helm_lets_the_driver_write() {
  put_password hunter2-first >/dev/null
  serve_by_chart --set driverWritesSecrets=true --set ownership.enabled=false
  ! contains " $KUBELET_ROOT/pods " <"/proc/$(pid_of_ours)/mountinfo" || die "kubelet's directory is mounted"
  expect "the capabilities" "$(grep CapEff: "/proc/$(pid_of_ours)/status" | cut -f 2)" 0000000000000000
  start_pod web db
  wait_ready web
  reads web password hunter2-first || die "the container does not read the password"

  delete_pods # a refresh that finds no provider holds up their end
  remove_providers
  chown 65532:65532 "$PROVIDERS_DIR"
  serve_by_chart --set driverWritesSecrets=true --set ownership.enabled=false --set securityContext.runAsUser=65532 \
    --set securityContext.runAsGroup=65532 --set securityContext.runAsNonRoot=true
  expect "the user" "$(awk '/^Uid:/ { print $2 }' "/proc/$(pid_of_ours)/status")" 65532
  start_pod another db
  wait_ready another
  reads another password hunter2-first || die "the container does not read the password"
  delete_pods
  remove_providers
  chown root:root "$PROVIDERS_DIR"
}

short_case helm_test_finds_the_fault \
  "helm test names a fault of the installation and, once that is mended, finds none; then nothing is left of it"
helm_test_finds_the_fault() {
  local before
  serve_by_chart
  before=$(kubectl get csidriver "$driver" --output jsonpath='{.spec.tokenRequests}')
  kubectl patch csidriver "$driver" --type merge --patch \
    '{"spec": {"tokenRequests": [{"audience": "vault"}]}}' >/dev/null
  ! helm_test || die "helm test finds no fault: $work/helm-test.txt"
  contains pods.eks.amazonaws.com <"$work/helm-test.txt" || die "helm test does not name the audience: $work/helm-test.txt"
  system get pod secretmount-check >/dev/null || die "the pod that has found the fault is gone, and its log with it"

  kubectl patch csidriver "$driver" --type merge --patch "{\"spec\": {\"tokenRequests\": $before}}" >/dev/null
  helm_test || die "helm test finds fault: $work/helm-test.txt"
  expect "what is left of it" "$({
    system get pods,serviceaccounts --output name
    kubectl get clusterroles,clusterrolebindings --output name
  } | grep secretmount-check || true)" ""
}

helm_test() { helm test secretmount --namespace kube-system --timeout 2m >"$work/helm-test.txt" 2>&1; }
