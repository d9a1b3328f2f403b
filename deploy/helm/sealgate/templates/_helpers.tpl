{{- define "sealgate.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "sealgate.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sealgate.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "sealgate.selector" . }}
{{- end }}

{{- define "sealgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "sealgate.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "sealgate.image" -}}
{{- $repository := .Values.image.repository | required "image.repository is required: the registry that nodes get Sealgate's image from, without Sealgate" -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- /* Whether replicas share their storage: then there may be several. */ -}}
{{- define "sealgate.shared" -}}
{{- if hasKey (.Values.config.storage | default dict) "s3" }}true{{ end -}}
{{- end }}

{{- /* The number of replicas, at least. */ -}}
{{- define "sealgate.replicas" -}}
{{- $shared := include "sealgate.shared" . -}}
{{- if and .Values.autoscaling.enabled (not $shared) -}}
{{- fail "autoscaling needs config.storage.s3: there can be one replica only where the storage is not shared" -}}
{{- else if .Values.autoscaling.enabled -}}
{{ .Values.autoscaling.minReplicas }}
{{- else if kindIs "invalid" .Values.replicas -}}
{{ ternary 2 1 (eq $shared "true") }}
{{- else if and (gt (int .Values.replicas) 1) (not $shared) -}}
{{- fail "replicas: there can be one only where the storage is not shared: set config.storage.s3 (docs/replicas.md)" -}}
{{- else -}}
{{ .Values.replicas }}
{{- end -}}
{{- end }}

{{- /* Where an address, host:port, listens. */ -}}
{{- define "sealgate.port" -}}
{{ . | toString | splitList ":" | last }}
{{- end }}

{{- /* A duration of proxy.yaml in whole seconds, rounded up. */ -}}
{{- define "sealgate.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9.]+(ms|s|m|h)" (toString .) -1 -}}
{{- $sum = addf $sum (mulf (regexFind "[0-9.]+" . | float64) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{ ceil $sum | int }}
{{- end }}
