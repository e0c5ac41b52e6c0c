{{/* The control plane's pod, the same on its own etcd and on one outside. */}}
{{- define "podid.controlPlanePod" -}}
{{- $part := .Values.controlPlane }}
{{- $namespace := include "podid.namespace" . }}
{{- $tls := include "podid.tlsSecret" . }}
{{- $etcd := $part.externalEtcd }}
metadata:
  {{- include "podid.podMetadata" (dict "root" . "component" "control-plane" "part" $part) | trim | nindent 2 }}
spec:
  serviceAccountName: {{ $part.serviceAccount.name }}
  automountServiceAccountToken: true
  enableServiceLinks: false
  {{- include "podid.scheduling" (dict "root" . "part" $part) | trim | nindent 2 }}
  {{- with include "podid.topologySpread" (dict "root" . "component" "control-plane" "part" $part) }}
  {{- . | trim | nindent 2 }}
  {{- end }}
  securityContext:
    {{- toYaml $part.podSecurityContext | nindent 4 }}
  containers:
    - name: podid
      image: {{ include "podid.image" (dict "root" . "image" $part.image) }}
      imagePullPolicy: {{ $part.image.pullPolicy }}
      args:
        - server
        - --listen=:8443
        - --metrics-address=:9443
        - --audit-log=stdout
        - --log-format=json
        - --log-level={{ $part.logLevel }}
        {{- if $tls }}
        - --tls-cert=/etc/podid/tls/tls.crt
        - --tls-key=/etc/podid/tls/tls.key
        {{- else }}
        {{- range concat (list "podid" (printf "podid.%s" $namespace) (printf "podid.%s.svc" $namespace) (printf "podid.%s.svc.cluster.local" $namespace)) $part.tls.names }}
        - --tls-names={{ . }}
        {{- end }}
        {{- if and $part.service.clusterIP (ne $part.service.clusterIP "None") }}
        - --tls-names={{ $part.service.clusterIP }}
        {{- end }}
        {{- end }}
        {{- if not .Values.caBundle }}
        - --publish-ca-configmap=podid-ca
        {{- end }}
        {{- if $part.registerCluster }}
        - --register-cluster={{ .Values.clusterName }}
        {{- range $part.operatorPassRoles }}
        - --operator-pass-role={{ . }}
        {{- end }}
        {{- if and .Values.operator.enabled (not .Values.operator.enrolmentSecretName) }}
        - --enrolment-secret={{ include "podid.enrolmentSecret" . }}
        {{- end }}
        {{- end }}
        {{- with $part.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        # What the other commands of this container need too: kubectl exec … -- podid admin credentials
        - {name: PODID_ACCOUNT_ID, value: {{ .Values.accountId | quote }}}
        - {name: PODID_PARTITION, value: {{ .Values.partition }}}
        - {name: PODID_REGION, value: {{ .Values.region }}}
        - {name: PODID_DATA_DIR, value: /var/lib/podid/data}
        {{- if $etcd.endpoints }}
        - {name: PODID_ETCD_ENDPOINTS, value: {{ join "," $etcd.endpoints | quote }}}
        {{- if $etcd.tlsSecretName }}
        - {name: PODID_ETCD_CA, value: /etc/podid/etcd/ca.crt}
        - {name: PODID_ETCD_CERT, value: /etc/podid/etcd/tls.crt}
        - {name: PODID_ETCD_KEY, value: /etc/podid/etcd/tls.key}
        {{- end }}
        {{- if $etcd.insecure }}
        - {name: PODID_ETCD_INSECURE, value: "true"}
        {{- end }}
        {{- end }}
        {{- if $etcd.rootKeySecretName }}
        - {name: PODID_ROOT_KEY_FILE, value: /etc/podid/root-key/root.key}
        {{- end }}
        - {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        {{- with $part.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: https, containerPort: 8443}
        - {name: metrics, containerPort: 9443}
      startupProbe:
        httpGet: {path: /livez, port: https, scheme: HTTPS}
        periodSeconds: 2
        failureThreshold: 150
      livenessProbe:
        httpGet: {path: /livez, port: https, scheme: HTTPS}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: https, scheme: HTTPS}
        periodSeconds: 5
        timeoutSeconds: 3
      resources:
        {{- toYaml $part.resources | nindent 8 }}
      securityContext:
        {{- toYaml $part.securityContext | nindent 8 }}
      volumeMounts:
        - {name: data, mountPath: /var/lib/podid}
        - {name: tmp, mountPath: /tmp}
        {{- if $tls }}
        - {name: tls, mountPath: /etc/podid/tls, readOnly: true}
        {{- end }}
        {{- if and $etcd.endpoints $etcd.tlsSecretName }}
        - {name: etcd, mountPath: /etc/podid/etcd, readOnly: true}
        {{- end }}
        {{- if $etcd.rootKeySecretName }}
        - {name: root-key, mountPath: /etc/podid/root-key, readOnly: true}
        {{- end }}
        {{- with $part.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {}}
    {{- if or $etcd.endpoints (not $part.persistence.enabled) }}
    - {name: data, emptyDir: {}}
    {{- else if $part.persistence.existingClaim }}
    - {name: data, persistentVolumeClaim: {claimName: {{ $part.persistence.existingClaim }}}}
    {{- end }}
    {{- if $tls }}
    - {name: tls, secret: {secretName: {{ $tls }}, defaultMode: 0400}}
    {{- end }}
    {{- if and $etcd.endpoints $etcd.tlsSecretName }}
    - {name: etcd, secret: {secretName: {{ $etcd.tlsSecretName }}, defaultMode: 0400}}
    {{- end }}
    {{- if $etcd.rootKeySecretName }}
    - {name: root-key, secret: {secretName: {{ $etcd.rootKeySecretName }}, defaultMode: 0400}}
    {{- end }}
    {{- with $part.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
