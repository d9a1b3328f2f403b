{{- /* proxy.yaml as JSON: the values' config, with what it leaves out. */ -}}
{{- define "sealgate.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- if not $config.registries -}}
{{- fail "config.registries is required: the registries that Sealgate stands in front of, as in proxy.yaml" -}}
{{- end -}}
{{- if not $config.listen -}}
{{- $_ := set $config "listen" ":8443" -}}
{{- end -}}
{{- $admin := $config.admin | default dict -}}
{{- if not $admin.listen -}}
{{- $_ := set $config "admin" (merge (dict "listen" ":8444") $admin) -}}
{{- end -}}
{{- if not (get $config "state-dir") -}}
{{- $_ := set $config "state-dir" "/var/lib/sealgate" -}}
{{- end -}}
{{- if not $config.storage -}}
{{- $_ := set $config "storage" (dict "filesystem" (dict "rootdirectory" "/var/lib/sealgate/store")) -}}
{{- end -}}
{{- range $key, $address := dict "listen" $config.listen "admin.listen" $config.admin.listen -}}
{{- if regexMatch "^(127[.]|localhost:|\\[::1\\])" $address -}}
{{- fail (printf "config.%s: nobody outside the pod reaches %q: leave the host out, as in \":%s\"" $key $address (include "sealgate.port" $address)) -}}
{{- end -}}
{{- end -}}
{{- with $config.storage.s3 -}}
{{- if or (hasKey . "accesskey") (hasKey . "secretkey") -}}
{{- fail "config.storage.s3: accesskey and secretkey would be in a ConfigMap: give them by env or envFrom from a Secret, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" -}}
{{- end -}}
{{- end -}}
{{- with $config.storage.filesystem -}}
{{- $state := printf "%s/" (get $config "state-dir" | trimSuffix "/") -}}
{{- if not (hasPrefix $state (printf "%s/" .rootdirectory)) -}}
{{- fail (printf "config.storage.filesystem.rootdirectory: %q is not below state-dir, %q, where the volume is" .rootdirectory (get $config "state-dir")) -}}
{{- end -}}
{{- end -}}
{{- if not $config.tls -}}
{{- $_ := required "tls.existingSecret is required (or config.tls): the Secret with the certificate that clients are shown" .Values.tls.existingSecret -}}
{{- $_ := set $config "tls" (dict "files" (dict "cert" "/etc/sealgate/tls/tls.crt" "key" "/etc/sealgate/tls/tls.key")) -}}
{{- end -}}
{{- toJson $config -}}
{{- end }}
