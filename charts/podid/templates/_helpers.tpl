{{/* Copyright The podid Authors. SPDX-License-Identifier: Apache-2.0 */}}

{{/*
Names do not depend on the release's: roles trust service accounts by name, there is one agent on a node's port 80, and so
there is one installation in a cluster.
*/}}

{{- define "podid.namespace" -}}
{{- if .Values.namespace.name }}{{ .Values.namespace.name }}
{{- else if eq .Release.Namespace "default" }}podid-system
{{- else }}{{ .Release.Namespace }}
{{- end }}
{{- end }}

{{/* Labels that select. Call with (dict "root" $ "component" "agent"). */}}
{{- define "podid.selector" -}}
app.kubernetes.io/name: podid
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "podid.labels" -}}
{{ include "podid.selector" . }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/part-of: podid
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* An image. Call with (dict "root" $ "image" .Values.agent.image). */}}
{{- define "podid.image" -}}
{{- if .image.digest }}{{ .image.repository }}@{{ .image.digest }}
{{- else }}{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* A role that registration makes: too long a name ends in a hash of the cluster's. Call with (dict "root" $ "prefix" "podid-node-"). */}}
{{- define "podid.roleArn" -}}
{{- $name := printf "%s%s" .prefix .root.Values.clusterName }}
{{- if gt (len $name) 64 }}
{{- $name = printf "%s-%s" (trunc 55 $name) (.root.Values.clusterName | sha256sum | trunc 8) }}
{{- end -}}
arn:{{ .root.Values.partition }}:iam::{{ .root.Values.accountId }}:role/{{ $name }}
{{- end }}

{{/* The control plane's URL for agents and operator. */}}
{{- define "podid.endpoint" -}}
{{- if .Values.endpoint }}{{ .Values.endpoint }}
{{- else }}
{{- $ip := .Values.controlPlane.service.clusterIP }}
{{- if contains ":" $ip }}https://[{{ $ip }}]:8443
{{- else if and $ip (ne $ip "None") }}https://{{ $ip }}:8443
{{- else }}https://podid.{{ include "podid.namespace" . }}.svc:8443
{{- end }}
{{- end }}
{{- end }}

{{/* The Secret with the operator's enrolment key: a given one, or that which the control plane of this chart keeps. */}}
{{- define "podid.enrolmentSecret" -}}
{{- if .Values.operator.enrolmentSecretName -}}
{{ .Values.operator.enrolmentSecretName }}
{{- else if and .Values.controlPlane.enabled .Values.controlPlane.registerCluster -}}
podid-operator-enrolment
{{- end }}
{{- end }}

{{/* Secret of the control plane's certificate, or nothing if it makes its own. */}}
{{- define "podid.tlsSecret" -}}
{{- if .Values.controlPlane.enabled }}
{{- if .Values.controlPlane.tls.secretName }}{{ .Values.controlPlane.tls.secretName }}
{{- else if .Values.certManager.enabled }}podid-tls
{{- end }}
{{- end }}
{{- end }}

{{/* Whether agents and operator are given a CA: always, but for a control plane elsewhere with a public one. */}}
{{- define "podid.hasCA" -}}
{{- if or .Values.controlPlane.enabled .Values.caBundle }}true{{ end }}
{{- end }}

{{/* The volume with ca.crt: the control plane publishes it, and a pod waits until it has; or it is given by caBundle. */}}
{{- define "podid.caVolume" -}}
- name: ca
  configMap:
    name: podid-ca
    items: [{key: ca.crt, path: ca.crt}]
{{- end }}

{{/* The token by which agents and operator assume their role. */}}
{{- define "podid.tokenVolume" -}}
- name: token
  projected:
    sources:
      - serviceAccountToken:
          audience: podid.dev/control-plane
          expirationSeconds: 3600
          path: token
{{- end }}

{{/* Replicas apart. Call with (dict "root" $ "component" "operator" "part" .Values.operator). */}}
{{- define "podid.topologySpread" -}}
{{- if .part.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .part.topologySpreadConstraints | nindent 2 }}
{{- else if gt (int .part.replicaCount) 1 }}
topologySpreadConstraints:
  {{- range tuple "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "podid.selector" $ | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What pods of all parts have in common. Call with (dict "root" $ "part" .Values.agent). */}}
{{- define "podid.scheduling" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: {{ .part.terminationGracePeriodSeconds }}
{{- with .part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Metadata of a pod. Call with (dict "root" $ "component" "agent" "part" .Values.agent). */}}
{{- define "podid.podMetadata" -}}
{{- with .part.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
labels:
  {{- include "podid.labels" . | nindent 2 }}
  # podid's own pods never wait for podid's webhook.
  eks.amazonaws.com/skip-pod-identity-webhook: "true"
  {{- with .part.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "podid.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ .part.serviceAccount.name }}
  namespace: {{ include "podid.namespace" .root }}
  labels:
    {{- include "podid.labels" . | nindent 4 }}
  {{- with .part.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{- define "podid.disruptionBudget" -}}
{{- if and .part.podDisruptionBudget.enabled (gt (int .part.replicaCount) 1) }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  namespace: {{ include "podid.namespace" .root }}
  labels:
    {{- include "podid.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .part.podDisruptionBudget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "podid.selector" . | nindent 6 }}
{{- end }}
{{- end }}
