// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"podid/internal/controlplane/controlplanetest"
)

const (
	podService = "pods.eks.amazonaws.com"
	denied     = "Unauthorized Exception! EKS does not have permissions to assume the associated role."
)

type object = map[string]any

// pod shortens the tables.
type pod = controlplanetest.Pod

// world is a control plane with the textbook's cluster, node, role and
// association.
type world struct {
	*controlplanetest.ControlPlane
	cl             *controlplanetest.Cluster
	nodeRole, role string
	node           aws.CredentialsProvider
}

func newWorld(t *testing.T, o controlplanetest.Options) *world {
	t.Helper()
	w := &world{ControlPlane: controlplanetest.Start(t, o)}
	w.cl = w.Register("my-cluster", nil)
	w.nodeRole = w.cl.NodeRole()
	w.node = w.cl.Node(w.nodeRole, "node-1")
	w.role = w.Role("s3-app-eks-pod-identity-role", w.cl.PodTrust(), "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
	w.cl.Associate("s3-app-sa", w.role, nil)
	return w
}

// rest makes a REST call that must reach the server.
func rest(t *testing.T, cp *controlplanetest.ControlPlane, p aws.CredentialsProvider, service, method, path string, in any) controlplanetest.Answer {
	t.Helper()
	a, err := cp.Call(context.Background(), p, service, method, path, in)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// freeAddress is an address of loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// metric reads a metric, name and labels, of the server whose metrics are at
// the address; "" where there is none.
func metric(t *testing.T, address, name string) string {
	t.Helper()
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}).Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// explained asks podid:Explain as the admin.
func explained(t *testing.T, w *world, in object) controlplanetest.Answer {
	t.Helper()
	return rest(t, w.ControlPlane, w.Admin, "podid", http.MethodPost, "/podid/v1/clusters/"+w.cl.Name+"/explain", in)
}

// podTrust lets EKS Pod Identity assume a role, on conditions (nil = none).
func podTrust(conditions object) map[string]any {
	s := object{"Effect": "Allow", "Principal": object{"Service": podService}, "Action": []string{"sts:AssumeRole", "sts:TagSession"}}
	if conditions != nil {
		s["Condition"] = conditions
	}
	return controlplanetest.Document(s)
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
