# shellcheck shell=bash
# Pods of the shop, and what their users see.
# shellcheck disable=SC2154 # assigned by the rig's common.sh

refresh_limit=300 # seconds; with the intervals of real clusters, three and a half minutes can pass

shop() { kubectl --namespace shop "$@"; }

# A pod that has the class at /secrets. SECRET has AWS keys, COMMAND is run instead of sleep, MOUNT is one more place where the
# volume is mounted; what is empty is as if it were left out.
pod() { # pod NAME CLASS [ACCOUNT [SECRET [COMMAND [MOUNT]]]]
  cat <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  serviceAccountName: ${3:-web}
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: $busybox_image
      resources: {limits: {cpu: 300m}, requests: {cpu: 1m}} # some read as fast as they can
      command: ${5:-[/bin/sleep, inf]}
      volumeMounts:
        - {name: secrets, mountPath: /secrets, readOnly: true}
        ${6:+- $6}
  volumes:
    - name: secrets
      csi:
        driver: $driver
        readOnly: true
        volumeAttributes: {secretProviderClass: $2}
        nodePublishSecretRef: ${4:+{name: $4\}}
YAML
}

start_pod() { pod "$@" | shop apply --filename - >/dev/null; } # as pod

start_pods() { # start_pods NAME REPLICAS CLASS: a Deployment of them
  {
    cat <<YAML
apiVersion: apps/v1
kind: Deployment
metadata: {name: $1}
spec:
  replicas: $2
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
YAML
    pod "$1" "$3" | sed -n '/^spec:/,$s/^/    /p'
  } | shop apply --filename - >/dev/null
}

wait_ready() { shop wait "pod/$1" --for condition=Ready --timeout 120s >/dev/null; }
in_pod() { shop exec "$1" -- sh -c "cd /secrets && $2"; }
reads() { [[ $(in_pod "$1" "cat $2") == "$3" ]]; }
pid_of() { ctr tasks list | awk -v id="${1##*/}" '$1 == id { print $2 }'; } # pid_of CONTAINER_ID, as Kubernetes has it
pid_in() { pid_of "$(shop get pod "$1" --output jsonpath='{.status.containerStatuses[0].containerID}')"; } # pid_in POD
uid_of() { shop get pod "$1" --output jsonpath='{.metadata.uid}'; }
inode_of() { in_pod "$1" "stat -L -c %i $2"; }

seen_in() { # seen_in POD FORM: form, path, mode and content of each file
  # shellcheck disable=SC2016 # the container's shell expands it
  in_pod "$1" 'find * -follow -type f ! -name "..*" | sort | while read -r file; do
    echo "'"$2"' $file $(stat -L -c %a "$file") $(cat "$file")"; done'
}

# How often each failed, and why; not of the volume that kubelet itself makes for a token.
failed_mounts() { # failed_mounts [POD]
  shop get events --field-selector "reason=FailedMount${1:+,involvedObject.name=$1}" --output \
    jsonpath='{range .items[*]}{.count} {.involvedObject.name}: {.message}{"\n"}{end}' |
    { grep 'volume "secrets"' || true; }
}
event_of() { failed_mounts "$1" | tail -n 1; } # event_of POD
explains() { shop describe pod "$1" | contains "$2"; }

version_of() { # version_of POD FILE, as the driver has noted it
  shop get secretproviderclasspodstatuses --output \
    jsonpath="{.items[?(@.status.podName=='$1')].status.objects[?(@.id=='$2')].version}"
}

# How often kubelet has had a volume of the pod published, as the driver tells it. With files that the provider writes, calls
# within the driver's poll interval do not reach it; with files that the driver writes, all do.
publishes_of() { grep -c "\"node publish volume complete\".* pod=\"shop/$1\"" "$logs/csi-driver.log" || true; }
was_published() { (($(publishes_of "$1") >= $2)); }
wait_for_publishes() { # wait_for_publishes POD TIMES
  local goal=$(($(publishes_of "$1") + $2))
  wait_for "refresh of $1" $((refresh_limit * $2)) was_published "$1" "$goal"
}

nothing_mounted() { ! mounts_below "$KUBELET_ROOT/pods" | contains 'kubernetes.io~csi'; }
is_unmounted() { # is_unmounted UID
  [[ -z $(mounts_below "$KUBELET_ROOT/pods/$1") && ! -e $KUBELET_ROOT/pods/$1 ]]
}

delete_pods() { # delete_pods: all of the shop, and waits until none has a volume; kubelet lets a mount end that has begun
  shop delete pods --all --timeout 60s >/dev/null
  wait_for "unmount of all volumes" 150 nothing_mounted
}
