# shellcheck shell=bash
# What a class can say that the official provider does not know.
# shellcheck disable=SC2154 # assigned by the rig's common.sh

short_case a_class_of_new_keys_is_served_where_the_provider_writes \
  "keys of a secret, a file made of them, and a secret that comes and goes: all of it arrives in the running container"
a_class_of_new_keys_is_served_where_the_provider_writes() {
  a_class_of_new_keys_is_served
  delete_secret shop/flag
  wait_for "end of the file" "$refresh_limit" has_only perhaps ""
}

short_case a_class_of_new_keys_is_served_where_the_driver_writes \
  "the same where the driver writes the files, but that it leaves the last one there"
a_class_of_new_keys_is_served_where_the_driver_writes() {
  serve_official_shape --driver-writes-secrets=true
  a_class_of_new_keys_is_served
  delete_secret shop/flag
  wait_for "absence in the versions" "$refresh_limit" is_noted perhaps flag absent
  wait_for "end of the file beside others" "$refresh_limit" has_only beyond "app.env password user"
  expect "files of the pod that had one" "$(files_of perhaps)" flag
}

a_class_of_new_keys_is_served() {
  put_secret shop/env '{"user": "shop", "password": "hunter2-first"}' >/dev/null
  delete_secret shop/flag
  start_pod beyond beyond
  start_pod perhaps perhaps
  wait_ready beyond
  wait_ready perhaps
  expect "files" "$(files_of beyond)" "app.env password user"
  expect "the file that is made" "$(in_pod beyond 'cat app.env')" $'password=hunter2-first\nuser=shop'
  expect "the version of what is not there" "$(version_of beyond flag)" absent
  expect "files of a pod without any" "$(files_of perhaps)" ""

  put_secret shop/flag hunter2-flag >/dev/null
  wait_for "the optional secret" "$refresh_limit" has_only beyond "app.env flag password user"
  wait_for "the optional secret where it is the only one" "$refresh_limit" has_only perhaps flag
  put_secret shop/env '{"user": "shop", "token": "hunter2-second"}' >/dev/null
  wait_for "a key for another" "$refresh_limit" has_only beyond "app.env flag token user"
  expect "the file that is made" "$(in_pod beyond 'cat app.env')" $'flag=hunter2-flag\ntoken=hunter2-second\nuser=shop'
  put_secret shop/env '{"user": "shop", "password": "hunter2-third"}' >/dev/null
  wait_for "the key of before" "$refresh_limit" has_only beyond "app.env flag password user"
}

files_of() { in_pod "$1" 'for file in *; do [ ! -e "$file" ] || echo "$file"; done' | paste -sd ' '; } # files_of POD
has_only() { [[ $(files_of "$1") == "$2" ]]; } # has_only POD FILES
is_noted() { [[ $(version_of "$1" "$2") == "$3" ]]; } # is_noted POD FILE VERSION
delete_secret() { devcloud DELETE "secrets/$region?name=$1" >/dev/null 2>&1 || true; } # delete_secret NAME: if it is there
