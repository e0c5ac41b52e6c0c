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
        - --account-id={{ .Values.accountId }}
        - --partition={{ .Values.partition }}
        - --region={{ .Values.region }}
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
        {{- end }}
        {{- range $etcd.endpoints }}
        - --etcd-endpoints={{ . }}
        {{- end }}
        {{- if and $etcd.endpoints $etcd.tlsSecretName }}
        - --etcd-ca=/etc/podid/etcd/ca.crt
        - --etcd-cert=/etc/podid/etcd/tls.crt
        - --etcd-key=/etc/podid/etcd/tls.key
        {{- end }}
        {{- if and $etcd.endpoints $etcd.insecure }}
        - --etcd-insecure
        {{- end }}
        {{- if $etcd.rootKeySecretName }}
        - --root-key-file=/etc/podid/root-key/root.key
        {{- end }}
        {{- with $part.extraArgs }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      env:
        # For the commands that one runs in this container too: kubectl exec … -- podid admin credentials
        - {name: PODID_DATA_DIR, value: /var/lib/podid/data}
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
