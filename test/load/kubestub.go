// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// kubeStub stands for an API server that has service accounts, and lets nobody
// lead: an operator before it serves its webhook and does no more.
type kubeStub struct {
	srv      *http.Server
	base     string
	done     chan error
	accounts atomic.Int64 // how many there are
}

func newKubeStub(ctx context.Context) (*kubeStub, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &kubeStub{base: "http://" + ln.Addr().String(), done: make(chan error, 1)}
	s.srv = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { s.done <- s.srv.Serve(ln) }()
	return s, nil
}

func (s *kubeStub) close() error { return errors.Join(s.srv.Close(), ignoreClosed(<-s.done)) }

// discovery is what the stub says that it has.
var discovery = map[string]string{
	"/api":  `{"kind":"APIVersions","versions":["v1"]}`,
	"/apis": `{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"admissionregistration.k8s.io","versions":[{"groupVersion":"admissionregistration.k8s.io/v1","version":"v1"}],"preferredVersion":{"groupVersion":"admissionregistration.k8s.io/v1","version":"v1"}}]}`,
	"/api/v1": `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"secrets","namespaced":true,"kind":"Secret","verbs":["get","list","watch","create"]},` +
		`{"name":"configmaps","namespaced":true,"kind":"ConfigMap","verbs":["get","list","watch","create"]},{"name":"namespaces","kind":"Namespace","verbs":["get","list","watch"]},` +
		`{"name":"pods","namespaced":true,"kind":"Pod","verbs":["get","list","watch"]},{"name":"serviceaccounts","namespaced":true,"kind":"ServiceAccount","verbs":["get","list","watch"]}]}`,
	"/apis/admissionregistration.k8s.io/v1": `{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"admissionregistration.k8s.io/v1","resources":[{"name":"mutatingwebhookconfigurations","kind":"MutatingWebhookConfiguration","verbs":["get","list","watch"]}]}`,
}

// kinds of the lists that the stub has.
var kinds = map[string][2]string{
	"secrets": {"v1", "SecretList"}, "configmaps": {"v1", "ConfigMapList"}, "namespaces": {"v1", "NamespaceList"}, "pods": {"v1", "PodList"},
	"serviceaccounts": {"v1", "ServiceAccountList"}, "mutatingwebhookconfigurations": {"admissionregistration.k8s.io/v1", "MutatingWebhookConfigurationList"},
}

// ServeHTTP answers what an operator asks.
func (s *kubeStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	answer := func(status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	refuse := func(status int, reason string) {
		answer(status, fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, status))
	}
	path, query := strings.TrimSuffix(r.URL.Path, "/"), r.URL.Query()
	kind, isList := kinds[path[strings.LastIndexByte(path, '/')+1:]]
	switch text, found := discovery[path]; {
	case found:
		answer(http.StatusOK, text)
	case r.Method != http.MethodGet || strings.Contains(path, "/leases"):
		refuse(http.StatusForbidden, "Forbidden")
	case !isList:
		refuse(http.StatusNotFound, "NotFound")
	case query.Get("sendInitialEvents") != "" && strings.HasSuffix(path, "/serviceaccounts"):
		s.tell(w, r)
	case query.Get("sendInitialEvents") != "": // as of API servers that cannot
		refuse(http.StatusUnprocessableEntity, "Invalid")
	case query.Get("watch") != "":
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	default:
		if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			kind = [2]string{"meta.k8s.io/v1", "PartialObjectMetadataList"}
		}
		answer(http.StatusOK, fmt.Sprintf(`{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":"1"},"items":[]}`, kind[1], kind[0]))
	}
}

// tell streams the metadata of all service accounts, and then nothing.
func (s *kubeStub) tell(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	out := bufio.NewWriter(w)
	const event = `{"type":%q,"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{%s"resourceVersion":"1"}}}` + "\n"
	for i := range int(s.accounts.Load()) {
		ns, account := serviceAccount(i)
		_, _ = fmt.Fprintf(out, event, "ADDED", fmt.Sprintf(`"namespace":%q,"name":%q,"uid":"5a5a5a5a-0000-4000-8000-%012d",`, ns, account, i))
	}
	_, _ = fmt.Fprintf(out, event, "BOOKMARK", `"annotations":{"k8s.io/initial-events-end":"true"},`)
	_ = out.Flush()
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// planeStub stands for a control plane with more associations than one would make for a measurement.
type planeStub struct {
	srv  *http.Server
	base string
	done chan error
	all  string // the answer that tells them
}

func newPlaneStub(ctx context.Context, associations int) (*planeStub, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var text strings.Builder
	text.WriteString(`{"clusterUid":"bench","revision":7,"complete":true,"associations":[`)
	for i := range associations {
		ns, account := serviceAccount(i)
		if i > 0 {
			text.WriteByte(',')
		}
		fmt.Fprintf(&text, `{"namespace":%q,"serviceAccount":%q,"associationId":"a-%017d","revision":%d}`, ns, account, i, i+1)
	}
	text.WriteString("]}")
	s := &planeStub{base: "http://" + ln.Addr().String(), done: make(chan error, 1), all: text.String()}
	s.srv = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { s.done <- s.srv.Serve(ln) }()
	return s, nil
}

func (s *planeStub) close() error { return errors.Join(s.srv.Close(), ignoreClosed(<-s.done)) }

// ServeHTTP lets everybody assume the role and tells all associations once; no others come.
func (s *planeStub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	if r.Method == http.MethodPost {
		_, _ = fmt.Fprintf(w, "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIABENCH</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"+
			"<SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>",
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("after") == "" {
		_, _ = io.WriteString(w, s.all)
		return
	}
	select {
	case <-r.Context().Done():
		return
	case <-time.After(20 * time.Second):
	}
	_, _ = io.WriteString(w, `{"clusterUid":"bench","revision":7,"complete":false,"associations":[]}`)
}

// reviewText is a review as an API server sends it: a Deployment's pod of two containers and an init container.
const reviewText = `{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{"uid":"0df28fbd-5f5f-11e8-bc74-36e6bb280816","kind":{"group":"","version":"v1","kind":"Pod"},` +
	`"resource":{"group":"","version":"v1","resource":"pods"},"requestKind":{"group":"","version":"v1","kind":"Pod"},"requestResource":{"group":"","version":"v1","resource":"pods"},` +
	`"namespace":"NAMESPACE","operation":"CREATE","userInfo":{"username":"system:serviceaccount:kube-system:replicaset-controller","uid":"0a8dc8cf-6c8c-4a0e-9a0a-1e6a1b4b8a11",` +
	`"groups":["system:serviceaccounts","system:serviceaccounts:kube-system","system:authenticated"],"extra":{"authentication.kubernetes.io/credential-id":["JTI=6c7f0f0e-1c1e-4b39-b1ab-0f1f6e1d6a55"]}},` +
	`"object":{"kind":"Pod","apiVersion":"v1","metadata":{"generateName":"web-7c5ddbdf54-","namespace":"NAMESPACE","creationTimestamp":null,"labels":{"app":"web","pod-template-hash":"7c5ddbdf54"},` +
	`"annotations":{"prometheus.io/scrape":"true"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-7c5ddbdf54","uid":"2b3c4d5e-6f70-4812-9324-354657687980","controller":true,"blockOwnerDeletion":true}],` +
	`"managedFields":[{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"2026-11-23T08:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:annotations":{".":{},"f:prometheus.io/scrape":{}},` +
	`"f:generateName":{},"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}},"f:ownerReferences":{".":{},"k:{\"uid\":\"2b3c4d5e-6f70-4812-9324-354657687980\"}":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:env":{".":{},` +
	`"k:{\"name\":\"LOG_LEVEL\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{}},"k:{\"name\":\"proxy\"}":{".":{},"f:image":{},"f:name":{}}},"f:dnsPolicy":{},"f:restartPolicy":{}}}}]},` +
	`"spec":{"volumes":[{"name":"cache","emptyDir":{}},{"name":"kube-api-access-x7k2p","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},` +
	`{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],` +
	`"initContainers":[{"name":"migrate","image":"registry.example.com/web:1.2.3","args":["migrate"],"resources":{},"volumeMounts":[{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],` +
	`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"containers":[{"name":"app","image":"registry.example.com/web:1.2.3","ports":[{"containerPort":8080,"protocol":"TCP"}],` +
	`"env":[{"name":"LOG_LEVEL","value":"info"},{"name":"POD_IP","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"status.podIP"}}}],"resources":{"limits":{"memory":"256Mi"},"requests":{"cpu":"100m","memory":"256Mi"}},` +
	`"volumeMounts":[{"name":"cache","mountPath":"/cache"},{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"livenessProbe":{"httpGet":{"path":"/healthz","port":8080,"scheme":"HTTP"},` +
	`"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"},` +
	`{"name":"proxy","image":"registry.example.com/proxy:4","resources":{},"volumeMounts":[{"name":"kube-api-access-x7k2p","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],` +
	`"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst",` +
	`"serviceAccountName":"ACCOUNT","serviceAccount":"ACCOUNT","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300},` +
	`{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"},"status":{}},` +
	`"oldObject":null,"dryRun":false,"options":{"kind":"CreateOptions","apiVersion":"meta.k8s.io/v1"}}}`
