// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"

	"podid/internal/controlplane/controlplanetest"
)

// registered registers a cluster with AWS' client and returns its code.
func registered(t *testing.T, cp *controlplanetest.ControlPlane, name, role string) *types.ConnectorConfigResponse {
	t.Helper()
	out, err := cp.EKS().RegisterCluster(t.Context(), &eks.RegisterClusterInput{
		Name: &name, ConnectorConfig: &types.ConnectorConfigRequest{Provider: types.ConnectorConfigProviderOther, RoleArn: &role},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := out.Cluster
	if c.Status != types.ClusterStatusPending || c.ConnectorConfig == nil || aws.ToString(c.ConnectorConfig.ActivationCode) == "" || c.ConnectorConfig.ActivationExpiry == nil {
		t.Fatalf("%+v", c)
	}
	return c.ConnectorConfig
}

// activate brings a code and keys without any signature.
func activate(t *testing.T, cp *controlplanetest.ControlPlane, name string, body object) controlplanetest.Answer {
	t.Helper()
	return rest(t, cp, nil, "", http.MethodPost, "/podid/v1/clusters/"+name+"/activation", body)
}

// coming is a cluster that knows its key and has still to say it.
func coming(t *testing.T, w *world, name, code string) (*controlplanetest.Cluster, object) {
	t.Helper()
	cl := *w.cl // for its issuer and its way to the control plane
	cl.Name, cl.Key, cl.Kid = name, controlplanetest.NewKey(t), name+"-key"
	return &cl, object{"activationCode": code, "issuer": cl.Issuer, "jwks": controlplanetest.JWKS(t, cl.Kid, cl.Key), "version": "1.34", "endpoint": "https://10.0.0.1:6443"}
}

// TestRegisterActivateExchange: RegisterCluster, activation, DescribeCluster,
// association, and then a pod of the cluster has its role.
func TestRegisterActivateExchange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	connector := w.Role("connector", podTrust(nil))
	x := registered(t, w.ControlPlane, "joined", connector)
	cl, body := coming(t, w, "joined", *x.ActivationCode)
	describe := func() *types.Cluster {
		out, err := w.EKS().DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: &cl.Name})
		if err != nil {
			t.Fatal(err)
		}
		return out.Cluster
	}
	if c := describe(); c.Status != types.ClusterStatusPending || c.ConnectorConfig == nil || c.ConnectorConfig.ActivationCode != nil || *c.ConnectorConfig.ActivationId != *x.ActivationId || *c.ConnectorConfig.RoleArn != connector {
		t.Errorf("%+v", c)
	}
	_, err := w.EKS().CreatePodIdentityAssociation(t.Context(), &eks.CreatePodIdentityAssociationInput{ClusterName: &cl.Name, Namespace: aws.String("s3-app-ns"), ServiceAccount: aws.String("s3-app-sa"), RoleArn: &w.role})
	wantAPIError(t, err, "InvalidRequestException", "The cluster joined is PENDING: it has to be activated with its activation code first.")
	rest(t, w.ControlPlane, w.Admin, "eks-auth", http.MethodPost, "/clusters/joined/assume-role-for-pod-identity", object{"token": cl.Token(pod{})}).Want(t, 400, "InvalidRequestException", "The cluster joined is PENDING: it has to be activated with its activation code first.")
	if got := w.LastReason("AssumeRoleForPodIdentity"); got != "cluster-pending" {
		t.Errorf("reason %q", got)
	}

	a := activate(t, w.ControlPlane, "joined", body)
	a.Want(t, http.StatusOK, "", "")
	got := a.Body["cluster"].(map[string]any)
	cl.UID, _ = got["uid"].(string)
	cl.ProviderARN, _ = got["providerArn"].(string)
	_, cl.ProviderHost, _ = strings.Cut(cl.ProviderARN, ":oidc-provider/")
	if got["status"] != "ACTIVE" || got["arn"] != cl.ARN() || len(cl.UID) != 32 {
		t.Errorf("%s", a.Raw)
	}
	if e := w.LastAudit("ActivateCluster"); strings.Contains(controlplanetest.JSON(t, e), *x.ActivationCode) || e.UserIdentity.PrincipalID != "activation:"+*x.ActivationId || e.Podid.ClusterUID != cl.UID || e.RecipientAccountID != w.AccountID || e.ReadOnly {
		t.Errorf("audit %+v", e)
	}
	c := describe()
	if c.Status != types.ClusterStatusActive || c.ConnectorConfig != nil || *c.Endpoint != "https://10.0.0.1:6443" || c.CertificateAuthority == nil || *c.Identity.Oidc.Issuer != cl.Issuer || *c.Version != "1.34" {
		t.Errorf("%+v", c)
	}
	node := cl.Node(cl.NodeRole(), "node-1")
	role := w.Role("of-joined", cl.PodTrust())
	cl.Associate("s3-app-sa", role, nil)
	cl.Exchange(node, cl.Token(pod{})).Credentials(t)
	cl.Exchange(node, w.cl.Token(pod{})).Want(t, 400, "InvalidTokenException", "")

	activate(t, w.ControlPlane, "joined", body).Want(t, 409, "ResourceInUseException", "")
	if got := w.LastReason("ActivateCluster"); got != "activation-used" {
		t.Errorf("a used code: reason %q", got)
	}
	out, err := w.EKS().DeregisterCluster(t.Context(), &eks.DeregisterClusterInput{Name: &cl.Name})
	if err != nil || out.Cluster.Status != types.ClusterStatusDeleting {
		t.Fatalf("%+v %v", out, err)
	}
	activate(t, w.ControlPlane, "joined", body).Want(t, 403, "AccessDeniedException", "The activation code is none of a cluster of this name.")
	cl.Exchange(node, cl.Token(pod{})).Want(t, 404, "ResourceNotFoundException", "No cluster found for name: joined.")
}

// TestActivationOnce: of two that come at once, one wins; the SDK's own repeat
// of a registration whose answer was lost has a code that is good.
func TestActivationOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	connector := w.Role("connector", podTrust(nil))
	x := registered(t, w.ControlPlane, "joined", connector)
	var wg sync.WaitGroup
	answers := make([]controlplanetest.Answer, 4)
	for i := range answers {
		_, body := coming(t, w, "joined", *x.ActivationCode)
		wg.Go(func() { answers[i] = activate(t, w.ControlPlane, "joined", body) })
	}
	wg.Wait()
	won := 0
	for _, a := range answers {
		if a.Status == http.StatusOK {
			won++
			continue
		}
		a.Want(t, 409, "ResourceInUseException", "")
	}
	if won != 1 {
		t.Errorf("%d have won", won)
	}

	lossy := w.Config(w.Admin)
	lossy.HTTPClient = &losing{client: w.HTTP}
	lossy.RetryMaxAttempts = 3
	out, err := eks.NewFromConfig(lossy).RegisterCluster(t.Context(), &eks.RegisterClusterInput{
		Name: aws.String("lost"), ConnectorConfig: &types.ConnectorConfigRequest{Provider: types.ConnectorConfigProviderOther, RoleArn: &connector},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, body := coming(t, w, "lost", *out.Cluster.ConnectorConfig.ActivationCode)
	activate(t, w.ControlPlane, "lost", body).Want(t, http.StatusOK, "", "")
}

// losing loses the first answer.
type losing struct {
	client interface {
		Do(*http.Request) (*http.Response, error)
	}
	lost atomic.Bool
}

func (l *losing) Do(r *http.Request) (*http.Response, error) {
	resp, err := l.client.Do(r)
	if err == nil && l.lost.CompareAndSwap(false, true) {
		_, err := io.Copy(io.Discard, resp.Body)
		return nil, errors.Join(errors.New("connection reset by peer"), err, resp.Body.Close())
	}
	return resp, err
}

// TestActivationEnds: a code is good for three days and not longer.
func TestActivationEnds(t *testing.T) {
	t.Parallel()
	var later atomic.Int64
	cp := controlplanetest.Start(t, controlplanetest.Options{Now: func() time.Time { return time.Now().Add(time.Duration(later.Load())) }})
	made := rest(t, cp, cp.Admin, "podid", http.MethodPost, "/podid/v1/clusters", object{"name": "late", "connect": true, "issuer": controlplanetest.Issuer})
	made.Want(t, http.StatusOK, "", "")
	c := made.Body["cluster"].(map[string]any)
	code, _ := c["activation"].(map[string]any)["code"].(string)
	if c["status"] != "PENDING" || code == "" || c["jwks"] != nil {
		t.Fatalf("%s", made.Raw)
	}
	shown := rest(t, cp, cp.Admin, "podid", http.MethodGet, "/podid/v1/clusters/late", nil)
	if strings.Contains(string(shown.Raw), code) || strings.Contains(controlplanetest.JSON(t, cp.Audit()), code) {
		t.Error("the code is shown again")
	}
	body := object{"activationCode": code, "issuer": "https://other.example.com", "jwks": controlplanetest.JWKS(t, "k", controlplanetest.NewKey(t))}
	activate(t, cp, "late", body).Want(t, 400, "InvalidParameterException", "The cluster was registered for the issuer "+controlplanetest.Issuer+" and names https://other.example.com.")
	body["issuer"] = controlplanetest.Issuer
	later.Store(int64(72*time.Hour + time.Second))
	activate(t, cp, "late", body).Want(t, 403, "ExpiredTokenException", "")
	later.Store(int64(71 * time.Hour))
	activate(t, cp, "late", body).Want(t, http.StatusOK, "", "")
}

// TestActivationStrangers: who has no good code learns nothing, and cannot
// send much or often.
func TestActivationStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, controlplanetest.Options{})
	other := w.NewAccount("222233334444")
	x := registered(t, other, "joined", other.Role("connector", podTrust(nil)))
	_, body := coming(t, w, "joined", *x.ActivationCode)
	post := func(path string, body io.Reader) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, w.Endpoint+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := w.HTTP.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if resp := post("/podid/v1/clusters/joined/activation", bytes.NewReader(make([]byte, 128<<10+1))); resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a large body: %s", resp.Status)
	}
	activate(t, w.ControlPlane, "joined", object{}).Want(t, 400, "InvalidParameterException", "The parameter activationCode is required.")
	var same string
	for _, name := range []string{"my-cluster", "nowhere", "joined"} {
		a := activate(t, w.ControlPlane, name, object{"activationCode": "podid-activation.111122223333.AAAA", "jwks": 1, "issuer": "no"})
		if a.Status != 403 || same != "" && string(a.Raw) != same {
			t.Errorf("%s: %d %s", name, a.Status, a.Raw)
		}
		same = string(a.Raw)
	}
	if e := w.LastAudit("ActivateCluster"); e.RecipientAccountID != w.AccountID || e.UserIdentity.Type != "Unknown" {
		t.Errorf("audit %+v", e)
	}
	var last controlplanetest.Answer
	for range 12 {
		last = activate(t, w.ControlPlane, "joined", object{"activationCode": "no"})
	}
	last.Want(t, 429, "ThrottlingException", "")
	// A good code of another account is good all the same, and opens it there.
	activate(t, w.ControlPlane, "joined", body).Want(t, http.StatusOK, "", "")
	if e := w.LastAudit("ActivateCluster"); e.RecipientAccountID != other.AccountID {
		t.Errorf("audit %+v", e)
	}
	if _, err := w.EKS().DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: aws.String("joined")}); err == nil {
		t.Error("the cluster is in the wrong account")
	}
	if out, err := other.EKS().DescribeCluster(t.Context(), &eks.DescribeClusterInput{Name: aws.String("joined")}); err != nil || out.Cluster.Status != types.ClusterStatusActive {
		t.Errorf("%+v %v", out, err)
	}
}

// TestActivationElsewhere: a code that one replica has made is good at the
// other at once, and so is what it activated; it is used up at both.
func TestActivationElsewhere(t *testing.T) {
	t.Parallel()
	set := map[string]string{"PODID_ETCD_ENDPOINTS": etcdAt(t), "PODID_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "root.key")}
	w := newWorld(t, controlplanetest.Options{Settings: set})
	b := controlplanetest.Start(t, controlplanetest.Options{Settings: set, Peer: w.ControlPlane})
	connector := w.Role("connector", podTrust(nil))
	here, there := w.ControlPlane, b
	for _, name := range []string{"one", "two", "three", "four", "five", "six"} {
		x := registered(t, here, name, connector)
		cl, body := coming(t, w, name, *x.ActivationCode)
		exchange := func(cp *controlplanetest.ControlPlane) controlplanetest.Answer {
			return rest(t, cp, w.Admin, "eks-auth", http.MethodPost, "/clusters/"+name+"/assume-role-for-pod-identity", object{"token": cl.Token(pod{})})
		}
		exchange(here).Want(t, 400, "InvalidRequestException", "")
		activate(t, there, name, body).Want(t, http.StatusOK, "", "")
		exchange(here).Want(t, 404, "ResourceNotFoundException", "No association found for service account s3-app-ns/s3-app-sa in cluster "+name+".")
		activate(t, here, name, body).Want(t, 409, "ResourceInUseException", "")
		here, there = there, here
	}
}
