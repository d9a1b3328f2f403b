{{- /* What the server's pod and that of the check before an upgrade have in common. */ -}}
{{- define "sealgate.podDefaults" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "sealgate.containerDefaults" -}}
image: {{ include "sealgate.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
resources: {{- toYaml .Values.resources | nindent 2 }}
{{- with .Values.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* proxy.yaml is mounted as a directory, so that it follows its ConfigMap. */ -}}
{{- define "sealgate.mounts" -}}
- {name: config, mountPath: /etc/sealgate/config, readOnly: true}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/sealgate/tls, readOnly: true}
{{- end }}
{{- range $i, $file := .Values.files }}
- {name: files-{{ $i }}, mountPath: {{ $file.path }}, readOnly: true}
{{- end }}
{{- end }}

{{- /* The volumes of these mounts; of a dict of root and the name of the ConfigMap. */ -}}
{{- define "sealgate.volumes" -}}
- name: config
  configMap: {name: {{ .configMap }}}
{{- with .root.Values.tls.existingSecret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- range $i, $file := .root.Values.files }}
- name: files-{{ $i }}
  {{- if $file.secret }}
  secret: {secretName: {{ $file.secret }}, defaultMode: 0440}
  {{- else }}
  configMap: {name: {{ $file.configMap }}, defaultMode: 0440}
  {{- end }}
{{- end }}
{{- end }}
