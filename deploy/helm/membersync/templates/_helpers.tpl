{{- define "membersync.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "membersync.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "membersync.name" .) .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "membersync.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "membersync.serviceAccount" -}}
{{ default (ternary (include "membersync.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Of a list: the root, the component. */}}
{{- define "membersync.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "membersync.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "membersync.labels" -}}
{{- $root := index . 0 -}}
{{ include "membersync.selector" . }}
app.kubernetes.io/version: {{ $root.Values.image.tag | default $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{- define "membersync.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "membersync.mappingConfigMap" -}}
{{- if .Values.mapping.configMap -}}
{{ .Values.mapping.configMap }}
{{- else if .Values.mapping.files -}}
{{ include "membersync.fullname" . }}-mapping
{{- end }}
{{- end }}

{{/*
What all pods have. Of a dictionary: root, component, args, secrets and settings (in addition to
those of all), ports, probes, resources, and of the pod (a dictionary of values): labels and others.
*/}}
{{- define "membersync.pod" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $secrets := merge (dict) (.secrets | default dict) $values.secrets -}}
{{- $settings := merge (dict) (.settings | default dict) $values.settings -}}
{{- $mapping := include "membersync.mappingConfigMap" $root -}}
{{- if $mapping -}}
{{- $_ := set $settings "MAPPING" (printf "/etc/membersync/mapping/%s" (required "mapping.main: name the mapping among the files" $values.mapping.main)) -}}
{{- end -}}
{{- if and $values.mapping.files $values.mapping.main (not (hasKey $values.mapping.files $values.mapping.main)) -}}
{{- fail (printf "mapping.main: %s is not among mapping.files" $values.mapping.main) -}}
{{- end -}}
serviceAccountName: {{ include "membersync.serviceAccount" $root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with $values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
terminationGracePeriodSeconds: {{ add $values.shutdownTimeoutSeconds 15 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
containers:
  - name: membersync
    image: {{ include "membersync.image" $root | quote }}
    imagePullPolicy: {{ $values.image.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- range $name, $value := $settings }}
      - {name: MEMBERSYNC_{{ $name }}, value: {{ $value | toString | toJson }}}
      {{- end }}
      {{- range $name, $_ := $secrets }}
      - {name: MEMBERSYNC_{{ $name }}_FILE, value: /etc/membersync/secrets/{{ $name }}}
      {{- end }}
      {{- range $name, $_ := $values.files }}
      - {name: MEMBERSYNC_{{ $name }}, value: /etc/membersync/files/{{ $name }}}
      {{- end }}
      - {name: MEMBERSYNC_ADMIN_ADDR, value: ":8080"}
      - {name: MEMBERSYNC_SHUTDOWN_TIMEOUT, value: {{ $values.shutdownTimeoutSeconds }}s}
    {{- with .env }}
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .ports }}
    ports: {{ toYaml . | nindent 6 }}
    {{- end }}
    {{- with .probes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    resources: {{ toYaml .resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: secrets, mountPath: /etc/membersync/secrets, readOnly: true}
      {{- if $values.files }}
      - {name: files, mountPath: /etc/membersync/files, readOnly: true}
      {{- end }}
      {{- if $mapping }}
      - {name: mapping, mountPath: /etc/membersync/mapping, readOnly: true}
      {{- end }}
volumes:
  - name: secrets
    projected:
      defaultMode: 0440
      sources:
        {{- range $name, $secret := $secrets }}
        - secret: {name: {{ $secret.name }}, items: [{key: {{ $secret.key }}, path: {{ $name }}}]}
        {{- end }}
  {{- if $values.files }}
  - name: files
    projected:
      defaultMode: 0440
      sources:
        {{- range $name, $file := $values.files }}
        {{- if $file.secret }}
        - secret: {name: {{ $file.secret }}, items: [{key: {{ $file.key }}, path: {{ $name }}}]}
        {{- else }}
        - configMap: {name: {{ $file.configMap }}, items: [{key: {{ $file.key }}, path: {{ $name }}}]}
        {{- end }}
        {{- end }}
  {{- end }}
  {{- if $mapping }}
  - name: mapping
    configMap: {name: {{ $mapping }}}
  {{- end }}
{{- end }}

{{/* Where pods run. Of the values of a component. */}}
{{- define "membersync.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels and annotations of a pod. Of a list: the root, the component, its values. */}}
{{- define "membersync.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $own := index . 2 -}}
labels:
  {{- include "membersync.labels" (list $root (index . 1)) | nindent 2 }}
  {{- with $own.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # The mapping is read at the start only.
  checksum/mapping: {{ toJson $root.Values.mapping | sha256sum }}
  {{- with $own.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
