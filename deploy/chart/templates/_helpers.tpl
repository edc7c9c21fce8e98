{{/* What stands in several templates: names, labels, and values written as the API server takes them. */}}

{{- define "zen-lead.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "zen-lead.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $whole .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Names of objects beside the first of a kind: the full name, cut so that the ending stays. */}}
{{- define "zen-lead.named" -}}
{{- $ending := index . 1 -}}
{{- printf "%s-%s" (include "zen-lead.fullname" (index . 0) | trunc (int (sub 62 (len $ending))) | trimSuffix "-") $ending -}}
{{- end -}}

{{- define "zen-lead.namespace" -}}
{{- coalesce .Values.namespaceOverride .Values.namespace.name .Release.Namespace -}}
{{- end -}}

{{- define "zen-lead.serviceAccountName" -}}
{{- default (ternary (include "zen-lead.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "zen-lead.lease" -}}
{{- default (printf "%s-zen-lead-controller-leader-election" (include "zen-lead.fullname" .)) .Values.leaderElectionID -}}
{{- end -}}

{{- define "zen-lead.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* One value as text. Helm's numbers are floats, which templates print as 1.6777217e+07; JSON does not. */}}
{{- define "zen-lead.text" -}}
{{- if kindIs "string" . -}}{{ . }}{{- else -}}{{ toJson . }}{{- end -}}
{{- end -}}

{{/* A mapping whose values are text for the API server, however they were written: true, 8080, "x". */}}
{{- define "zen-lead.strings" -}}
{{- $texts := dict -}}
{{- range $key, $value := . -}}
{{- $_ := set $texts $key (include "zen-lead.text" $value) -}}
{{- end -}}
{{- toYaml $texts -}}
{{- end -}}

{{/* What finds the pods. It can never change: a Deployment's selector is fixed. */}}
{{- define "zen-lead.selectorLabels" -}}
app.kubernetes.io/name: {{ include "zen-lead.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels of an object. A list of root context and more labels, which win. */}}
{{- define "zen-lead.labelsWith" -}}
{{- $root := index . 0 -}}
{{- $own := dict "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") -}}
{{- $_ := set $own "app.kubernetes.io/version" $root.Chart.AppVersion -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service -}}
{{- $_ := merge $own (include "zen-lead.selectorLabels" $root | fromYaml) -}}
{{- include "zen-lead.strings" (merge (deepCopy (index . 1)) $own $root.Values.commonLabels) -}}
{{- end -}}

{{- define "zen-lead.labels" -}}
{{- include "zen-lead.labelsWith" (list . dict) -}}
{{- end -}}

{{/* Labels of what belongs to the release and must not be taken for a controller's pod. */}}
{{- define "zen-lead.selectorLabelsOf" -}}
app.kubernetes.io/name: {{ printf "%s-%s" (include "zen-lead.name" (index . 0) | trunc 54 | trimSuffix "-") (index . 1) }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
{{- end -}}

{{- define "zen-lead.labelsOf" -}}
{{- include "zen-lead.labelsWith" (list (index . 0) (include "zen-lead.selectorLabelsOf" . | fromYaml)) -}}
{{- end -}}

{{/* "true" where everything in the cluster is served. */}}
{{- define "zen-lead.clusterWide" -}}
{{- $asked := .Values.rbac.clusterScoped -}}
{{- if .Values.watchNamespaces -}}
{{- if eq (toJson $asked) "true" -}}
{{- fail "rbac.clusterScoped: true asks for the whole cluster, watchNamespaces for a part of it: leave one of them out" -}}
{{- end -}}
{{- else if ne (toJson $asked) "false" -}}
true
{{- end -}}
{{- end -}}

{{/* The namespaces that get a Role, as a JSON list; empty where everything is served. */}}
{{- define "zen-lead.namespaces" -}}
{{- if include "zen-lead.clusterWide" . -}}
[]
{{- else -}}
{{- default (list (include "zen-lead.namespace" .)) .Values.watchNamespaces | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{/* What --watch-namespaces is given. The kubelet fills in zenlead's own namespace. */}}
{{- define "zen-lead.watched" -}}
{{- if not (include "zen-lead.clusterWide" .) -}}
{{- default (list "$(POD_NAMESPACE)") .Values.watchNamespaces | uniq | join "," -}}
{{- end -}}
{{- end -}}

{{/* What makes `zenlead run` do as the values say: a YAML list of arguments. */}}
{{- define "zen-lead.args" -}}
{{- $c := .Values.controller -}}
{{- $most := 1000 -}}
{{- $flags := dict
  "metrics-bind-address" (ternary (printf ":%s" (include "zen-lead.text" .Values.metrics.port)) "0" .Values.metrics.enabled)
  "health-probe-bind-address" (printf ":%s" (include "zen-lead.text" .Values.health.port))
  "leader-elect" (eq .Values.leaderElection.mode "builtin")
  "leader-election-id" (include "zen-lead.lease" .)
  "leader-election-lease-duration" .Values.leaderElection.leaseDuration
  "leader-election-renew-deadline" .Values.leaderElection.renewDeadline
  "leader-election-retry-period" .Values.leaderElection.retryPeriod
  "max-cache-size-per-namespace" $c.maxCacheSizePerNamespace
  "max-concurrent-reconciles" (ternary $most $c.maxConcurrentReconciles (eq (toJson $c.maxConcurrentReconciles) "0"))
  "cache-update-timeout-seconds" $c.cacheUpdateTimeoutSeconds
  "cache-cleanup-interval-seconds" $c.cacheCleanupIntervalSeconds
  "metrics-collection-timeout-seconds" $c.metricsCollectionTimeoutSeconds
  "metrics-per-service" $c.metricsPerService
  "qps" $c.qps
  "burst" $c.burst
  "reconcile-min-interval-ms" $c.reconcileMinIntervalMs
  "retry-initial-delay-ms" $c.retryInitialDelayMs
  "retry-max-delay-ms" $c.retryMaxDelayMs
  "retry-max-attempts" $c.retryMaxAttempts
  "fast-retry-initial-delay-ms" $c.fastRetryInitialDelayMs
  "fast-retry-max-delay-ms" $c.fastRetryMaxDelayMs
  "fast-retry-max-attempts" $c.fastRetryMaxAttempts
  "enable-leader-pod-cache" $c.enableLeaderPodCache
  "leader-pod-cache-ttl-seconds" $c.leaderPodCacheTTLSeconds
  "enable-parallel-api-calls" $c.enableParallelAPICalls
  "write-conditions" $c.writeConditions
  "dry-run" $c.dryRun
  "log-level" $c.logLevel
  "log-format" $c.logFormat
-}}
{{- $args := list "run" -}}
{{- range $flag, $value := $flags -}}
{{- $key := $flag | replace "-" "_" | camelcase | untitle -}}
{{- if not (or (kindIs "invalid" $value) (hasKey $.Values.config $key)) -}}
{{- $args = append $args (printf "--%s=%s" $flag (include "zen-lead.text" $value)) -}}
{{- end -}}
{{- end -}}
{{- if .Values.config -}}
{{- $args = append $args "--config=/etc/zenlead/config.yaml" -}}
{{- end -}}
{{- with include "zen-lead.watched" . -}}
{{- $args = append $args (printf "--watch-namespaces=%s" .) -}}
{{- end -}}
{{- toYaml (concat $args .Values.extraArgs) -}}
{{- end -}}

{{/* The environment: a YAML list. Values are text, however they were written. */}}
{{- define "zen-lead.env" -}}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
{{- range .Values.extraEnv }}
- {{- if hasKey . "value" }}
  {{- toYaml (merge (dict "value" (include "zen-lead.text" .value)) .) | nindent 2 }}
  {{- else }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What a replica asks of the API server where it serves; docs/rbac.md says what each is for. */}}
{{- define "zen-lead.rules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [{{ if not .Values.controller.enableLeaderPodCache }}get, {{ end }}list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.controller.writeConditions }}
- apiGroups: [""]
  resources: [services/status]
  verbs: [patch]
{{- end }}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{/* The Service's port for the probes, which is not that for the metrics. */}}
{{- define "zen-lead.healthPort" -}}
{{- ternary 8082 8081 (eq (int .Values.service.port) 8081) -}}
{{- end -}}

{{/* The subject of all bindings. */}}
{{- define "zen-lead.subjects" -}}
- kind: ServiceAccount
  name: {{ include "zen-lead.serviceAccountName" . | quote }}
  namespace: {{ include "zen-lead.namespace" . | quote }}
{{- end -}}
