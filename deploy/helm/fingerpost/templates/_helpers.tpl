{{- define "fingerpost.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "fingerpost.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "fingerpost.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "fingerpost.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "fingerpost.selectorLabels" -}}
app.kubernetes.io/name: {{ include "fingerpost.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "fingerpost.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "fingerpost.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "fingerpost.image" -}}
{{- $repository := required "image.repository must be set" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The variable of a key: FINGERPOST_SECTION__KEY. */}}
{{- define "fingerpost.variable" -}}
FINGERPOST_{{ . | upper | replace "." "__" }}
{{- end }}

{{/* What the chart sets itself, over .Values.config, as YAML. */}}
{{- define "fingerpost.config" -}}
{{- $own := dict
  "server" (dict "bind" (list ":8686") "data_dir" "/var/lib/fingerpost")
  "metrics" (dict "bind" ":9686") }}
{{- $tls := dict }}
{{- if .Values.tls.secretName }}
{{- $_ := set $tls "certificate" "/etc/fingerpost/tls/tls.crt" }}
{{- $_ := set $tls "key" "/etc/fingerpost/tls/tls.key" }}
{{- end }}
{{- if .Values.tls.clientCaSecretName }}
{{- $_ := set $tls "client_ca" "/etc/fingerpost/client-ca/ca.crt" }}
{{- end }}
{{- if $tls }}
{{- $_ := set $own "tls" $tls }}
{{- end }}
{{- if .Values.admin.secretName }}
{{- $_ := set $own "accounts" (dict "admin_username" .Values.admin.username) }}
{{- end }}
{{- if .Values.snapshots.existingClaim }}
{{- $_ := set $own "snapshots" (dict "directory" "/var/lib/fingerpost-snapshots") }}
{{- end }}
{{- mustMergeOverwrite (deepCopy .Values.config) $own | toYaml }}
{{- end }}

{{/*
A value as TOML. Helm's own toToml writes whole numbers with a fraction, since YAML's
numbers are all the same to it. JSON's texts, numbers and booleans are TOML's.
*/}}
{{- define "fingerpost.toml.value" -}}
{{- if kindIs "map" . -}}
{ {{- $first := true }}{{ range $key, $value := . }}{{ if not $first }}, {{ end }}{{ $first = false }}{{ toJson $key }} = {{ include "fingerpost.toml.value" $value }}{{ end -}} }
{{- else if kindIs "slice" . -}}
[{{ range $place, $value := . }}{{ if $place }}, {{ end }}{{ include "fingerpost.toml.value" $value }}{{ end }}]
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{/* A file of TOML: keys without a section come first. Keys that are null are left out. */}}
{{- define "fingerpost.toml" -}}
{{- range $key, $value := . }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{ $key }} = {{ include "fingerpost.toml.value" $value }}
{{- end }}
{{- end }}
{{- range $section, $keys := . }}
{{- if kindIs "map" $keys }}
[{{ $section }}]
{{- range $key, $value := $keys }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "fingerpost.toml.value" $value }}
{{- end }}
{{- end }}
{{ end }}
{{- end }}
{{- end }}
