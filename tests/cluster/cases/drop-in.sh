# shellcheck shell=bash
# In the place of the official provider, with its manifests and classes.

short_case the_official_shape_serves \
  "the official provider's DaemonSet (flags, rules, limits, grace) with our image serves, in the Region of the node"
the_official_shape_serves() {
  local inode
  start_pod web db
  wait_ready web
  inode=$(inode_of web password)
  serve_official_shape
  start_pod no-region no-region
  wait_ready no-region
  reads no-region api-key hunter2-key || die "the container does not read the API key"
  wait_for_publishes web 2
  expect "the file's inode after the switch" "$(inode_of web password)" "$inode"
}

short_case every_official_form_where_the_provider_writes \
  "every form of class that the official documentation teaches starts its pod, IRSA and Pod Identity"
every_official_form_where_the_provider_writes() {
  serve_official_shape
  every_official_form provider
}

short_case every_official_form_where_the_driver_writes \
  "the same where the driver writes the files"
every_official_form_where_the_driver_writes() {
  serve_official_shape --driver-writes-secrets=true
  every_official_form driver
}

# The official provider cannot write names with slashes, and of several versions of one parameter it writes one: see
# `real-directories` and `versions-of-one-parameter` in docs/migrate-from-ascp.md.
peer_case every_official_form_where_the_peer_writes \
  "the same files and modes where the peer writes, but for names with slashes and a second version of a parameter"
every_official_form_where_the_peer_writes() {
  remove_providers
  apply_peer
  serving=peer
  every_official_form peer '^translation-off \|^versions by-number '
}

# One pod for each form, all at once: what each container sees is compared.
every_official_form() { # every_official_form WRITER [PATTERN]: but for the lines that it matches
  local form account made standby expected
  local forms
  expected=$(grep -v "${2:-^$}" "$tests/expected/official-forms.txt")
  mapfile -t forms < <(cut -d ' ' -f 1 <<<"$expected" | uniq)
  made=$(put_secret MySecret '{"username": "testuser", "password": "first"}')
  put_secret MySecret '{"username": "testuser", "password": "second", "hyphenated-path": "dashed"}' >/dev/null
  standby=$(put_secret MySecret '{"username": "standby"}' "$failover_region")
  sed -e "s|MYSECRET_ARN|$(field arn "$made")|; s|MYSECRET_VERSION|$(field version_id "$made")|" \
    -e "s|STANDBY_ARN|$(field arn "$standby")|" "$tests/manifests/official-forms.yaml" | kubectl apply --filename - >/dev/null
  for form in "${forms[@]}"; do
    account=nginx-irsa
    [[ $form != pod-identity* ]] || account=nginx-pod-identity
    start_pod "$form" "$form" "$account"
  done
  for form in "${forms[@]}"; do
    wait_ready "$form" || die "form $form: $(event_of "$form")"
    seen_in "$form" "$form"
  done >"$work/official-forms-$1.txt"
  expect "what the forms become where the $1 writes" "$(cat "$work/official-forms-$1.txt")" "$expected"
  note "${#forms[@]} forms"
}
