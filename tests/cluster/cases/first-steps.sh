# shellcheck shell=bash
# What a user does on the first day.

short_case a_pod_reads_its_secrets \
  "a class of the official provider gives its files, modes and one-hop links; the driver has their versions"
a_pod_reads_its_secrets() {
  # shellcheck disable=SC2016 # the container's shell expands it
  local show='for name in *; do echo "$name $(readlink $name) $(stat -L -c %a $name)"; done'
  local file
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  reads web password hunter2-first || die "the container does not read the password"
  reads web api-key hunter2-key || die "the container does not read the API key"
  expect "what the container sees" "$(in_pod web "$show")" "api-key ..data/api-key 644
password ..data/password 400
shop_db ..data/shop_db 440
username ..data/username 440"
  expect "the mode of the record" "$(in_pod web 'stat -c %a ..secretmount')" 600
  for file in api-key password shop_db username; do
    [[ -n $(version_of web "$file") ]] || die "the SecretProviderClassPodStatus has no version of $file"
  done
}

short_case what_failed_starts_once_it_is_put_right \
  "a misspelt key and a missing secret are explained; once class and secret are put right, the pods start"
what_failed_starts_once_it_is_put_right() {
  put_password hunter2-first >/dev/null
  start_pod misspelt misspelt
  start_pod missing missing
  wait_for "event of the misspelt key" 30 explains misspelt "JsonKeyNotFound: "
  wait_for "event of the missing secret" 30 explains missing "SecretNotFound: "
  note "$(event_of misspelt)"
  note "$(event_of missing)"

  sed 's/pasword/password/' "$tests/manifests/workload.yaml" | kubectl apply --filename - >/dev/null
  put_secret shop/not-there-yet hunter2-late >/dev/null
  wait_ready misspelt
  wait_ready missing
  reads misspelt password hunter2-first || die "the container of the corrected class does not read the password"
  reads missing shop_not-there-yet hunter2-late || die "the container does not read the secret that came late"
}

short_case the_provider_has_no_powers \
  "the provider may give files away and nothing else, under seccomp, behind a socket for root"
the_provider_has_no_powers() {
  expect "the provider's process" \
    "$(grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' "/proc/$(pid_of_ours)/status" | tr '\t' ' ')" \
    "CapEff: 0000000000000001
CapBnd: 0000000000000001
NoNewPrivs: 1
Seccomp: 2"
  expect "the socket" "$(stat -c '%a %U %F' "$PROVIDERS_DIR/aws.sock")" "600 root socket"
}

short_case a_restart_disturbs_nobody \
  "a restart of the provider disturbs no running pod and rewrites nothing; new pods start"
a_restart_disturbs_nobody() {
  local inode
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  inode=$(inode_of web password)
  save_log
  system delete pod --selector app.kubernetes.io/name=secretmount --timeout 90s >/dev/null
  reads web password hunter2-first || die "the files are gone with the provider"
  wait_for_provider secretmount
  wait_for_publishes web 2
  expect "the file's inode after the restart" "$(inode_of web password)" "$inode"
  start_pod after-restart db
  wait_ready after-restart
  reads after-restart password hunter2-first || die "a pod started after the restart does not read the password"
}

short_case keys_of_a_secret_start_a_pod \
  "AWS keys in the Secret of nodePublishSecretRef start a pod without a role, and their lack is told"
keys_of_a_secret_start_a_pod() {
  shop create secret generic aws-keys --dry-run=client --output yaml --from-literal aws_access_key_id=AKIADEVCLOUDADMIN000 \
    --from-literal aws_secret_access_key=devcloud-admin-secret-key | kubectl apply --filename - >/dev/null
  start_pod with-keys keys nobody aws-keys
  start_pod without-keys keys nobody
  wait_ready with-keys
  reads with-keys api-key hunter2-key || die "a pod with keys in a Secret does not read the API key"
  wait_for "event of the missing keys" 30 explains without-keys "CredentialsMissing: "
}

short_case the_api_server_vouches_for_tokens \
  "with --token-verification=token-review the API server's word starts a pod, with the rights of our manifest"
the_api_server_vouches_for_tokens() {
  save_log
  system set env daemonset/secretmount SECRETMOUNT_TOKEN_VERIFICATION=token-review >/dev/null
  serving="ours, with token-review"
  wait_for_provider secretmount
  start_pod reviewed db
  wait_ready reviewed
  reads reviewed api-key hunter2-key || die "a pod whose token was reviewed does not read the API key"
}

short_case nothing_stays_behind \
  "a deleted pod's volume goes at once; a removed provider leaves no socket"
nothing_stays_behind() {
  local uid
  start_pod web db
  wait_ready web
  uid=$(uid_of web)
  shop delete pod web >/dev/null
  wait_for "unmount" 30 is_unmounted "$uid"
  remove_providers
  [[ ! -e $PROVIDERS_DIR/aws.sock ]] || die "the socket is still there"
}
