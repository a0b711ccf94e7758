{{/*
The container of the gateway, and what your own chart includes for a sidecar. Each takes the chart's own context; from
another chart that is (index .Subcharts "referral-gateway").
*/}}

{{- define "referral-gateway.container" -}}
name: referral-gateway
image: {{ include "referral-gateway.image" . }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- if eq .Values.mode "sidecar" }}
# Always makes it a sidecar: it starts before the application and stops after it. There is no preStop: it would run
# as the pod begins to end, while the application still sends requests.
restartPolicy: Always
{{- end }}
args:
  - run
  - --config
  - /etc/referral-gateway/config/config.yaml
  - --policy
  - /etc/referral-gateway/policies
env:
  # The kubelet and Prometheus come from outside of the pod. The admin listener (4282) stays on loopback.
  - name: REFERRAL_GATEWAY_TELEMETRY__LISTEN
    value: {{ printf "%s:4281" .Values.bindAddress | quote }}
  {{- if eq .Values.mode "standalone" }}
  - name: REFERRAL_GATEWAY_LISTEN
    value: {{ printf "%s:4280" .Values.bindAddress | quote }}
  {{- end }}
  {{- if .Values.tls.existingSecret }}
  - name: REFERRAL_GATEWAY_TLS__CERT_FILE
    value: /etc/referral-gateway/tls/tls.crt
  - name: REFERRAL_GATEWAY_TLS__KEY_FILE
    value: /etc/referral-gateway/tls/tls.key
  {{- if .Values.tls.clientCa }}
  - name: REFERRAL_GATEWAY_TLS__CLIENT_CA_FILE
    value: /etc/referral-gateway/tls/ca.crt
  {{- end }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: telemetry
    containerPort: 4281
  {{- if eq .Values.mode "standalone" }}
  - name: api
    containerPort: 4280
  {{- end }}
startupProbe:
  httpGet:
    path: /readyz
    port: telemetry
  periodSeconds: 1
  failureThreshold: 30
readinessProbe:
  httpGet:
    path: /readyz
    port: telemetry
  periodSeconds: 5
  timeoutSeconds: 2
livenessProbe:
  httpGet:
    path: /livez
    port: telemetry
  periodSeconds: 10
  timeoutSeconds: 2
  failureThreshold: 3
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
# Folders, never a subPath, which would keep the contents of the start.
volumeMounts:
  - name: referral-gateway-config
    mountPath: /etc/referral-gateway/config
    readOnly: true
  - name: referral-gateway-policies
    mountPath: /etc/referral-gateway/policies
    readOnly: true
  - name: referral-gateway-tests
    mountPath: /etc/referral-gateway/tests
    readOnly: true
  {{- if .Values.tls.existingSecret }}
  - name: referral-gateway-tls
    mountPath: /etc/referral-gateway/tls
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "referral-gateway.volumes" -}}
- name: referral-gateway-config
  configMap:
    name: {{ include "referral-gateway.fullname" . }}
- name: referral-gateway-policies
  configMap:
    name: {{ include "referral-gateway.fullname" . }}-policies
- name: referral-gateway-tests
  configMap:
    name: {{ include "referral-gateway.fullname" . }}-policy-tests
{{- with .Values.tls.existingSecret }}
- name: referral-gateway-tls
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The first of the init containers of your pod. */}}
{{- define "referral-gateway.sidecar" -}}
{{- if ne .Values.mode "sidecar" }}
{{- fail "referral-gateway: a sidecar needs the value `referral-gateway.mode: sidecar` in your chart" }}
{{- end -}}
- {{ include "referral-gateway.container" . | nindent 2 | trim }}
{{- end -}}

{{/* Volumes of your pod. */}}
{{- define "referral-gateway.sidecar.volumes" -}}
{{ include "referral-gateway.volumes" . }}
{{- end -}}

{{/* Labels of your pod, by which PodMonitor and NetworkPolicy find it. */}}
{{- define "referral-gateway.sidecar.labels" -}}
referral-gateway: sidecar
referral-gateway-release: {{ .Release.Name }}
{{- end -}}
