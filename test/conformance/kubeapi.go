// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// kubeAPI is as much of a Kubernetes API server as eksctl asks for: namespaces and service accounts. It answers JSON to what
// clients send as protobuf, which client-go takes, and wants the token that eksctl makes of a presigned URL.
type kubeAPI struct {
	url    string
	server *http.Server
	done   chan error

	mu       sync.Mutex
	accounts map[string]kubeObject // by namespace/name
	refused  []string              // why requests were refused
}

// kubeObject is a namespace or a service account.
type kubeObject struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   kubeMeta `json:"metadata"`
}

type kubeMeta struct {
	Name            string            `json:"name"`
	Namespace       string            `json:"namespace,omitempty"`
	UID             string            `json:"uid,omitempty"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Labels          map[string]string `json:"labels,omitempty"`
	Annotations     map[string]string `json:"annotations,omitempty"`
}

func newKubeAPI(ca *authority) (*kubeAPI, error) {
	cert, err := ca.server()
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &kubeAPI{url: "https://" + l.Addr().String(), done: make(chan error, 1), accounts: map[string]kubeObject{}}
	k.server = &http.Server{
		Handler: http.HandlerFunc(k.serve), ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
	}
	go func() { k.done <- k.server.ServeTLS(l, "", "") }()
	return k, nil
}

func (k *kubeAPI) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := k.server.Shutdown(ctx)
	if served := <-k.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// put makes a service account, as its owner would have.
func (k *kubeAPI) put(namespace, name string, annotations map[string]string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accounts[namespace+"/"+name] = newServiceAccount(kubeMeta{Name: name, Namespace: namespace, Annotations: annotations})
}

func (k *kubeAPI) get(namespace, name string) (kubeObject, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	o, ok := k.accounts[namespace+"/"+name]
	return o, ok
}

// complaints are the requests that were refused since the last call.
func (k *kubeAPI) complaints() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	said := k.refused
	k.refused = nil
	if len(said) > 0 {
		return fmt.Errorf("the API server refused: %s", strings.Join(said, "; "))
	}
	return nil
}

func newServiceAccount(m kubeMeta) kubeObject {
	m.UID, m.ResourceVersion = "0b1d7d9e-0000-4000-8000-"+fmt.Sprintf("%012x", len(m.Name)), "1"
	return kubeObject{APIVersion: "v1", Kind: "ServiceAccount", Metadata: m}
}

func (k *kubeAPI) serve(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := checkToken(r.Header.Get("Authorization")); err != nil {
		k.refused = append(k.refused, r.Method+" "+r.URL.Path+": "+err.Error())
		kubeStatus(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/version":
		kubeJSON(w, http.StatusOK, map[string]string{"major": "1", "minor": "34", "gitVersion": "v1.34.1"})
	case r.URL.Path == "/api/v1/namespaces" && r.Method == http.MethodPost, len(parts) == 4 && parts[2] == "namespaces" && r.Method == http.MethodGet:
		// Every namespace is there: what eksctl makes of one it would make of any.
		kubeJSON(w, http.StatusOK, kubeObject{APIVersion: "v1", Kind: "Namespace", Metadata: kubeMeta{Name: parts[len(parts)-1], ResourceVersion: "1"}})
	case parts[len(parts)-1] == "serviceaccounts" && r.Method == http.MethodGet:
		namespace := ""
		if len(parts) == 5 {
			namespace = parts[3]
		}
		k.list(w, namespace)
	case len(parts) >= 5 && parts[4] == "serviceaccounts":
		k.serviceAccount(w, r, parts[3], parts[5:])
	default:
		k.refused = append(k.refused, r.Method+" "+r.URL.Path)
		kubeStatus(w, http.StatusNotFound, "NotFound")
	}
}

func (k *kubeAPI) list(w http.ResponseWriter, namespace string) {
	items := []kubeObject{}
	for _, o := range k.accounts {
		if namespace == "" || o.Metadata.Namespace == namespace {
			items = append(items, o)
		}
	}
	kubeJSON(w, http.StatusOK, M{"apiVersion": "v1", "kind": "ServiceAccountList", "metadata": M{"resourceVersion": "1"}, "items": items})
}

// serviceAccount serves one service account; rest is its name, where the path has one.
func (k *kubeAPI) serviceAccount(w http.ResponseWriter, r *http.Request, namespace string, rest []string) {
	if r.Method == http.MethodPost || r.Method == http.MethodPut {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		meta := kubeMeta{}
		if err == nil {
			meta, err = readObjectMeta(body)
		}
		if err != nil {
			k.refused = append(k.refused, r.Method+" "+r.URL.Path+": "+err.Error())
			kubeStatus(w, http.StatusBadRequest, "BadRequest")
			return
		}
		meta.Namespace = namespace
		made := newServiceAccount(meta)
		k.accounts[namespace+"/"+meta.Name] = made
		kubeJSON(w, map[string]int{http.MethodPost: http.StatusCreated, http.MethodPut: http.StatusOK}[r.Method], made)
		return
	}
	o, ok := k.accounts[namespace+"/"+strings.Join(rest, "/")]
	if !ok {
		kubeStatus(w, http.StatusNotFound, "NotFound")
		return
	}
	if r.Method == http.MethodDelete {
		delete(k.accounts, namespace+"/"+o.Metadata.Name)
		kubeJSON(w, http.StatusOK, M{"apiVersion": "v1", "kind": "Status", "status": "Success"})
		return
	}
	kubeJSON(w, http.StatusOK, o)
}

func kubeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that went away has no answer
}

func kubeStatus(w http.ResponseWriter, code int, reason string) {
	kubeJSON(w, code, M{"apiVersion": "v1", "kind": "Status", "metadata": M{}, "status": "Failure", "reason": reason, "code": code, "message": reason})
}

// checkToken wants what kubectl's AWS tokens are: a presigned GetCallerIdentity that is bound to the cluster.
func checkToken(authorization string) error {
	encoded, ok := strings.CutPrefix(authorization, "Bearer k8s-aws-v1.")
	if !ok {
		return errors.New("no k8s-aws-v1 token")
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil {
		return fmt.Errorf("decode the token: %w", err)
	}
	u, err := url.Parse(string(text))
	if err != nil {
		return fmt.Errorf("read the token's URL: %w", err)
	}
	if q := u.Query(); q.Get("Action") != "GetCallerIdentity" || !strings.Contains(q.Get("X-Amz-SignedHeaders"), "x-k8s-aws-id") {
		return errors.New("the token is no GetCallerIdentity for a cluster")
	}
	return nil
}

// readObjectMeta reads the metadata of an object in JSON, or in Kubernetes' protobuf envelope.
func readObjectMeta(body []byte) (kubeMeta, error) {
	var m kubeMeta
	envelope, ok := strings.CutPrefix(string(body), "k8s\x00")
	if !ok {
		var o kubeObject
		err := decode(body, &o)
		return o.Metadata, err
	}
	var object, meta []byte
	err := errors.Join(
		protoFields([]byte(envelope), func(n uint64, v []byte) { // runtime.Unknown: 2 is raw
			if n == 2 {
				object = v
			}
		}),
		protoFields(object, func(n uint64, v []byte) { // ServiceAccount: 1 is metadata
			if n == 1 {
				meta = v
			}
		}),
		protoFields(meta, func(n uint64, v []byte) { // ObjectMeta: 1 name, 11 labels, 12 annotations
			switch n {
			case 1:
				m.Name = string(v)
			case 11:
				m.Labels = protoEntry(m.Labels, v)
			case 12:
				m.Annotations = protoEntry(m.Annotations, v)
			}
		}),
	)
	if err == nil && m.Name == "" {
		err = errors.New("the object has no name")
	}
	return m, err
}

func protoEntry(into map[string]string, entry []byte) map[string]string {
	var pair [3]string
	_ = protoFields(entry, func(n uint64, v []byte) { // a broken entry is an empty one
		if n < 3 {
			pair[n] = string(v)
		}
	})
	if into == nil {
		into = map[string]string{}
	}
	into[pair[1]] = pair[2]
	return into
}

var errProto = errors.New("broken protobuf")

// protoFields calls each for the length-delimited fields of a message and passes over the others.
func protoFields(msg []byte, each func(number uint64, value []byte)) error {
	for len(msg) > 0 {
		key, n := binary.Uvarint(msg)
		if n <= 0 {
			return errProto
		}
		msg = msg[n:]
		var size uint64
		switch key & 7 {
		case 0:
			if _, n = binary.Uvarint(msg); n <= 0 {
				return errProto
			}
			size = uint64(n)
		case 1:
			size = 8
		case 5:
			size = 4
		case 2:
			if size, n = binary.Uvarint(msg); n <= 0 || size > uint64(len(msg)-n) {
				return errProto
			}
			msg = msg[n:]
			each(key>>3, msg[:size])
		default:
			return errProto
		}
		if size > uint64(len(msg)) {
			return errProto
		}
		msg = msg[size:]
	}
	return nil
}
