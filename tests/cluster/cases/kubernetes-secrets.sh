# shellcheck shell=bash
# The driver makes Kubernetes Secrets of our files, and others hash the versions that it notes.
# shellcheck disable=SC2154 # assigned by the rig's common.sh

short_case secret_objects_become_secrets \
  "secretObjects become Secrets, kubernetes.io/tls too, and follow a rotation"
secret_objects_become_secrets() {
  put_password hunter2-first >/dev/null
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=shop.example \
    -keyout "$work/tls.key" -out "$work/tls.crt" 2>/dev/null
  put_secret shop/tls "{\"crt\": \"$(one_line "$work/tls.crt")\", \"key\": \"$(one_line "$work/tls.key")\"}" >/dev/null
  start_pod synced synced
  wait_ready synced
  wait_for "Secret db" 30 secret_holds db password hunter2-first
  wait_for "Secret tls" 30 secret_holds tls 'tls\.crt' "$(cat "$work/tls.crt")"
  expect "the type of the Secret" "$(shop get secret tls --output jsonpath='{.type}')" kubernetes.io/tls
  secret_value tls 'tls\.key' | openssl pkey -noout 2>/dev/null || die "the Secret has no private key"
  put_password hunter2-second >/dev/null
  wait_for "new value in the Secret" "$refresh_limit" secret_holds db password hunter2-second
}

one_line() { awk '{ printf "%s\\n", $0 }' "$1"; } # a PEM file within a JSON string
secret_value() { shop get secret "$1" --output jsonpath="{.data.$2}" | base64 -d; }
secret_holds() { [[ $(secret_value "$1" "$2") == "$3" ]]; }

short_case noted_versions_change_once_a_rotation_where_the_provider_writes \
  "ids and versions in SecretProviderClassPodStatus, which Reloader hashes, change once a rotation and never without one"
noted_versions_change_once_a_rotation_where_the_provider_writes() {
  noted_versions_change_once_a_rotation app.kubernetes.io/name=secretmount secretmount
}

short_case noted_versions_change_once_a_rotation_where_the_driver_writes \
  "the same where the driver writes the files"
noted_versions_change_once_a_rotation_where_the_driver_writes() {
  serve_official_shape --driver-writes-secrets=true
  noted_versions_change_once_a_rotation app=csi-secrets-store-provider-aws csi-secrets-store-provider-aws
}

statuses=/apis/secrets-store.csi.x-k8s.io/v1/namespaces/shop/secretproviderclasspodstatuses

# Restarts of the provider included.
noted_versions_change_once_a_rotation() { # noted_versions_change_once_a_rotation SELECTOR DAEMONSET
  local watch before after
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  before=$(noted)
  kubectl get --raw "$statuses?watch=true&resourceVersion=0&timeoutSeconds=3600" >"$work/noted.json" &
  watch=$!
  wait_for_publishes web 1
  restart_providers "$1" "$2"
  wait_for_publishes web 1
  put_password hunter2-second >/dev/null
  wait_for "new value" "$refresh_limit" reads web password hunter2-second
  wait_for_publishes web 1
  restart_providers "$1" "$2"
  wait_for_publishes web 1
  after=$(noted)
  kill "$watch"
  wait "$watch" 2>/dev/null || true
  expect "what was noted, in turn" "$(grep -o '"objects":\[[^]]*\]' "$work/noted.json" | uniq)" "$before"$'\n'"$after"
  [[ $before != "$after" ]] || die "a rotation changes no version"
}

# The pod is the only one.
noted() { kubectl get --raw "$statuses" | grep -o '"objects":\[[^]]*\]'; }
