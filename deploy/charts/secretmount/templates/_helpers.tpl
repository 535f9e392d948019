{{/* Where a text of the user's is a value in YAML, it goes through toYaml or quote: one like 1234 must stay a text. */}}
{{- define "secretmount.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name where it says what this is, as the official chart has it. */}}
{{- define "secretmount.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "secretmount.selectorLabels" -}}
app.kubernetes.io/name: {{ include "secretmount.name" . | toYaml }}
app.kubernetes.io/instance: {{ .Release.Name | toYaml }}
{{- end }}

{{/* Of objects. No label of the user's takes the place of one that others look for. */}}
{{- define "secretmount.labels" -}}
{{- $ours := include "secretmount.selectorLabels" . | fromYaml }}
{{- $_ := set $ours "app.kubernetes.io/version" (.Chart.AppVersion | toString) }}
{{- $_ := set $ours "app.kubernetes.io/component" "provider" }}
{{- $_ := set $ours "app.kubernetes.io/part-of" "secrets-store-csi-driver" }}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- merge $ours (default dict .Values.commonLabels) | toYaml }}
{{- end }}

{{- define "secretmount.serviceAccountName" -}}
{{- default (include "secretmount.fullname" .) .Values.rbac.serviceAccountName }}
{{- end }}

{{- define "secretmount.image" -}}
{{- $image := .Values.image.repository }}
{{- with (.Values.global).imageRegistry }}
{{- $image = printf "%s/%s" (trimSuffix "/" .) $image }}
{{- end }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $image .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag | toString) }}
{{- end }}
{{- end }}

{{/* Names and objects with names, as different charts take them. */}}
{{- define "secretmount.imagePullSecrets" -}}
{{- range concat (default list (.Values.global).imagePullSecrets) (default list .Values.imagePullSecrets) | uniq }}
- name: {{ if kindIs "map" . }}{{ .name | toYaml }}{{ else }}{{ toYaml . }}{{ end }}
{{- end }}
{{- end }}

{{/* The driver's directories, each once. */}}
{{- define "secretmount.providerVolumes" -}}
{{- $paths := list }}
{{- range prepend (default list .Values.additionalProviderVolumes) .Values.providerVolume }}
{{- $paths = append $paths (trimSuffix "/" .) }}
{{- end }}
{{- $paths | uniq | toYaml }}
{{- end }}

{{/* A pod that the startup taint keeps off would never take it away. */}}
{{- define "secretmount.tolerations" -}}
{{- $tolerations := default list .Values.tolerations }}
{{- if .Values.startupTaint.enabled }}
{{- $toleratesAll := false }}
{{- range $tolerations }}
{{- if and (eq (default "" .operator) "Exists") (not .key) (not .effect) }}
{{- $toleratesAll = true }}
{{- end }}
{{- end }}
{{- if not $toleratesAll }}
{{- $tolerations = append $tolerations (dict "key" .Values.startupTaint.key "operator" "Exists") }}
{{- end }}
{{- end }}
{{- with $tolerations }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{/* The user's take the place of ours. */}}
{{- define "secretmount.podAnnotations" -}}
{{- $ours := dict "kubectl.kubernetes.io/default-container" "secretmount" }}
{{- if and .Values.metrics.enabled (not .Values.podMonitor.enabled) (not .Values.serviceMonitor.enabled) }}
{{- $_ := set $ours "prometheus.io/scrape" "true" }}
{{- $_ := set $ours "prometheus.io/port" (.Values.metrics.port | toString) }}
{{- end }}
{{- with .Values.policy }}
{{- $_ := set $ours "checksum/policy" (toYaml . | sha256sum) }}
{{- end }}
{{- merge (dict) (default dict .Values.podAnnotations) $ours | toYaml }}
{{- end }}

{{- define "secretmount.verifiesByReview" -}}
{{- if has (default "" .Values.tokenVerification) (list "" "auto" "token-review") }}yes{{ end }}
{{- end }}

{{- define "secretmount.isOpenShift" -}}
{{- $wanted := .Values.openshift.scc | toString }}
{{- if or (eq $wanted "true") (and (eq $wanted "detect") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) }}yes{{ end }}
{{- end }}

{{/* On OpenShift SELinux keeps other types from the driver's directory. */}}
{{- define "secretmount.podSecurityContext" -}}
{{- $context := deepCopy (default dict .Values.podSecurityContext) }}
{{- if include "secretmount.isOpenShift" . }}
{{- $_ := set $context "seLinuxOptions" (merge (default dict $context.seLinuxOptions) (dict "type" "spc_t")) }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- define "secretmount.securityContext" -}}
{{- $context := deepCopy (default dict .Values.securityContext) }}
{{- if .Values.ownership.enabled }}
{{- $capabilities := default dict $context.capabilities }}
{{- $_ := set $capabilities "add" (append (default list $capabilities.add) "CHOWN" | uniq) }}
{{- $_ := set $context "capabilities" $capabilities }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{- define "secretmount.surges" -}}
{{- $none := list "0" "0%" }}
{{- $surge := default 0 (.Values.updateStrategy.rollingUpdate).maxSurge | toString }}
{{- if and (eq .Values.updateStrategy.type "RollingUpdate") (not (has $surge $none)) }}yes{{ end }}
{{- end }}

{{/* Both greater than zero is refused by the API server, and so is anything beside another type. */}}
{{- define "secretmount.updateStrategy" -}}
{{- $strategy := deepCopy .Values.updateStrategy }}
{{- if ne $strategy.type "RollingUpdate" }}
{{- $strategy = omit $strategy "rollingUpdate" }}
{{- else if include "secretmount.surges" . }}
{{- $_ := set $strategy.rollingUpdate "maxUnavailable" 0 }}
{{- end }}
{{- toYaml $strategy }}
{{- end }}

{{/* Whether an object of the Prometheus Operator is wanted, and can be. Takes the chart's root and the values of the kind. */}}
{{- define "secretmount.rendersMonitoring" -}}
{{- $root := index . 0 }}
{{- $kind := index . 1 }}
{{- $values := index . 2 }}
{{- if $values.enabled }}
{{- $known := $root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" $kind) }}
{{- if or $known (eq $values.renderMode "alwaysRender") }}yes
{{- else if eq $values.renderMode "failIfMissing" }}
{{- fail (printf "the cluster does not know the kind %s: install the Prometheus Operator first, or set renderMode to skipIfMissing" $kind) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "secretmount.scrape" -}}
- port: metrics
  path: /metrics
  interval: {{ .interval }}
  relabelings:
    - sourceLabels: [__meta_kubernetes_pod_node_name]
      targetLabel: node
    {{- with .relabelings }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .metricRelabelings }}
  metricRelabelings:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{/* What the schema cannot say: values that make no sense together. */}}
{{- define "secretmount.validate" -}}
{{- if (index .Values "secrets-store-csi-driver" | default dict).install }}
{{- fail (printf `

secrets-store-csi-driver.install: this chart does not bring the driver. It would go with this release, and with it every
mounted volume's care. Install it by itself, and then set this value to false:

  1. helm repo add secrets-store-csi-driver https://kubernetes-sigs.github.io/secrets-store-csi-driver/charts
     helm upgrade --install csi-secrets-store secrets-store-csi-driver/secrets-store-csi-driver --namespace kube-system \
       --set enableSecretRotation=true \
       --set 'tokenRequests[0].audience=sts.amazonaws.com' --set 'tokenRequests[1].audience=pods.eks.amazonaws.com'
  2. helm upgrade --install %s CHART --namespace %s --set secrets-store-csi-driver.install=false

Where the official provider's release brought the driver, docs/migrate-from-ascp.md says how to keep it.
` .Release.Name .Release.Namespace) }}
{{- end }}
{{- if hasSuffix "secrets-store-csi-driver-provider-aws" .Values.image.repository }}
{{- fail (printf "image.repository: %s is the official provider, which this chart cannot start; remove it from the values, or name the repository that has secretmount" .Values.image.repository) }}
{{- end }}
{{- if and .Values.podMonitor.enabled .Values.serviceMonitor.enabled }}
{{- fail "podMonitor and serviceMonitor: every number would be read twice; enable one of them" }}
{{- end }}
{{- if and (or .Values.podMonitor.enabled .Values.serviceMonitor.enabled) (not .Values.metrics.enabled) }}
{{- fail "podMonitor and serviceMonitor read what metrics.enabled serves; set it to true" }}
{{- end }}
{{- if and .Values.caBundle.configMap .Values.caBundle.secret }}
{{- fail "caBundle: set configMap or secret, not both" }}
{{- end }}
{{- if and .Values.metrics.enabled (eq (int .Values.port) (int .Values.metrics.port)) }}
{{- fail (printf "port and metrics.port are both %d; choose another for one of them" (int .Values.port)) }}
{{- end }}
{{- if and (not .Values.driverWritesSecrets) (ne (int (.Values.securityContext).runAsUser) 0) }}
{{- fail (printf "securityContext.runAsUser: kubelet's directory is root's, so user %d cannot write there; leave it 0, or set driverWritesSecrets to true" (int (.Values.securityContext).runAsUser)) }}
{{- end }}
{{- if and .Values.hostNetwork (include "secretmount.surges" .) }}
{{- fail "updateStrategy.rollingUpdate.maxSurge: with hostNetwork the new pod waits for the ports of the old one, and the old one for the new pod; leave one of the two out" }}
{{- end }}
{{- if and .Values.driverWritesSecrets .Values.ownership.enabled }}
{{- fail "ownership: the driver writes the files, and gives none away; set ownership.enabled or driverWritesSecrets, not both" }}
{{- end }}
{{- end }}
