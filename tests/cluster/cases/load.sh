# shellcheck shell=bash
# Many pods, many secrets: how long it takes, and what it costs AWS and the API server. With --peer, beside the peer.
# shellcheck disable=SC2154 # assigned by the rig's common.sh, or by run

long_case a_hundred_pods_at_once \
  "a hundred pods at once start with their secrets; ten rounds of refreshes ask AWS and the API server next to nothing"
a_hundred_pods_at_once() {
  remove_providers
  apply_ours_beside_peer
  serving="ours, beside a peer"
  hundred_pods ours
  [[ -n $peer ]] || return 0
  delete_pods
  remove_providers
  apply_peer
  serving=peer
  hundred_pods peer
}

hundred_pods() { # hundred_pods WHOSE
  local began number
  put_password hunter2-first >/dev/null
  devcloud DELETE calls >/dev/null
  began=$(milliseconds)
  start_pods crowd 100 db
  shop rollout status deployment/crowd --timeout 300s >/dev/null
  note "$1: a hundred pods are ready after $((($(milliseconds) - began) / 1000)) s"
  number=$(shop get pods --selector app=crowd --output name | wc -l)
  expect "pods" "$number" 100
  no_mount_failed
  note "$1: calls of the start: $(calls_made | tr '\n' ' ')"

  devcloud DELETE calls >/dev/null
  api_calls >"$work/api-calls"
  began=$(published_volumes)
  ten_rounds() { (($(published_volumes) >= began + 1000)); }
  wait_for "ten rounds of refreshes" 1800 ten_rounds
  note "$1: calls to AWS in ten rounds: $(calls_made | tr '\n' ' ')"
  note "$1: calls to the API server in ten rounds: $(api_calls | paste - "$work/api-calls" |
    awk '{ printf "%s %d ", $1, $2 - $4 }')"
  shop delete deployment crowd --timeout 120s >/dev/null
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }
published_volumes() { grep -c '"node publish volume complete"' "$logs/csi-driver.log" || true; }

# What a provider may ask for while it mounts, of everybody.
api_calls() {
  local metrics
  metrics=$(kubectl get --raw /metrics)
  for resource in serviceaccounts nodes pods tokenreviews; do
    grep "^apiserver_request_total{.*resource=\"$resource\".*verb=\"\(GET\|POST\)\"" <<<"$metrics" |
      awk -v name="$resource" '{ sum += $2 } END { print name, sum + 0 }'
  done
}

long_case pods_start_soon_with_many_secrets \
  "how long a mount takes with 1, 10 and 50 secrets where AWS answers after 20 ms"
pods_start_soon_with_many_secrets() {
  local count round
  for number in {1..50}; do
    put_secret "shop/many-$number" "hunter2-$number" >/dev/null
  done
  for count in 1 10 50; do
    many_secrets "$count" | kubectl apply --filename - >/dev/null
  done
  devcloud PUT 'latency?ms=20' >/dev/null
  rm -f "$work"/mounts-*
  for round in 1 2 3; do
    remove_providers
    apply_ours_beside_peer
    time_mounts ours "$round"
    remove_providers
    [[ -n $peer ]] || continue
    apply_peer
    time_mounts peer "$round"
  done
  remove_providers
  devcloud DELETE latency >/dev/null
  for count in 1 10 50; do
    note "$count secrets: ours $(median "$work/mounts-ours-$count") ms${peer:+, peer $(median "$work/mounts-peer-$count") ms}"
  done
}

many_secrets() { # many_secrets COUNT
  cat <<YAML
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: many-$1, namespace: shop}
spec:
  provider: aws
  parameters:
    region: $region
    objects: |
YAML
  for number in $(seq "$1"); do
    echo "      - {objectName: shop/many-$number, objectType: secretsmanager}"
  done
}

# Of the driver's first call for each pod, which kubelet waits for; three pods one after the other.
time_mounts() { # time_mounts WHOSE ROUND
  local count number pod
  for count in 1 10 50; do
    for number in 1 2 3; do
      pod=timed-$1-$2-$count-$number
      start_pod "$pod" "many-$count"
      wait_ready "$pod"
      driver_log | sed -n "s/.*\"node publish volume complete\".* pod=\"shop\/$pod\" time=\"\([^\"]*\)\".*/\1/p" |
        sed -n 1p | in_milliseconds >>"$work/mounts-$1-$count"
    done
  done
  delete_pods
}

in_milliseconds() { # Go's durations: 1.5s, 12.3ms, 900µs
  sed -e 's/^\([0-9.]*\)s$/\1 1000/; s/^\([0-9.]*\)ms$/\1 1/; s/^\([0-9.]*\)µs$/\1 0.001/' | awk '{ printf "%.1f\n", $1 * $2 }'
}

median() { sort -n "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; } # median FILE
