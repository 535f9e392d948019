# shellcheck shell=bash
# The provider on the node, from the manifests that users have.
# shellcheck disable=SC2154 # assigned by the rig's common.sh, or by run

image=localhost/secretmount:cluster-test
stand_in_image=localhost/official-stand-in:cluster-test
peer_image=localhost/peer:cluster-test
beside_peer_image=localhost/secretmount:beside-peer
peer=        # the program of another provider, see --peer
peer_served= # whether the case that runs has let it serve
authorities=/etc/ssl/certs/ca-certificates.crt
max_age=
serving= # what runs now: "ours, 2s", "official shape, 2s, --flag"

static_binary() { # prints the path of the provider
  local triple
  if [[ -n ${SECRETMOUNT_BINARY:-} ]]; then
    [[ -x $SECRETMOUNT_BINARY ]] || die "SECRETMOUNT_BINARY: $SECRETMOUNT_BINARY is no program"
    [[ $(ldd "$SECRETMOUNT_BINARY" 2>&1) != *"=>"* ]] || die "SECRETMOUNT_BINARY: $SECRETMOUNT_BINARY is not static"
    echo "$SECRETMOUNT_BINARY"
    return
  fi
  triple=$(uname -m)-unknown-linux-musl
  command -v musl-gcc >/dev/null || die "musl-gcc is missing: apt-get install musl-tools"
  [[ -d $(rustc --print sysroot)/lib/rustlib/$triple ]] || die "a Rust target is missing: rustup target add $triple"
  say "building the release (first time: minutes)"
  build --release --target "$triple" --package secretmount
  echo "$target/$triple/release/secretmount"
}

build() { (cd "$root" && cargo build --quiet "$@") >&2 || die "cargo build failed"; }

import_image() { # import_image NAME BINARY [AUTHORITIES]
  local rootfs=$work/rootfs
  rm -rf "$rootfs"
  install -D -m 0755 "$2" "$rootfs/provider"
  install -D -m 0644 "${3:-$authorities}" "$rootfs$authorities"
  "$rig/image" "$1" "$rootfs" /provider
  rm -rf "$rootfs"
}

system() { kubectl --namespace kube-system "$@"; }

# Each of these leaves what it finds, where that is what it would start.
serve_ours() { serve "ours, $max_age" apply_ours; }
serve_official_shape() { serve "official shape, $max_age${1:+, $1}" apply_official_shape "$@"; } # serve_official_shape [FLAG]

serve() { # serve NAME COMMAND...
  local name=$1
  shift
  [[ $serving != "$name" ]] || return 0
  remove_providers
  "$@"
  serving=$name
}

# The manifests as users have them, with the image, the AWS and the directories of this machine.
our_manifest() { # our_manifest IMAGE
  sed -e "s|^\( *\)image: .*|\1image: $1|" \
    -e "s|^\( *\)env:\$|&\n\1  - {name: AWS_ENDPOINT_URL, value: \"$aws_url\"}\n\1  - {name: SECRETMOUNT_MAX_AGE, value: $max_age}|" \
    -e "s| path: /var/run/secrets-store-csi-providers| path: $PROVIDERS_DIR|" \
    -e "s|/var/lib/kubelet|$KUBELET_ROOT|" \
    "$root/deploy/manifests/secretmount.yaml"
}

apply_ours() {
  our_manifest "$image" | kubectl apply --filename - >/dev/null
  wait_for_provider secretmount
}

# As a user installs it. What Helm says is in $work/notes.txt.
serve_by_chart() { # serve_by_chart [FLAG...]
  remove_providers
  apply_chart "$@"
  wait_for_provider secretmount
  serving="the chart"
}

apply_chart() { # apply_chart [FLAG...]
  cat >"$work/values.yaml" <<YAML
image: {repository: ${image%:*}, tag: ${image##*:}}
providerVolume: $PROVIDERS_DIR
kubeletPath: $KUBELET_ROOT
ownership: {enabled: true}
extraEnv:
  - {name: AWS_ENDPOINT_URL, value: "$aws_url"}
  - {name: SECRETMOUNT_MAX_AGE, value: $max_age}
YAML
  helm upgrade --install secretmount "$root/deploy/charts/secretmount" --namespace kube-system \
    --values "$work/values.yaml" "$@" >"$work/notes.txt" || die "helm cannot install the chart"
}

apply_official_shape() { # apply_official_shape [FLAG]
  official_manifest "$image" |
    sed -e "s|args: \[\(.*\)\]|args: [\1${1:+, $1}]|" -e "s|env: \[|&{name: SECRETMOUNT_MAX_AGE, value: $max_age}, |" |
    apply_official
}

official_manifest() { # official_manifest IMAGE
  sed -e "s|IMAGE|$1|; s|AWS_URL|\"$aws_url\"|; s|PROVIDERS_DIR|$PROVIDERS_DIR|; s|KUBELET_ROOT|$KUBELET_ROOT|" \
    "$tests/manifests/official-shape.yaml"
}

apply_official() {
  kubectl apply --filename - >/dev/null
  wait_for_provider csi-secrets-store-provider-aws
}

# --- what stands for the official provider, and what a user has brought

build_stand_in() {
  command -v go >/dev/null || die "go is missing"
  (
    cd "$root/tests/real/driver-client"
    CGO_ENABLED=0 go build -buildvcs=false -o "$target/official-stand-in" ./official-stand-in
  ) || die "the stand-in cannot be built"
  import_image "$stand_in_image" "$target/official-stand-in"
}

# Its values are in $work/official.
apply_stand_in() {
  official_manifest "$stand_in_image" |
    sed -e 's|args: \[\(.*\)\]|args: [\1, --source=/source]|' \
      -e 's|^\( *\)- {name: providervol, mountPath.*|&\n\1- {name: source, mountPath: /source, readOnly: true}|' \
      -e "s|^\\( *\\)- {name: providervol, hostPath.*|&\n\1- {name: source, hostPath: {path: $work/official}}|" |
    apply_official
}

# Its chart's CPU limit is not meant for this.
apply_peer() {
  peer_served=yes
  import_image "$peer_image" "$peer" "$work/aws-authority.pem"
  official_manifest "$peer_image" |
    sed '/limits: {cpu/d' | by_the_names_of_aws | apply_official
}

# As the peer: where the two are compared.
apply_ours_beside_peer() {
  import_image "$beside_peer_image" "$binary" "$work/aws-authority.pem"
  our_manifest "$beside_peer_image" | by_the_names_of_aws | kubectl apply --filename - >/dev/null
  wait_for_provider secretmount
}

# AWS is found under the names that it has, and over TLS; its authority is in the image.
by_the_names_of_aws() {
  sed -e '/AWS_ENDPOINT_URL/d' \
    -e "s|^\\( *\\)hostNetwork: false|&\n\1hostAliases: [{ip: $node_address, hostnames: [$(aws_hosts)]}]|"
}

aws_hosts() {
  local service
  for service in sts secretsmanager ssm; do
    printf '%s.%s.amazonaws.com,%s.%s.amazonaws.com,' "$service" "$region" "$service" "$failover_region"
  done | sed 's/,$//'
}

# --- the socket

wait_for_provider() { # wait_for_provider DAEMONSET
  system rollout status "daemonset/$1" --timeout 90s >/dev/null
  wait_for_socket
}

wait_for_socket() { wait_for "the provider's socket" 30 test -S "$PROVIDERS_DIR/aws.sock"; }

remove_providers() {
  save_log
  remove_chart
  remove_ours
  remove_official
  serving=
}

remove_chart() {
  helm uninstall secretmount --namespace kube-system --ignore-not-found --cascade foreground --wait --timeout 90s >/dev/null
}

remove_ours() { remove "$root/deploy/manifests/secretmount.yaml"; }
remove_official() { remove "$tests/manifests/official-shape.yaml"; }
remove() { kubectl delete --filename "$1" --ignore-not-found --cascade=foreground --timeout 90s >/dev/null; } # remove MANIFEST

restart_providers() { # restart_providers SELECTOR DAEMONSET
  save_log
  system delete pod --selector "$1" --timeout 90s >/dev/null
  wait_for_provider "$2"
}

pid_of_ours() {
  pid_of "$(system get pods --selector app.kubernetes.io/name=secretmount \
    --output jsonpath='{.items[0].status.containerStatuses[0].containerID}')"
}

# Of whichever provider runs. Called before a pod ends, for kubelet removes its log with it.
save_log() {
  local selector
  for selector in app.kubernetes.io/name=secretmount app=csi-secrets-store-provider-aws; do
    system logs --selector "$selector" --tail=-1 >>"$work/provider.log" 2>/dev/null || true
  done
}
