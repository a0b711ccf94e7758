{{/* Names and labels. */}}

{{- define "referral-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "referral-gateway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "referral-gateway.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "referral-gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "referral-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The labels by which the pods of this release are found: those of the Deployment, or those with the sidecar. */}}
{{- define "referral-gateway.selectorLabels" -}}
{{- if eq .Values.mode "sidecar" -}}
{{ include "referral-gateway.sidecar.labels" . }}
{{- else -}}
app.kubernetes.io/name: {{ include "referral-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
referral-gateway: standalone
{{- end -}}
{{- end -}}

{{- define "referral-gateway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}
{{- end -}}

{{/* The settings: those of the mode, and over them those of the user. */}}
{{- define "referral-gateway.settings" -}}
{{- $config := deepCopy (default dict .Values.config) -}}
{{- if and (eq .Values.mode "standalone") (hasKey $config "listen") }}
{{- fail "config.listen has no effect here: use bindAddress and service.port" }}
{{- end }}
{{- if hasKey (default dict $config.telemetry) "listen" }}
{{- fail "config.telemetry.listen has no effect here: use bindAddress" }}
{{- end }}
{{- if hasKey (default dict $config.policy) "document" }}
{{- fail "config.policy.document has no effect here: use policy.document" }}
{{- end -}}
{{- $settings := .Files.Get (printf "files/settings/%s.yaml" .Values.mode) | fromYaml -}}
{{- mergeOverwrite $settings $config | toYaml -}}
{{- end -}}

{{/* What a NetworkPolicy lets out of a pod with a gateway: names, and HTTPS to the internet. */}}
{{- define "referral-gateway.egress" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
# The service and its tokens' issuer have no fixed addresses, but no private ones either.
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except: [10.0.0.0/8, 100.64.0.0/10, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16]
    - ipBlock:
        cidr: ::/0
        except: ["fc00::/7", "fe80::/10"]
  ports:
    - protocol: TCP
      port: 443
{{- with .Values.networkPolicy.extraEgress }}
{{ toYaml . }}
{{- end }}
{{- end -}}
