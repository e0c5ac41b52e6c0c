// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package kubeclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	encpem "encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeServer is an API server with namespaces and service accounts.
type fakeServer struct {
	*httptest.Server
	mu       sync.Mutex
	objects  map[string]ObjectMeta // by path
	requests []*http.Request
	// before may answer instead of the server.
	before func(http.ResponseWriter, *http.Request) bool
}

func startFake(t *testing.T, clients *x509.CertPool) *fakeServer {
	t.Helper()
	f := &fakeServer{objects: map[string]ObjectMeta{"/api/v1/namespaces/default": {Name: "default"}}}
	f.Server = httptest.NewUnstartedServer(f)
	f.TLS = &tls.Config{ClientCAs: clients, MinVersion: tls.VersionTLS12}
	if clients != nil {
		f.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	f.StartTLS()
	t.Cleanup(f.Close)
	return f
}

func status(w http.ResponseWriter, code int, reason, message string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code})
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r)
	if f.before != nil && f.before(w, r) {
		return
	}
	path := r.URL.Path
	switch r.Method {
	case http.MethodGet:
		f.get(w, r)
	case http.MethodPost:
		f.create(w, r)
	case http.MethodPatch, http.MethodDelete:
		m, ok := f.objects[path]
		if !ok {
			status(w, 404, "NotFound", path+" not found")
			return
		}
		var in struct {
			Metadata      struct{ Annotations, Labels map[string]*string }
			Preconditions struct{ UID string }
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			status(w, 400, "BadRequest", err.Error())
			return
		}
		if r.Method == http.MethodDelete {
			if in.Preconditions.UID != m.UID {
				status(w, 409, "Conflict", "the UID differs")
				return
			}
			delete(f.objects, path)
		}
		for k, v := range in.Metadata.Annotations {
			if v == nil {
				delete(m.Annotations, k)
			} else {
				m.Annotations[k] = *v
			}
		}
		_ = json.NewEncoder(w).Encode(ServiceAccount{m})
	}
}

func (f *fakeServer) get(w http.ResponseWriter, r *http.Request) {
	if m, ok := f.objects[r.URL.Path]; ok {
		_ = json.NewEncoder(w).Encode(ServiceAccount{m})
		return
	}
	if strings.HasSuffix(r.URL.Path, "/serviceaccounts") || strings.HasSuffix(r.URL.Path, "/namespaces") {
		items := []ServiceAccount{}
		for path, m := range f.objects {
			if strings.HasPrefix(path, r.URL.Path+"/") && strings.Count(path, "/") == strings.Count(r.URL.Path, "/")+1 {
				items = append(items, ServiceAccount{m})
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"items": items})
		return
	}
	status(w, 404, "NotFound", r.URL.Path+" not found")
}

func (f *fakeServer) create(w http.ResponseWriter, r *http.Request) {
	var in ServiceAccount
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		status(w, 400, "BadRequest", err.Error())
		return
	}
	if ns, ok := strings.CutSuffix(r.URL.Path, "/serviceaccounts"); ok {
		if _, ok := f.objects[ns]; !ok {
			status(w, 404, "NotFound", "namespace not found")
			return
		}
	}
	path := r.URL.Path + "/" + in.Metadata.Name
	if _, ok := f.objects[path]; ok {
		status(w, 409, "AlreadyExists", in.Metadata.Name+" already exists")
		return
	}
	in.Metadata.UID = fmt.Sprintf("uid-%d", len(f.objects))
	f.objects[path] = in.Metadata
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(in)
}

// last is the newest request.
func (f *fakeServer) last() *http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests[len(f.requests)-1]
}

func (f *fakeServer) caPEM() []byte {
	return encpem.EncodeToMemory(&encpem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw})
}

func (f *fakeServer) caData() string { return base64.StdEncoding.EncodeToString(f.caPEM()) }

// clientCert makes a certificate for clients and the pool that trusts it.
func clientCert(t *testing.T) (cert, key []byte, pool *x509.CertPool) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "jane"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	cert = encpem.EncodeToMemory(&encpem.Block{Type: "CERTIFICATE", Bytes: der})
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return cert, encpem.EncodeToMemory(&encpem.Block{Type: "PRIVATE KEY", Bytes: text}), pool
}

// kubeconfig writes a kubeconfig with one context, of JSON members for
// cluster and user.
func kubeconfig(t *testing.T, cluster, user string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "test",
		"contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
		"clusters": [{"name": "c", "cluster": {%s}}], "users": [{"name": "u", "user": {%s}}]}`, cluster, user)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func (f *fakeServer) load(t *testing.T, user string, environ ...string) *Client {
	t.Helper()
	cluster := fmt.Sprintf(`"server": %q, "certificate-authority-data": %q`, f.URL, f.caData())
	c, err := Load(Options{Kubeconfig: kubeconfig(t, cluster, user), Environ: environ, Stdin: strings.NewReader(""), Stderr: t.Output(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}
