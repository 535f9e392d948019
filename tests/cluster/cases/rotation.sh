# shellcheck shell=bash
# A secret changes while its pod runs.
# shellcheck disable=SC2154 # assigned by the rig's common.sh

short_case a_new_value_arrives_where_the_provider_writes \
  "a new value arrives in the running container with a new version; refreshes without a change write nothing, and within --max-age ask nothing"
a_new_value_arrives_where_the_provider_writes() {
  max_age=60s # the default
  serve_ours
  a_new_value_arrives
}

short_case a_new_value_arrives_where_the_driver_writes \
  "the same where the driver writes the files"
a_new_value_arrives_where_the_driver_writes() {
  max_age=60s
  serve_official_shape --driver-writes-secrets=true
  a_new_value_arrives
}

a_new_value_arrives() {
  local db key stamps
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  db=$(version_of web password) key=$(version_of web api-key)
  put_password hunter2-second >/dev/null
  wait_for "new value" "$refresh_limit" reads web password hunter2-second
  wait_for "new version" 30 version_differs web password "$db"
  expect "the version of the other secret" "$(version_of web api-key)" "$key"

  stamps=$(stamps_in web)
  devcloud DELETE calls >/dev/null
  wait_for_publishes web 3
  expect "inodes and times after three refreshes" "$(stamps_in web)" "$stamps"
  # At the intervals of real clusters what was read is older than --max-age when a refresh comes.
  expect "what three refreshes call" "$(calls_made | cut -d ' ' -f 1)" "${intervals_are_real:+GetSecretValue}"
}

version_differs() { [[ $(version_of "$1" "$2") != "$3" ]]; } # version_differs POD FILE VERSION

stamps_in() { in_pod "$1" 'stat -L -c "%n %i %y" *'; }

short_case a_file_mounted_with_subpath_stays_as_it_was \
  "a file that a container has by subPath starts right and stays as it was while the directory changes"
a_file_mounted_with_subpath_stays_as_it_was() {
  put_password hunter2-first >/dev/null
  start_pod one db web "" "" "{name: secrets, mountPath: /one/password, subPath: password, readOnly: true}"
  wait_ready one
  reads one /one/password hunter2-first || die "the container does not read the password by subPath"
  put_password hunter2-second >/dev/null
  wait_for "new value" "$refresh_limit" reads one password hunter2-second
  expect "the file that was mounted with subPath" "$(in_pod one 'cat /one/password')" hunter2-first
}

short_case who_watches_a_volume_hears_of_a_change_once \
  "a container that watches the directory hears of ..data once a change; a watch of a file ends with it"
who_watches_a_volume_hears_of_a_change_once() {
  local watch heard=$work/heard.txt
  put_password hunter2-first >/dev/null
  start_pod web db
  wait_ready web
  "$tests/support/watch.py" "$(pid_in web)" /secrets /secrets/password >"$heard" &
  watch=$!
  wait_for "the watch" 10 grep ready "$heard"
  wait_for_publishes web 2
  expect "what refreshes without a change are heard as" "$(sort -u "$heard")" "/secrets ATTRIB"$'\n'"ready"
  put_password hunter2-second >/dev/null
  wait_for "new value" "$refresh_limit" reads web password hunter2-second
  wait_for_publishes web 1
  kill "$watch"
  wait "$watch" 2>/dev/null || true
  expect "how often ..data is moved to" "$(grep -c '^/secrets MOVED_TO \.\.data$' "$heard")" 1
  expect "what is heard of names" "$(grep '^/secrets [A-Z_]* [^.]' "$heard" || true)" ""
  contains '^/secrets/password DELETE_SELF' <"$heard" || die "the watch of a file hears nothing: $heard"
}
